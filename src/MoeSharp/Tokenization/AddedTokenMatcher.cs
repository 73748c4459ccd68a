using System.Buffers;
using System.Globalization;
using System.Text;

namespace MoeSharp.Tokenization;

/// <summary>A stretch of text, or an added token in its place.</summary>
/// <param name="Piece">Where it is.</param>
/// <param name="TokenId">Id of the added token; -1 for text.</param>
internal readonly record struct Section(Piece Piece, int TokenId);

/// <summary>Finds added tokens in text: at each place the longest, from left to right.</summary>
internal sealed class AddedTokenMatcher
{
    private readonly Dictionary<int, int> _children = [];
    private readonly List<AddedToken?> _tokenOfNode = [null];
    private readonly SearchValues<byte> _firstBytes;

    /// <summary>Builds the search tree.</summary>
    /// <param name="tokens">The tokens and the UTF-8 text that each is searched by (normalised if the token asks for it).</param>
    public AddedTokenMatcher(IEnumerable<KeyValuePair<AddedToken, byte[]>> tokens)
    {
        HashSet<byte> firstBytes = [];
        foreach ((AddedToken token, byte[] text) in tokens)
        {
            if (text.Length == 0)
            {
                continue;
            }

            firstBytes.Add(text[0]);
            int node = 0;
            foreach (byte value in text)
            {
                int edge = (node << 8) | value;
                if (!_children.TryGetValue(edge, out int child))
                {
                    child = _tokenOfNode.Count;
                    _children.Add(edge, child);
                    _tokenOfNode.Add(null);
                }

                node = child;
            }

            _tokenOfNode[node] = token;
        }

        _firstBytes = SearchValues.Create([.. firstBytes]);
    }

    /// <summary>There is nothing to find.</summary>
    public bool IsEmpty => _children.Count == 0;

    /// <summary>Cuts a text into sections, appended in order; empty sections are left out.</summary>
    public void Split(ReadOnlySpan<byte> text, List<Section> sections)
    {
        int done = 0;
        for (int position = 0; position < text.Length;)
        {
            int candidate = text[position..].IndexOfAny(_firstBytes);
            if (candidate < 0)
            {
                break;
            }

            position += candidate;
            AddedToken? token = LongestAt(text, position, out int length);
            if (token is null)
            {
                position++;
                continue;
            }

            int start = position;
            int end = position + length;
            position = end;
            if (token.SingleWord && (TouchesWordBefore(text, start) || TouchesWordAfter(text, end)))
            {
                continue;
            }

            start = token.StripLeft ? SkipSpaceBackwards(text, start, done) : start;
            end = token.StripRight ? CodePoint.SkipWhile(text, end, CharacterClass.WhiteSpace) : end;
            AddText(sections, done, start);
            sections.Add(new Section(new Piece(start, end - start), token.Id));
            done = end;
            position = end;
        }

        AddText(sections, done, text.Length);
    }

    private AddedToken? LongestAt(ReadOnlySpan<byte> text, int start, out int length)
    {
        AddedToken? longest = null;
        length = 0;
        int node = 0;
        for (int index = start; index < text.Length && _children.TryGetValue((node << 8) | text[index], out node); index++)
        {
            if (_tokenOfNode[node] is AddedToken token)
            {
                longest = token;
                length = index + 1 - start;
            }
        }

        return longest;
    }

    private static void AddText(List<Section> sections, int start, int end)
    {
        if (end > start)
        {
            sections.Add(new Section(new Piece(start, end - start), -1));
        }
    }

    private static int SkipSpaceBackwards(ReadOnlySpan<byte> text, int end, int limit)
    {
        while (end > limit && (CodePoint.ClassOf(CodePoint.Before(text, end, out int length)) & CharacterClass.WhiteSpace) != 0)
        {
            end -= length;
        }

        return end;
    }

    private static bool TouchesWordBefore(ReadOnlySpan<byte> text, int start) =>
        start > 0 && IsWordCharacter(CodePoint.Before(text, start, out _));

    private static bool TouchesWordAfter(ReadOnlySpan<byte> text, int end) =>
        end < text.Length && IsWordCharacter(CodePoint.At(text, end, out _));

    // Unicode's definition of \w: alphabetic, marks, decimal digits, connectors and the two joiners.
    private static bool IsWordCharacter(int codePoint) => codePoint is 0x200C or 0x200D || CharUnicodeInfo.GetUnicodeCategory(codePoint)
        is UnicodeCategory.UppercaseLetter or UnicodeCategory.LowercaseLetter or UnicodeCategory.TitlecaseLetter
        or UnicodeCategory.ModifierLetter or UnicodeCategory.OtherLetter or UnicodeCategory.LetterNumber
        or UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark or UnicodeCategory.EnclosingMark
        or UnicodeCategory.DecimalDigitNumber or UnicodeCategory.ConnectorPunctuation;
}
