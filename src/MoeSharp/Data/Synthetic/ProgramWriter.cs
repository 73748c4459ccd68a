using System.Globalization;
using System.Text;
using MoeSharp.Kernels;

namespace MoeSharp.Data.Synthetic;

/// <summary>Writes small programs in four tiny languages, with the results they compute in comments.</summary>
/// <remarks><c>py</c> (Python-like), <c>stack</c> (postfix words), <c>lisp</c> (prefix lists), <c>reg</c> (a machine with registers). Each results line is true.</remarks>
internal sealed class ProgramWriter
{
    private static readonly string[] Names = ["total", "count", "width", "height", "price", "step", "limit", "score", "base", "offset"];
    private static readonly string[] FunctionNames = ["scale", "shift", "mix", "grow", "fold", "blend"];

    /// <summary>Writes one document.</summary>
    public void Write(StringBuilder text, ref SplitMix64 random)
    {
        switch (random.Below(5))
        {
            case 0:
                WriteFunction(text, ref random);
                break;
            case 1:
                WriteLoop(text, ref random);
                break;
            case 2:
                WriteStack(text, ref random);
                break;
            case 3:
                WriteLisp(text, ref random);
                break;
            default:
                WriteRegisters(text, ref random);
                break;
        }
    }

    private static void WriteFunction(StringBuilder text, ref SplitMix64 random)
    {
        string function = random.Pick<string>(FunctionNames);
        int factor = random.Between(2, 9);
        int addend = random.Between(1, 20);
        bool isDifference = random.Chance(40);
        text.Append("# py\n");
        text.Append(CultureInfo.InvariantCulture, $"def {function}(x, y):\n    return x * {factor} {(isDifference ? '-' : '+')} y * {addend}\n\n");
        int count = random.Between(2, 4);
        string previous = "";
        int previousValue = 0;
        Span<int> order = stackalloc int[Names.Length];
        FillInOrder(order);
        random.Shuffle(order);
        for (int i = 0; i < count; i++)
        {
            int x = random.Between(1, 30);
            int y = random.Between(1, 9);
            bool isChained = previous.Length > 0 && random.Chance(50);
            string name = Names[order[i]];
            int value = ((isChained ? previousValue : x) * factor) + ((isDifference ? -1 : 1) * y * addend);
            string argument = isChained ? previous : x.ToString(CultureInfo.InvariantCulture);
            text.Append(CultureInfo.InvariantCulture, $"{name} = {function}({argument}, {y})\nprint({name})  # {value}\n");
            previous = name;
            previousValue = value;
        }
    }

    private static void WriteLoop(StringBuilder text, ref SplitMix64 random)
    {
        text.Append("# py\n");
        int count = random.Between(1, 3);
        for (int i = 0; i < count; i++)
        {
            string name = random.Pick<string>(Names);
            int value = random.Between(0, 20);
            int first = random.Between(0, 5);
            int last = first + random.Between(2, 6);
            int factor = random.Between(1, 5);
            bool onlyEven = random.Chance(40);
            text.Append(CultureInfo.InvariantCulture, $"{name} = {value}\nfor i in range({first}, {last}):\n");
            text.Append(onlyEven ? "    if i % 2 == 0:\n        " : "    ");
            text.Append(CultureInfo.InvariantCulture, $"{name} += i * {factor}\n");
            for (int at = first; at < last; at++)
            {
                value += onlyEven && at % 2 != 0 ? 0 : at * factor;
            }

            text.Append(CultureInfo.InvariantCulture, $"print({name})  # {value}\n");
        }
    }

