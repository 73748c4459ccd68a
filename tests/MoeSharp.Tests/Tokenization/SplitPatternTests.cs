using System.Globalization;
using System.Text;
using System.Text.Json;
using MoeSharp.Tokenization;

namespace MoeSharp.Tests.Tokenization;

public class SplitPatternTests
{
    // Letters of all cases, marks, numbers, punctuation, symbols, white space of all kinds, controls, unassigned; also beyond the basic plane.
    private static readonly int[] Alphabet =
    [
        'a', 'b', 'S', 't', 'R', 'e', 'v', 'l', 'M', 'd', '\'', '\'', ' ', ' ', ' ', '\n', '\r', '\t', '1', '2', '!', '.', '(', '$', '+', '<', '_', '^', '/',
        0xA0, 0x85, 0x3000, 0x2028, 0xE9, 0x1C5, 0x2B0, 0x5D0, 0x301, 0x903, 0x20DD, 0x661, 0x2167, 0xBD, 0x2014, 0x20AC, 0x2603, 0x0, 0xAD, 0xFEFF, 0x200B,
        0x4E2D, 0x6587, 0x3042, 0x30AB, 0xAC00, 0xE001, 0x379, 0x10400, 0x10428, 0x20000, 0x1D165, 0x1D7CE, 0x10107, 0x1F600, 0x1E95E, 0xE0001, 0x10FFFD, 0x1FFFE,
    ];

    public static TheoryData<string> KnownTexts => [.. KnownPatterns.Texts];

    [Theory]
    [MemberData(nameof(KnownTexts))]
    public void Splitter_equals_the_expression_it_stands_for(string regex)
    {
        Assert.True(KnownPatterns.TryGet(regex, out SplitPattern? splitter));
        AssertSameMatches(splitter, Expression(regex));
    }

    [Theory]
    [InlineData("[\r\n]")]
    [InlineData(@"[\r\n]+")]
    [InlineData("[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+")]
    [InlineData(@"\s?[!-/:-~\uff01-\uff0f\u3000-\u3002]+")]
    [InlineData(@"\s?[a-zM\u00e9]")]
    public void Plain_lists_equal_the_expression_they_stand_for(string regex)
    {
        string spelled = System.Text.RegularExpressions.Regex.Replace(regex, @"\\u([0-9a-f]{4})", match => ((char)Convert.ToInt32(match.Groups[1].Value, 16)).ToString());
        Assert.True(CharacterRangeRegex.TryParse(spelled, out SplitPattern? splitter));
        AssertSameMatches(splitter, Expression(spelled), largestCodePoint: 0xFFFF); // Ranges would take stand-ins for members.
    }

    [Fact]
    public void Plain_lists_reach_beyond_the_basic_plane()
    {
        Assert.True(CharacterRangeRegex.TryParse("[\U00010400-\U0001044F]+", out SplitPattern? splitter));
        Assert.Equal("1-8", Describe(splitter, "x\U00010400\U0001044F\U00010450"));
    }

    [Theory]
    [InlineData("[^a]+")]
    [InlineData(@"[\p{L}]+")]
    [InlineData("[a-z]*")]
    [InlineData("[a&&b]")]
    [InlineData("[]a]")]
    [InlineData("[z-a]")]
    public void Other_expressions_are_no_plain_lists(string regex)
    {
        Assert.False(CharacterRangeRegex.TryParse(regex, out _));
    }

    [Theory]
    [InlineData("  x", "")]
    [InlineData("x  ", "1-2")]
    [InlineData(" \n  x", "0-1")]
    [InlineData(" \n\n x ", "0-2 5-1")]
    public void Trailing_space_ends_at_line_ends(string text, string expected)
    {
        Assert.Equal(expected, Describe(new TrailingSpacePattern(), text));
    }

    [Fact]
    public void Stand_ins_have_the_category_they_stand_for()
    {
        Assert.Equal(30, BacktrackingPattern.StandIns.Length);
        for (int category = 0; category < 30; category++)
        {
            char standIn = BacktrackingPattern.StandIns[category];
            Assert.True(standIn == '\0' || (int)CharUnicodeInfo.GetUnicodeCategory(standIn) == category, $"category {(UnicodeCategory)category}");
        }

        IEnumerable<int> categories = Enumerable.Range(0x10000, 0x100000).Select(codePoint => (int)CharUnicodeInfo.GetUnicodeCategory(codePoint)).Distinct();
        Assert.DoesNotContain(categories, category => BacktrackingPattern.StandIns[category] == '\0');
    }

    [Theory]
    [InlineData("Removed", false, "a|b")]
    [InlineData("Isolated", false, "a|-|-|b")]
    [InlineData("MergedWithPrevious", false, "a-|-|b")]
    [InlineData("MergedWithNext", false, "a|-|-b")]
    [InlineData("Contiguous", false, "a|--|b")]
    [InlineData("Removed", true, "-|-")]
    [InlineData("Isolated", true, "a|-|-|b")]
    public void Matches_are_kept_as_the_behaviour_says(string behavior, bool invert, string expected)
    {
        byte[] text = "a--b"u8.ToArray();
        List<Piece> pieces = [];
        new SplitPreTokenizer(new LiteralPattern("-"), Enum.Parse<SplitBehavior>(behavior), invert).Split(text, new Piece(0, text.Length), new SplitScratch(), pieces);

        Assert.Equal(expected, string.Join('|', pieces.Select(piece => Encoding.UTF8.GetString(text, piece.Start, piece.Length))));
    }

    private static void AssertSameMatches(SplitPattern splitter, SplitPattern expression, int largestCodePoint = 0x10FFFF)
    {
        int[] alphabet = [.. Alphabet.Where(codePoint => codePoint <= largestCodePoint)];
        Random random = new(17);
        for (int round = 0; round < 3000; round++)
        {
            StringBuilder text = new();
            for (int length = random.Next(1, 24); length > 0; length--)
            {
                text.Append(new Rune(alphabet[random.Next(random.Next(2) == 0 ? 29 : alphabet.Length)]).ToString());
            }

            string content = text.ToString();
            Assert.Equal((JsonSerializer.Serialize(content), Describe(expression, content)), (JsonSerializer.Serialize(content), Describe(splitter, content)));
        }
    }

    private static BacktrackingPattern Expression(string regex, TimeSpan? limit = null)
    {
        using JsonDocument document = JsonDocument.Parse(JsonSerializer.Serialize(regex));
        return BacktrackingPattern.Parse(new JsonPlace(document.RootElement, "test", "pattern"), limit ?? BacktrackingPattern.TimeLimit);
    }

    private static string Describe(SplitPattern pattern, string text)
    {
        List<Piece> matches = [];
        pattern.FindMatches(Encoding.UTF8.GetBytes(text), matches);
        return string.Join(' ', matches.Select(match => $"{match.Start}-{match.Length}"));
    }
}
