using System.Globalization;

namespace MoeSharp.Tokenization.Chat;

/// <summary>Reads whole numbers as Python's <c>int(text, base)</c> does: sign, prefix, digits of any script, single underscores between them.</summary>
internal static class WholeNumberText
{
    /// <summary>Reads a number.</summary>
    /// <param name="text">The text, perhaps with white space around the number.</param>
    /// <param name="radix">2 to 36; 0 to go by the prefix.</param>
    /// <param name="number">The number; null when it has more than 64 bits.</param>
    /// <returns>The text is a number.</returns>
    public static bool TryRead(string text, int radix, out long? number)
    {
        int index = 0;
        int end = text.Length;
        while (index < end && TextRules.IsSpace(text[index]))
        {
            index++;
        }

        while (end > index && TextRules.IsSpace(text[end - 1]))
        {
            end--;
        }

        bool isNegative = index < end && text[index] == '-';
        index += isNegative || (index < end && text[index] == '+') ? 1 : 0;
        int prefix = index + 1 < end && text[index] == '0' ? RadixOf(text[index + 1]) : 0;
        bool hasPrefix = prefix != 0 && (radix == 0 || radix == prefix);
        index += hasPrefix ? 2 : 0;
        index += hasPrefix && index < end && text[index] == '_' ? 1 : 0;

        // Without a prefix, 010 would be octal in C and is refused; 00 is 0 either way.
        bool mustBeZero = radix == 0 && !hasPrefix && index < end && text[index] == '0';
        int actual = hasPrefix ? prefix : radix == 0 ? 10 : radix;
        return TryReadDigits(text.AsSpan(index, end - index), actual, isNegative, out number) && !(mustBeZero && number != 0);
    }

    private static bool TryReadDigits(ReadOnlySpan<char> digits, int radix, bool isNegative, out long? number)
    {
        number = 0;
        if (digits.IsEmpty || digits[0] == '_' || digits[^1] == '_')
        {
            return false;
        }

        // One beyond the largest number is the size of the smallest; more is kept as one more than that.
        Int128 most = (Int128)long.MaxValue + 2;
        Int128 size = 0;
        bool isAfterUnderscore = false;
        foreach (char character in digits)
        {
            if (character == '_' && !isAfterUnderscore)
            {
                isAfterUnderscore = true;
                continue;
            }

            int digit = DigitOf(character);
            if (digit < 0 || digit >= radix)
            {
                return false;
            }

            isAfterUnderscore = false;
            size = Int128.Min(most, (size * radix) + digit);
        }

        Int128 signed = isNegative ? -size : size;
        number = signed >= long.MinValue && signed <= long.MaxValue ? (long)signed : null;
        return true;
    }

    private static int DigitOf(char character) => char.IsAsciiLetter(character)
        ? (character | 0x20) - 'a' + 10
        : CharUnicodeInfo.GetDecimalDigitValue(character);

    private static int RadixOf(char letter) => (letter | 0x20) switch
    {
        'x' => 16,
        'o' => 8,
        'b' => 2,
        _ => 0,
    };
}