    /// <summary>Postfix arithmetic: numbers are pushed, words take what is on top; <c>.</c> prints.</summary>
    private static void WriteStack(StringBuilder text, ref SplitMix64 random)
    {
        text.Append("\\ stack\n");
        int count = random.Between(3, 7);
        for (int i = 0; i < count; i++)
        {
            int value = random.Between(1, 20);
            text.Append(CultureInfo.InvariantCulture, $"{value}");
            int steps = random.Between(2, 5);
            for (int step = 0; step < steps; step++)
            {
                int operand = random.Between(1, 12);
                switch (random.Below(4))
                {
                    case 0:
                        text.Append(CultureInfo.InvariantCulture, $" {operand} +");
                        value += operand;
                        break;
                    case 1:
                        text.Append(CultureInfo.InvariantCulture, $" {operand} -");
                        value -= operand;
                        break;
                    case 2:
                        text.Append(" dup +");
                        value += value;
                        break;
                    default:
                        text.Append(CultureInfo.InvariantCulture, $" {operand % 4} *");
                        value *= operand % 4;
                        break;
                }
            }

            text.Append(CultureInfo.InvariantCulture, $" .  \\ {value}\n");
        }
    }

    private static void WriteLisp(StringBuilder text, ref SplitMix64 random)
    {
        text.Append(";; lisp\n");
        int count = random.Between(3, 6);
        for (int i = 0; i < count; i++)
        {
            if (random.Chance(40))
            {
                string name = random.Pick<string>(Names);
                int bound = random.Between(2, 15);
                int factor = random.Between(2, 6);
                int addend = random.Between(1, 30);
                text.Append(CultureInfo.InvariantCulture, $"(let (({name} {bound})) (+ (* {name} {factor}) {addend})) ; {(bound * factor) + addend}\n");
            }
            else
            {
                int value = AppendList(text, depth: 2, ref random);
                text.Append(CultureInfo.InvariantCulture, $" ; {value}\n");
            }
        }
    }

    private static int AppendList(StringBuilder text, int depth, ref SplitMix64 random)
    {
        if (depth == 0 || random.Chance(20))
        {
            int number = random.Between(1, 12);
            text.Append(CultureInfo.InvariantCulture, $"{number}");
            return number;
        }

        int operation = random.Below(4);
        text.Append('(').Append(operation switch { 0 => "+", 1 => "-", 2 => "*", _ => "max" }).Append(' ');
        int left = AppendList(text, depth - 1, ref random);
        text.Append(' ');
        int right = AppendList(text, depth - 1, ref random);
        text.Append(')');
        return operation switch { 0 => left + right, 1 => left - right, 2 => left * right, _ => Math.Max(left, right) };
    }

    /// <summary>A machine of four registers that begin at zero: set, add, sub, mul, mov, out.</summary>
    private static void WriteRegisters(StringBuilder text, ref SplitMix64 random)
    {
        text.Append("; reg\n");
        Span<int> registers = stackalloc int[4];
        registers[0] = random.Between(1, 20);
        registers[1] = random.Between(1, 20);
        text.Append(CultureInfo.InvariantCulture, $"set r0 {registers[0]}\nset r1 {registers[1]}\n");
        int count = random.Between(4, 9);
        int last = 0;
        for (int i = 0; i < count; i++)
        {
            int to = random.Below(4);
            int from = random.Below(2);
            switch (random.Below(5))
            {
                case 0:
                    registers[to] += registers[from];
                    text.Append(CultureInfo.InvariantCulture, $"add r{to} r{from}\n");
                    break;
                case 1:
                    registers[to] -= registers[from];
                    text.Append(CultureInfo.InvariantCulture, $"sub r{to} r{from}\n");
                    break;
                case 2:
                    int factor = random.Between(2, 4);
                    registers[to] *= factor;
                    text.Append(CultureInfo.InvariantCulture, $"mul r{to} {factor}\n");
                    break;
                case 3:
                    to = 2 + (to % 2);
                    registers[to] = registers[from];
                    text.Append(CultureInfo.InvariantCulture, $"mov r{to} r{from}\n");
                    break;
                default:
                    text.Append(CultureInfo.InvariantCulture, $"out r{to} ; {registers[to]}\n");
                    break;
            }

            last = to;
        }

        text.Append(CultureInfo.InvariantCulture, $"out r{last} ; {registers[last]}\n");
    }

    private static void FillInOrder(Span<int> order)
    {
        for (int i = 0; i < order.Length; i++)
        {
            order[i] = i;
        }
    }
}
