using System.Globalization;

namespace MoeSharp.Tokenization;

/// <summary>
/// The family of word patterns used by byte-level vocabularies: at each place the first alternative that matches wins, of
/// contraction, punctuation glued to a word, word, number, run of other characters, lines, white space.
/// </summary>
internal sealed class WordPattern : SplitPattern
{
    /// <summary>Contractions <c>'s 't 're 've 'm 'll 'd</c> come first.</summary>
    public bool MatchContractions { get; init; }

    /// <summary>Contractions also match in capitals.</summary>
    public bool ContractionsIgnoreCase { get; init; }

    /// <summary>One ASCII punctuation mark followed by ASCII letters is a piece.</summary>
    public bool GluePunctuation { get; init; }

    /// <summary>The only character that may lead a word is a blank; otherwise any of <see cref="WordPrefix"/>.</summary>
    public bool WordPrefixIsBlank { get; init; }

    /// <summary>Classes of which one character may lead a word.</summary>
    public CharacterClass WordPrefix { get; init; }

    /// <summary>Classes that words are made of.</summary>
    public required CharacterClass Word { get; init; }

    /// <summary>Longest run of numbers in one piece; 0 when numbers are no alternative of their own.</summary>
    public int MaxNumbers { get; init; }

    /// <summary>A blank may lead a number.</summary>
    public bool NumberPrefixIsBlank { get; init; }

    /// <summary>Classes of the run of other characters, which one blank may lead.</summary>
    public required CharacterClass Rest { get; init; }

    /// <summary>A run of other characters takes the line breaks after it, and white space up to its last line break is a piece.</summary>
    public bool MatchLineBreaks { get; init; }

    /// <summary>Words end where a small letter is followed by a capital, and take a contraction along: <see cref="CasedWord"/>.</summary>
    public bool SplitWordsByCase { get; init; }

    /// <summary>The line breaks after a run of other characters may be mixed with slashes.</summary>
    public bool SlashEndsRest { get; init; }

    /// <inheritdoc/>
    public override void FindMatches(ReadOnlySpan<byte> text, List<Piece> matches)
    {
        for (int start = 0; start < text.Length;)
        {
            int end = MatchAt(text, start);
            if (end > start)
            {
                matches.Add(new Piece(start, end - start));
                start = end;
            }
            else
            {
                CodePoint.At(text, start, out int length);
                start += length;
            }
        }
    }

    private int MatchAt(ReadOnlySpan<byte> text, int start)
    {
        byte first = text[start];
        if (MatchContractions && first == '\'')
        {
            int length = Contraction.LengthAt(text, start, ContractionsIgnoreCase);
            if (length > 0)
            {
                return start + length;
            }
        }

        if (GluePunctuation && EndOfGlued(text, start) is int glued && glued > start)
        {
            return glued;
        }

        CharacterClass firstClass = CodePoint.ClassAt(text, start, out int firstLength);
        int afterFirst = start + firstLength;
        CharacterClass secondClass = afterFirst < text.Length ? CodePoint.ClassAt(text, afterFirst, out _) : 0;
        bool blank = first == ' ';

        bool mayLeadWord = WordPrefixIsBlank ? blank : (firstClass & WordPrefix) != 0;
        if (SplitWordsByCase)
        {
            int end = CasedWord.EndAt(text, start, mayLeadWord ? afterFirst : start);
            if (end > start)
            {
                return end;
            }
        }
        else if ((mayLeadWord && (secondClass & Word) != 0) || (firstClass & Word) != 0)
        {
            return CodePoint.SkipWhile(text, afterFirst, Word);
        }

        if (MaxNumbers > 0 && ((firstClass & CharacterClass.Number) != 0 || (NumberPrefixIsBlank && blank && secondClass == CharacterClass.Number)))
        {
            return EndOfNumber(text, start);
        }

        if ((firstClass & Rest) != 0 || (blank && (secondClass & Rest) != 0))
        {
            return EndOfRest(text, CodePoint.SkipWhile(text, afterFirst, Rest));
        }

        return (firstClass & CharacterClass.WhiteSpace) != 0 ? EndOfWhiteSpace(text, start) : start;
    }

    private static int EndOfGlued(ReadOnlySpan<byte> text, int start)
    {
        bool isGlued = IsAsciiPunctuation(text[start]) && start + 1 < text.Length && char.IsAsciiLetter((char)text[start + 1]);
        int end = isGlued ? start + 2 : start;
        while (isGlued && end < text.Length && char.IsAsciiLetter((char)text[end]))
        {
            end++;
        }

        return end;
    }

    private int EndOfRest(ReadOnlySpan<byte> text, int end)
    {
        while (MatchLineBreaks && end < text.Length && (text[end] is (byte)'\r' or (byte)'\n' || (SlashEndsRest && text[end] == '/')))
        {
            end++;
        }

        return end;
    }

    private int EndOfNumber(ReadOnlySpan<byte> text, int start)
    {
        int index = NumberPrefixIsBlank && text[start] == ' ' ? start + 1 : start;
        for (int count = 0; count < MaxNumbers && index < text.Length; count++)
        {
            if (CodePoint.ClassAt(text, index, out int length) != CharacterClass.Number)
            {
                break;
            }

            index += length;
        }

        return index;
    }

