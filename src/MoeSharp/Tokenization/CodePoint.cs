using System.Globalization;
using System.Text;

namespace MoeSharp.Tokenization;

/// <summary>What a split pattern asks of a character. Every code point has exactly one class (<see cref="LineBreak"/> counts as white space too).</summary>
[Flags]
internal enum CharacterClass : byte
{
    /// <summary>Unicode category L*.</summary>
    Letter = 1,

    /// <summary>Unicode category M*.</summary>
    Mark = 2,

    /// <summary>Unicode category N*: digits, letter numbers and fractions.</summary>
    Number = 4,

    /// <summary>Unicode category P*.</summary>
    Punctuation = 8,

    /// <summary>Unicode category S*.</summary>
    Symbol = 16,

    /// <summary>The White_Space property, except carriage return and line feed.</summary>
    Space = 32,

    /// <summary>Carriage return or line feed.</summary>
    LineBreak = 64,

    /// <summary>Controls, format characters, private use and unassigned code points that are not white space.</summary>
    Other = 128,

    /// <summary>What <c>\s</c> matches.</summary>
    WhiteSpace = Space | LineBreak,
}

/// <summary>Reads code points out of valid UTF-8 and classifies them; knows nothing of tokens.</summary>
internal static class CodePoint
{
    private static readonly CharacterClass[] BasicPlane = BuildBasicPlane();

    /// <summary>The code point that starts at <paramref name="index"/> of valid UTF-8, and its length in bytes.</summary>
    public static int At(ReadOnlySpan<byte> text, int index, out int length)
    {
        int first = text[index];
        if (first < 0x80)
        {
            length = 1;
            return first;
        }

        if (first < 0xE0)
        {
            length = 2;
            return ((first & 0x1F) << 6) | (text[index + 1] & 0x3F);
        }

        if (first < 0xF0)
        {
            length = 3;
            return ((first & 0x0F) << 12) | ((text[index + 1] & 0x3F) << 6) | (text[index + 2] & 0x3F);
        }

        length = 4;
        return ((first & 0x07) << 18) | ((text[index + 1] & 0x3F) << 12) | ((text[index + 2] & 0x3F) << 6) | (text[index + 3] & 0x3F);
    }

    /// <summary>The code point that ends just before <paramref name="end"/> of valid UTF-8, and its length in bytes.</summary>
    public static int Before(ReadOnlySpan<byte> text, int end, out int length)
    {
        int start = end - 1;
        while ((text[start] & 0xC0) == 0x80)
        {
            start--;
        }

        return At(text, start, out length);
    }

    /// <summary>The class of a code point.</summary>
    public static CharacterClass ClassOf(int codePoint) =>
        codePoint < 0x10000 ? BasicPlane[codePoint] : Classify(codePoint);

    /// <summary>The class of the code point that starts at <paramref name="index"/>, and its length in bytes.</summary>
    public static CharacterClass ClassAt(ReadOnlySpan<byte> text, int index, out int length) =>
        ClassOf(At(text, index, out length));

    /// <summary>Advances over code points whose class is in <paramref name="wanted"/> and returns the index after them.</summary>
    public static int SkipWhile(ReadOnlySpan<byte> text, int index, CharacterClass wanted)
    {
        while (index < text.Length && (ClassAt(text, index, out int length) & wanted) != 0)
        {
            index += length;
        }

        return index;
    }

    private static CharacterClass[] BuildBasicPlane()
    {
        CharacterClass[] classes = new CharacterClass[0x10000];
        for (int codePoint = 0; codePoint < classes.Length; codePoint++)
        {
            classes[codePoint] = Classify(codePoint);
        }

        return classes;
    }

    private static CharacterClass Classify(int codePoint)
    {
        if (codePoint is '\r' or '\n')
        {
            return CharacterClass.LineBreak;
        }

        if (Rune.IsValid(codePoint) && Rune.IsWhiteSpace(new Rune(codePoint)))
        {
            return CharacterClass.Space;
        }

        return CharUnicodeInfo.GetUnicodeCategory(codePoint) switch
        {
            UnicodeCategory.UppercaseLetter or UnicodeCategory.LowercaseLetter or UnicodeCategory.TitlecaseLetter
                or UnicodeCategory.ModifierLetter or UnicodeCategory.OtherLetter => CharacterClass.Letter,
            UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark or UnicodeCategory.EnclosingMark
                => CharacterClass.Mark,
            UnicodeCategory.DecimalDigitNumber or UnicodeCategory.LetterNumber or UnicodeCategory.OtherNumber
                => CharacterClass.Number,
            UnicodeCategory.ConnectorPunctuation or UnicodeCategory.DashPunctuation or UnicodeCategory.OpenPunctuation
                or UnicodeCategory.ClosePunctuation or UnicodeCategory.InitialQuotePunctuation
                or UnicodeCategory.FinalQuotePunctuation or UnicodeCategory.OtherPunctuation => CharacterClass.Punctuation,
            UnicodeCategory.MathSymbol or UnicodeCategory.CurrencySymbol or UnicodeCategory.ModifierSymbol
                or UnicodeCategory.OtherSymbol => CharacterClass.Symbol,
            _ => CharacterClass.Other,
        };
    }
}
