using System.Globalization;
using System.Text;
using MoeSharp.Kernels;

namespace MoeSharp.Data.Synthetic;

/// <summary>Writes sums, differences and products, worked digit by digit with carries, or plain.</summary>
internal sealed class ArithmeticWriter
{
    /// <summary>Writes one document.</summary>
    public void Write(StringBuilder text, ref SplitMix64 random)
    {
        int form = random.Below(5);
        int count = form >= 3 ? random.Between(8, 16) : random.Between(2, 4);
        for (int i = 0; i < count; i++)
        {
            switch (form)
            {
                case 0:
                    WriteAddition(text, random.Between(10, 9999), random.Between(10, 9999));
                    break;
                case 1:
                    WriteSubtraction(text, random.Between(10, 9999), random.Between(10, 9999));
                    break;
                case 2:
                    WriteMultiplication(text, random.Between(10, 9999), random.Between(2, 9));
                    break;
                default:
                    WritePlain(text, ref random);
                    break;
            }
        }
    }

    private static void WriteAddition(StringBuilder text, int left, int right)
    {
        text.Append(CultureInfo.InvariantCulture, $"{left} + {right}\n");
        int carry = 0;
        int restLeft = left;
        int restRight = right;
        while (restLeft > 0 || restRight > 0)
        {
            int sum = (restLeft % 10) + (restRight % 10) + carry;
            text.Append(CultureInfo.InvariantCulture, $"  {restLeft % 10} + {restRight % 10}");
            AppendCarry(text, carry);
            AppendResult(text, sum, sum % 10, sum / 10, "carry");
            carry = sum / 10;
            restLeft /= 10;
            restRight /= 10;
        }

        if (carry > 0)
        {
            text.Append(CultureInfo.InvariantCulture, $"  write {carry}\n");
        }

        text.Append(CultureInfo.InvariantCulture, $"{left} + {right} = {left + right}\n");
    }

    private static void WriteSubtraction(StringBuilder text, int first, int second)
    {
        int left = Math.Max(first, second);
        int right = Math.Min(first, second);
        text.Append(CultureInfo.InvariantCulture, $"{left} - {right}\n");
        int borrow = 0;
        int restLeft = left;
        int restRight = right;
        while (restLeft > 0)
        {
            int digit = restLeft % 10;
            int taken = (restRight % 10) + borrow;
            int lent = digit < taken ? 1 : 0;
            text.Append(CultureInfo.InvariantCulture, $"  {digit + (10 * lent)} - {restRight % 10}");
            text.Append(borrow > 0 ? " - 1" : "");
            AppendResult(text, digit + (10 * lent) - taken, digit + (10 * lent) - taken, lent, "borrow");
            borrow = lent;
            restLeft /= 10;
            restRight /= 10;
        }

        text.Append(CultureInfo.InvariantCulture, $"{left} - {right} = {left - right}\n");
    }

    private static void WriteMultiplication(StringBuilder text, int left, int right)
    {
        text.Append(CultureInfo.InvariantCulture, $"{left} * {right}\n");
        int carry = 0;
        for (int rest = left; rest > 0; rest /= 10)
        {
            int product = (rest % 10 * right) + carry;
            text.Append(CultureInfo.InvariantCulture, $"  {rest % 10} * {right}");
            AppendCarry(text, carry);
            AppendResult(text, product, product % 10, product / 10, "carry");
            carry = product / 10;
        }

        if (carry > 0)
        {
            text.Append(CultureInfo.InvariantCulture, $"  write {carry}\n");
        }

        text.Append(CultureInfo.InvariantCulture, $"{left} * {right} = {left * right}\n");
    }

    private static void AppendCarry(StringBuilder text, int carry)
    {
        if (carry > 0)
        {
            text.Append(CultureInfo.InvariantCulture, $" + {carry}");
        }
    }

    private static void AppendResult(StringBuilder text, int result, int digit, int moved, string movedName)
    {
        text.Append(CultureInfo.InvariantCulture, $" = {result}, write {digit}");
        if (moved > 0)
        {
            text.Append(CultureInfo.InvariantCulture, $", {movedName} {moved}");
        }

        text.Append('\n');
    }

    private static void WritePlain(StringBuilder text, ref SplitMix64 random)
    {
        int left = random.Between(2, 99);
        int right = random.Between(2, 99);
        switch (random.Below(3))
        {
            case 0:
                text.Append(CultureInfo.InvariantCulture, $"{left} + {right} = {left + right}\n");
                break;
            case 1:
                text.Append(CultureInfo.InvariantCulture, $"{left + right} - {right} = {left}\n");
                break;
            default:
                text.Append(CultureInfo.InvariantCulture, $"{left} * {right % 10} = {left * (right % 10)}\n");
                break;
        }
    }
}
