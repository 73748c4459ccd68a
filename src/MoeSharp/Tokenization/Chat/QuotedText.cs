using System.Globalization;
using System.Text;

namespace MoeSharp.Tokenization.Chat;

/// <summary>A string in a template.</summary>
/// <param name="Text">What it says, escapes read.</param>
/// <param name="End">The index after its closing quote.</param>
internal readonly record struct QuotedText(string Text, int End)
{
    /// <summary>Reads a string.</summary>
    /// <param name="source">The template.</param>
    /// <param name="start">Where its opening quote stands.</param>
    /// <param name="wrong">Makes a complaint.</param>
    public static QuotedText Read(string source, int start, Func<string, FileFormatException> wrong)
    {
        char quote = source[start];
        StringBuilder text = new();
        for (int index = start + 1; index < source.Length; index++)
        {
            char character = source[index];
            if (character == quote)
            {
                return new QuotedText(text.ToString(), index + 1);
            }

            if (character == '\\' && index + 1 < source.Length)
            {
                index = ReadEscape(source, index + 1, text, wrong);
            }
            else
            {
                text.Append(character);
            }
        }

        throw wrong($"a string is never closed with {quote}");
    }

    /// <summary>Reads an escape whose letter stands at <paramref name="index"/>; returns the index of its last character.</summary>
    private static int ReadEscape(string source, int index, StringBuilder text, Func<string, FileFormatException> wrong)
    {
        char letter = source[index];
        int numDigits = letter switch
        {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => 0,
        };
        if (numDigits == 0)
        {
            text.Append(Escaped(letter));
            return index;
        }

        ReadOnlySpan<char> digits = source.AsSpan(index + 1, Math.Min(numDigits, source.Length - index - 1));
        if (digits.Length < numDigits || !uint.TryParse(digits, NumberStyles.AllowHexSpecifier, null, out uint value) || value > 0x10FFFF)
        {
            throw wrong($"\\{letter} is not followed by the {numDigits} digits of a character");
        }

        // Halves of surrogate pairs come in two escapes; the half is kept and its partner follows.
        text.Append(value < 0x10000 ? ((char)value).ToString() : char.ConvertFromUtf32((int)value));
        return index + numDigits;
    }

    private static string Escaped(char letter) => letter switch
    {
        'n' => "\n",
        't' => "\t",
        'r' => "\r",
        'b' => "\b",
        'f' => "\f",
        'v' => "\v",
        'a' => "\a",
        '0' => "\0",
        '\n' => "",
        '\\' or '\'' or '"' => letter.ToString(),
        _ => "\\" + letter,
    };
}
