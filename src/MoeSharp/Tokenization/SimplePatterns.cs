using System.Text;

namespace MoeSharp.Tokenization;

/// <summary>A fixed string.</summary>
internal sealed class LiteralPattern(string literal) : SplitPattern
{
    private readonly byte[] _literal = Encoding.UTF8.GetBytes(literal);

    /// <inheritdoc/>
    public override void FindMatches(ReadOnlySpan<byte> text, List<Piece> matches)
    {
        for (int start = 0; start < text.Length;)
        {
            int found = text[start..].IndexOf(_literal);
            if (found < 0)
            {
                return;
            }

            matches.Add(new Piece(start + found, _literal.Length));
            start += found + _literal.Length;
        }
    }
}

/// <summary>Runs of characters of some classes, which one white-space character may lead: <c>\s?\p{L}+</c>, <c>\p{N}{1,3}</c>, <c>\p{N}</c>.</summary>
/// <param name="classes">Classes that runs are made of.</param>
/// <param name="maxLength">Longest match in characters.</param>
/// <param name="whiteSpaceMayLead">One white-space character before the run belongs to the match.</param>
internal sealed class ClassRunPattern(CharacterClass classes, int maxLength, bool whiteSpaceMayLead) : SplitPattern
{
    /// <inheritdoc/>
    public override void FindMatches(ReadOnlySpan<byte> text, List<Piece> matches)
    {
        int leadStart = -1;
        for (int index = 0; index < text.Length;)
        {
            CharacterClass characterClass = CodePoint.ClassAt(text, index, out int length);
            if ((characterClass & classes) == 0)
            {
                leadStart = whiteSpaceMayLead && (characterClass & CharacterClass.WhiteSpace) != 0 ? index : -1;
                index += length;
                continue;
            }

            int end = index + length;
            for (int count = 1; count < maxLength && end < text.Length; count++)
            {
                if ((CodePoint.ClassAt(text, end, out length) & classes) == 0)
                {
                    break;
                }

                end += length;
            }

            int start = leadStart >= 0 ? leadStart : index;
            matches.Add(new Piece(start, end - start));
            leadStart = -1;
            index = end;
        }
    }
}

/// <summary>Runs of characters from a list of ranges, which one white-space character may lead.</summary>
/// <param name="ranges">Inclusive pairs of first and last code point, ascending.</param>
/// <param name="maxLength">Longest match in characters.</param>
/// <param name="whiteSpaceMayLead">One white-space character before the run belongs to the match.</param>
internal sealed class RangeRunPattern(int[] ranges, int maxLength, bool whiteSpaceMayLead) : SplitPattern
{
    /// <inheritdoc/>
    public override void FindMatches(ReadOnlySpan<byte> text, List<Piece> matches)
    {
        for (int index = 0; index < text.Length;)
        {
            int first = CodePoint.At(text, index, out int length);
            int end = index + length;
            int count = Contains(first) ? 1 : 0;
            bool leads = whiteSpaceMayLead && (CodePoint.ClassOf(first) & CharacterClass.WhiteSpace) != 0;
            if (count == 0 && !leads)
            {
                index = end;
                continue;
            }

            // A leading white-space character that is itself in the ranges leads first, as a greedy \s? does.
            int inRun = leads ? 0 : 1;
            while (inRun < maxLength && end < text.Length && Contains(CodePoint.At(text, end, out length)))
            {
                end += length;
                inRun++;
            }

            if (inRun > 0 || count > 0)
            {
                matches.Add(new Piece(index, end - index));
            }

            index = end;
        }
    }

    private bool Contains(int codePoint)
    {
        int low = 0;
        int high = (ranges.Length / 2) - 1;
        while (low <= high)
        {
            int middle = (low + high) / 2;
            if (codePoint < ranges[2 * middle])
            {
                high = middle - 1;
            }
            else if (codePoint > ranges[(2 * middle) + 1])
            {
                low = middle + 1;
            }
            else
            {
                return true;
            }
        }

        return false;
    }
}

/// <summary><c>\s+$</c>: white space before the end of a line or of the text.</summary>
internal sealed class TrailingSpacePattern : SplitPattern
{
    /// <inheritdoc/>
    public override void FindMatches(ReadOnlySpan<byte> text, List<Piece> matches)
    {
        for (int index = 0; index < text.Length;)
        {
            CharacterClass characterClass = CodePoint.ClassAt(text, index, out int length);
            if ((characterClass & CharacterClass.WhiteSpace) == 0)
            {
                index += length;
                continue;
            }

            int end = index;
            int lastLineFeed = index;
            while (end < text.Length && (CodePoint.ClassAt(text, end, out length) & CharacterClass.WhiteSpace) != 0)
            {
                lastLineFeed = text[end] == '\n' ? end : lastLineFeed;
                end += length;
            }

            int matchEnd = end == text.Length ? end : lastLineFeed;
            if (matchEnd > index)
            {
                matches.Add(new Piece(index, matchEnd - index));
            }

            index = end;
        }
    }
}

/// <summary>Each punctuation character by itself: Unicode punctuation and all ASCII marks, symbols included.</summary>
internal sealed class PunctuationPattern : SplitPattern
{
    /// <inheritdoc/>
    public override void FindMatches(ReadOnlySpan<byte> text, List<Piece> matches)
    {
        for (int index = 0; index < text.Length;)
        {
            CharacterClass characterClass = CodePoint.ClassAt(text, index, out int length);
            bool isAsciiSymbol = length == 1 && characterClass == CharacterClass.Symbol;
            if (characterClass == CharacterClass.Punctuation || isAsciiSymbol)
            {
                matches.Add(new Piece(index, length));
            }

            index += length;
        }
    }
}

/// <summary>Single characters of some classes.</summary>
internal static class CharacterPatterns
{
    /// <summary>Each numeric character by itself.</summary>
    public static readonly SplitPattern SingleNumber = new ClassRunPattern(CharacterClass.Number, 1, whiteSpaceMayLead: false);

    /// <summary>Runs of numeric characters.</summary>
    public static readonly SplitPattern Numbers = new ClassRunPattern(CharacterClass.Number, int.MaxValue, whiteSpaceMayLead: false);

    /// <summary>Each punctuation character by itself.</summary>
    public static readonly SplitPattern SinglePunctuation = new PunctuationPattern();

    /// <summary>Each white-space character by itself.</summary>
    public static readonly SplitPattern SingleWhiteSpace = new ClassRunPattern(CharacterClass.WhiteSpace, 1, whiteSpaceMayLead: false);
}