    /// <summary><c>\s*[\r\n]+|\s+(?!\S)|\s+</c>: up to the last line break, else all but the last character before a word, else all.</summary>
    private int EndOfWhiteSpace(ReadOnlySpan<byte> text, int start)
    {
        int end = start;
        int lastStart = start;
        int afterLineBreak = start;
        while (end < text.Length)
        {
            CharacterClass characterClass = CodePoint.ClassAt(text, end, out int length);
            if ((characterClass & CharacterClass.WhiteSpace) == 0)
            {
                break;
            }

            lastStart = end;
            end += length;
            afterLineBreak = characterClass == CharacterClass.LineBreak ? end : afterLineBreak;
        }

        if (MatchLineBreaks && afterLineBreak > start)
        {
            return afterLineBreak;
        }

        return end == text.Length || lastStart == start ? end : lastStart;
    }

    private static bool IsAsciiPunctuation(byte value) =>
        value is (>= (byte)'!' and <= (byte)'/') or (>= (byte)':' and <= (byte)'@') or (>= (byte)'[' and <= (byte)'`') or (>= (byte)'{' and <= (byte)'~');
}

/// <summary>
/// Words that end where small letters turn into capitals: capitals, then small letters, then perhaps a contraction. Letters without
/// case and marks count as both: <c>A*B+|A+B*</c> with A = capitals and caseless, B = small and caseless.
/// </summary>
internal static class CasedWord
{
    private enum LetterCase
    {
        None,
        Capital,
        Small,
        Both,
    }

    /// <summary>The end of the word that begins at <paramref name="start"/>, or <paramref name="start"/> when none does.</summary>
    /// <param name="text">Valid UTF-8.</param>
    /// <param name="start">Where the piece begins.</param>
    /// <param name="afterPrefix">The index after a character that may lead the word; <paramref name="start"/> when none may.</param>
    public static int EndAt(ReadOnlySpan<byte> text, int start, int afterPrefix)
    {
        int end = EndOfLetters(text, afterPrefix, out bool hasSmall);
        if (!hasSmall && afterPrefix > start && CaseAt(text, start, out _) == LetterCase.Both)
        {
            // A leading mark before capitals only: as a small letter it is a word of its own, and that is tried first.
            end = afterPrefix;
        }
        else if (end == afterPrefix)
        {
            return start;
        }

        return end + Contraction.LengthAt(text, end, ignoreCase: true);
    }

    private static int EndOfLetters(ReadOnlySpan<byte> text, int start, out bool hasSmall)
    {
        int end = start;
        int afterLastSmall = -1;
        LetterCase letterCase = LetterCase.None;
        int length = 0;
        while (end < text.Length && (letterCase = CaseAt(text, end, out length)) is LetterCase.Capital or LetterCase.Both)
        {
            end += length;
            afterLastSmall = letterCase == LetterCase.Both ? end : afterLastSmall;
        }

        hasSmall = afterLastSmall >= 0 || (end < text.Length && letterCase == LetterCase.Small);
        if (end >= text.Length || letterCase != LetterCase.Small)
        {
            return hasSmall ? afterLastSmall : end;
        }

        while (end < text.Length && CaseAt(text, end, out length) is LetterCase.Small or LetterCase.Both)
        {
            end += length;
        }

        return end;
    }

    private static LetterCase CaseAt(ReadOnlySpan<byte> text, int index, out int length) =>
        CharUnicodeInfo.GetUnicodeCategory(CodePoint.At(text, index, out length)) switch
        {
            UnicodeCategory.UppercaseLetter or UnicodeCategory.TitlecaseLetter => LetterCase.Capital,
            UnicodeCategory.LowercaseLetter => LetterCase.Small,
            UnicodeCategory.ModifierLetter or UnicodeCategory.OtherLetter or UnicodeCategory.NonSpacingMark
                or UnicodeCategory.SpacingCombiningMark or UnicodeCategory.EnclosingMark => LetterCase.Both,
            _ => LetterCase.None,
        };
}

/// <summary>English contractions after an apostrophe: 's 't 're 've 'm 'll 'd.</summary>
internal static class Contraction
{
    /// <summary>Bytes of the contraction at <paramref name="start"/>, or 0.</summary>
    public static int LengthAt(ReadOnlySpan<byte> text, int start, bool ignoreCase)
    {
        if (start + 1 >= text.Length || text[start] != '\'')
        {
            return 0;
        }

        int next = FoldAt(text, start + 1, ignoreCase, out int nextLength);
        if (next is 's' or 't' or 'm' or 'd')
        {
            return 1 + nextLength;
        }

        if (start + 1 + nextLength >= text.Length)
        {
            return 0;
        }

        int last = FoldAt(text, start + 1 + nextLength, ignoreCase, out int lastLength);
        bool matches = (next, last) is ('r', 'e') or ('v', 'e') or ('l', 'l');
        return matches ? 1 + nextLength + lastLength : 0;
    }

    // U+017F LATIN SMALL LETTER LONG S folds to s under Unicode case-insensitive matching.
    private static int FoldAt(ReadOnlySpan<byte> text, int index, bool ignoreCase, out int length)
    {
        int codePoint = CodePoint.At(text, index, out length);
        if (!ignoreCase)
        {
            return codePoint;
        }

        return codePoint switch
        {
            >= 'A' and <= 'Z' => codePoint + ('a' - 'A'),
            0x17F => 's',
            _ => codePoint,
        };
    }
}
