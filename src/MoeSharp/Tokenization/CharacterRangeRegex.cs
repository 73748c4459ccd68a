using System.Text;

namespace MoeSharp.Tokenization;

/// <summary>
/// Reads regular expressions that are one list of literal characters and ranges: <c>[...]</c>, <c>[...]+</c>, <c>\s?[...]+</c>.
/// The lists of cased letters and of ideographs in DeepSeek tokenizers have this form and reach beyond the basic plane.
/// </summary>
internal static class CharacterRangeRegex
{
    /// <summary>The pattern equal to <paramref name="regex"/>; false when it has another form.</summary>
    public static bool TryParse(string regex, [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out SplitPattern? pattern)
    {
        pattern = null;
        bool whiteSpaceMayLead = regex.StartsWith(@"\s?", StringComparison.Ordinal);
        string body = whiteSpaceMayLead ? regex[3..] : regex;
        bool repeats = body.EndsWith('+');
        body = repeats ? body[..^1] : body;
        if (body.Length < 3 || body[0] != '[' || body[^1] != ']')
        {
            return false;
        }

        int[]? ranges = ParseRanges(body[1..^1]);
        if (ranges is null)
        {
            return false;
        }

        pattern = new RangeRunPattern(ranges, repeats ? int.MaxValue : 1, whiteSpaceMayLead);
        return true;
    }

    private static int[]? ParseRanges(string list)
    {
        string unescaped = list.Replace(@"\r", "\r", StringComparison.Ordinal).Replace(@"\n", "\n", StringComparison.Ordinal);
        List<Rune> characters = [.. unescaped.EnumerateRunes()];
        List<(int First, int Last)> ranges = [];
        for (int index = 0; index < characters.Count;)
        {
            int first = characters[index].Value;
            bool isRange = index + 2 < characters.Count && characters[index + 1].Value == '-';
            int last = isRange ? characters[index + 2].Value : first;
            bool startsPlain = first is not ('[' or ']' or '\\' or '^' or '&' or '-');
            if (!startsPlain || last is '[' or ']' or '\\' || last < first)
            {
                return null;
            }

            ranges.Add((first, last));
            index += isRange ? 3 : 1;
        }

        return CodeSet.Merge(ranges);
    }
}
