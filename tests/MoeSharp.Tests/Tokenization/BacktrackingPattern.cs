using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using MoeSharp.Tokenization;

namespace MoeSharp.Tests.Tokenization;

/// <summary>
/// A regular expression run by .NET: another implementation, which the splitters are compared with.
/// </summary>
/// <remarks>
/// .NET matches UTF-16 units, so <c>\p{L}</c> would miss letters beyond the basic plane. Each such character is therefore shown to the
/// expression as one rare character of the basic plane with the same general category. Expressions that spell out characters beyond
/// the basic plane are refused, and a range spelled out by code points may take a stand-in for a member.
/// <c>RegexOptions.NonBacktracking</c> is not used: in .NET 10.0 it misses matches of expressions that begin with an optional class
/// (<c>\s?\p{L}+</c> does not find the first letter in "\u0020\u2603b\nb").
/// </remarks>
internal sealed class BacktrackingPattern : SplitPattern
{
    /// <summary>How long one text may take. Arbitrary: a hundred times what the slowest published pattern needs for a book.</summary>
    public static readonly TimeSpan TimeLimit = TimeSpan.FromSeconds(30);

    // One per general category, in the order of UnicodeCategory; '\0' where nothing beyond the basic plane has the category.
    internal const string StandIns =
        "\u2C00\u2C30\u1F88\uA9CF\uA4D0\u1DC0\uA823\u20DD\uA8D0\uA6E6\u2CFD\0\0\0\0\u2061\0\uE000\uFE33\u2E17\u2E22\u2E23\u2E02\u2E03\uA874\u2A00\u20A0\uA700\u2300\u0378";

    private readonly Regex _regex;
    private readonly string _place;

    private BacktrackingPattern(Regex regex, string place)
    {
        _regex = regex;
        _place = place;
    }

    /// <summary>Reads an expression.</summary>
    public static BacktrackingPattern Parse(JsonPlace place, TimeSpan timeLimit)
    {
        string text = place.Text();
        place.RejectIf(text.Length == 0, "is empty");
        place.RejectIf(text.Any(char.IsSurrogate), "spells out characters beyond the basic plane, which is supported only in plain lists such as [a-z]+");
        try
        {
            // ^ and $ match at every line in the flavour that tokenizer files are written for.
            Regex regex = new(text, RegexOptions.CultureInvariant | RegexOptions.Multiline, timeLimit);
            return new BacktrackingPattern(regex, $"{place.File}: {place.Path}");
        }
        catch (ArgumentException exception)
        {
            throw place.Wrong($"is not a regular expression that .NET understands: {exception.Message}");
        }
    }

    /// <inheritdoc/>
    public override void FindMatches(ReadOnlySpan<byte> text, List<Piece> matches)
    {
        char[] units = new char[text.Length];
        int count = 0;
        for (int index = 0; index < text.Length;)
        {
            units[count++] = UnitOf(CodePoint.At(text, index, out int length));
            index += length;
        }

        try
        {
            FindMatches(text, units.AsSpan(0, count), matches);
        }
        catch (RegexMatchTimeoutException exception)
        {
            throw new FileFormatException($"{_place} took more than {_regex.MatchTimeout.TotalSeconds} s on a text of {text.Length} bytes.", exception);
        }
    }

    private void FindMatches(ReadOnlySpan<byte> text, ReadOnlySpan<char> units, List<Piece> matches)
    {
        int unit = 0;
        int index = 0;
        foreach (ValueMatch match in _regex.EnumerateMatches(units))
        {
            index = Advance(text, index, match.Index - unit);
            int end = Advance(text, index, match.Length);
            if (end > index)
            {
                matches.Add(new Piece(index, end - index));
            }

            unit = match.Index + match.Length;
            index = end;
        }
    }

    private static int Advance(ReadOnlySpan<byte> text, int index, int numCharacters)
    {
        for (int count = 0; count < numCharacters; count++)
        {
            CodePoint.At(text, index, out int length);
            index += length;
        }

        return index;
    }

    private static char UnitOf(int codePoint) =>
        codePoint < 0x10000 ? (char)codePoint : StandIns[(int)CharUnicodeInfo.GetUnicodeCategory(codePoint)];
}
