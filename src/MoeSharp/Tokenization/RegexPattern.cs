using System.Text;
using System.Text.RegularExpressions;

namespace MoeSharp.Tokenization;

/// <summary>
/// A regular expression without a hand-written splitter, run by .NET: without backtracking where the expression allows it, otherwise
/// under a time limit. .NET matches UTF-16 units, so classes such as <c>\p{L}</c> miss characters beyond the basic plane.
/// </summary>
internal sealed class RegexPattern : SplitPattern
{
    // Arbitrary: a hundred times what the slowest published pattern needs for a book.
    private static readonly TimeSpan TimeLimit = TimeSpan.FromSeconds(30);

    private readonly Regex _regex;
    private readonly string _place;

    private RegexPattern(Regex regex, string place)
    {
        _regex = regex;
        _place = place;
    }

    /// <summary>Reads an expression.</summary>
    public static RegexPattern Parse(JsonPlace place)
    {
        string text = place.Text();
        place.RejectIf(text.Length == 0, "is empty");
        return new RegexPattern(Compile(text, place), $"{place.File}: {place.Path}");
    }

    /// <inheritdoc/>
    public override void FindMatches(ReadOnlySpan<byte> text, List<Piece> matches)
    {
        string characters = Encoding.UTF8.GetString(text);
        int position = 0;
        int bytes = 0;
        try
        {
            foreach (ValueMatch match in _regex.EnumerateMatches(characters))
            {
                bytes += Encoding.UTF8.GetByteCount(characters.AsSpan(position, match.Index - position));
                int length = Encoding.UTF8.GetByteCount(characters.AsSpan(match.Index, match.Length));
                if (length > 0)
                {
                    matches.Add(new Piece(bytes, length));
                }

                bytes += length;
                position = match.Index + match.Length;
            }
        }
        catch (RegexMatchTimeoutException exception)
        {
            throw new FileFormatException($"{_place} took more than {TimeLimit.TotalSeconds} s on a text of {text.Length} bytes.", exception);
        }
    }

    private static Regex Compile(string text, JsonPlace place)
    {
        try
        {
            return new Regex(text, RegexOptions.CultureInvariant | RegexOptions.NonBacktracking, TimeLimit);
        }
        catch (NotSupportedException)
        {
            return new Regex(text, RegexOptions.CultureInvariant, TimeLimit);
        }
        catch (ArgumentException exception)
        {
            throw place.Wrong($"is not a regular expression: {exception.Message}");
        }
    }
}
