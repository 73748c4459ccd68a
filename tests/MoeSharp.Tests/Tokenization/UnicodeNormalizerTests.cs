using System.Text;
using FsCheck;
using FsCheck.Fluent;
using MoeSharp.Tokenization;

namespace MoeSharp.Tests.Tokenization;

public class UnicodeNormalizerTests
{
    [Theory]
    [InlineData("e\u0301", "\u00E9", "e\u0301", "\u00E9", "e\u0301")]
    [InlineData("\u212B", "\u00C5", "A\u030A", "\u00C5", "A\u030A")] // A singleton that composition never makes.
    [InlineData("a\u0301\u0323", "\u1EA1\u0301", "a\u0323\u0301", "\u1EA1\u0301", "a\u0323\u0301")] // Marks in the wrong order.
    [InlineData("a\u0305\u0301", "a\u0305\u0301", "a\u0305\u0301", "a\u0305\u0301", "a\u0305\u0301")] // A mark of the same class blocks.
    [InlineData("\u1100\u1161\u11A8", "\uAC01", "\u1100\u1161\u11A8", "\uAC01", "\u1100\u1161\u11A8")]
    [InlineData("\uAC00\u11A8", "\uAC01", "\u1100\u1161\u11A8", "\uAC01", "\u1100\u1161\u11A8")]
    [InlineData("\uFB01", "\uFB01", "\uFB01", "fi", "fi")]
    [InlineData("\u0958", "\u0915\u093C", "\u0915\u093C", "\u0915\u093C", "\u0915\u093C")] // Excluded from composition.
    [InlineData("\u1E9B\u0323", "\u1E9B\u0323", "\u017F\u0323\u0307", "\u1E69", "s\u0323\u0307")]
    [InlineData("\uFF76\uFF9E", "\uFF76\uFF9E", "\uFF76\uFF9E", "\u30AC", "\u30AB\u3099")]
    [InlineData("\U0001D15E", "\U0001D157\U0001D165", "\U0001D157\U0001D165", "\U0001D157\U0001D165", "\U0001D157\U0001D165")]
    [InlineData("\U00011099\U000110BA", "\U0001109A", "\U00011099\U000110BA", "\U0001109A", "\U00011099\U000110BA")]
    [InlineData("\u4E2D\u6587 plain", "\u4E2D\u6587 plain", "\u4E2D\u6587 plain", "\u4E2D\u6587 plain", "\u4E2D\u6587 plain")]
    public void Forms_follow_the_standard(string text, string nfc, string nfd, string nfkc, string nfkd)
    {
        Assert.Equal(nfc, Normalize(text, isCompatible: false, composes: true));
        Assert.Equal(nfd, Normalize(text, isCompatible: false, composes: false));
        Assert.Equal(nfkc, Normalize(text, isCompatible: true, composes: true));
        Assert.Equal(nfkd, Normalize(text, isCompatible: true, composes: false));
    }

    [Fact]
    public void Forms_are_idempotent_and_agree_on_what_is_equal()
    {
        int[] alphabet = ['a', 'e', ' ', 0xE9, 0x301, 0x323, 0x327, 0x345, 0x3B1, 0x1F80, 0x1100, 0x1161, 0x11A8, 0xAC00, 0x2126, 0x930, 0x93C, 0x1D15E, 0xFB2C, 0x2F800];
        Gen<string> texts = Gen.Elements(alphabet).ListOf().Select(points => string.Concat(points.Select(char.ConvertFromUtf32)));
        Prop.ForAll(texts.ToArbitrary(), text =>
        {
            string nfc = Normalize(text, false, true);
            string nfd = Normalize(text, false, false);
            return Normalize(nfc, false, true) == nfc && Normalize(nfd, false, false) == nfd
                && Normalize(nfc, false, false) == nfd && Normalize(nfd, false, true) == nfc;
        }).QuickCheckThrowOnFailure();
    }

    [Fact]
    public void A_long_run_of_unordered_marks_is_sorted()
    {
        string marks = string.Concat(Enumerable.Repeat("\u0301\u0323", 200_000));

        string ordered = Normalize("x" + marks, isCompatible: false, composes: false);

        Assert.Equal("x" + new string('\u0323', 200_000) + new string('\u0301', 200_000), ordered);
    }

    private static string Normalize(string text, bool isCompatible, bool composes)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        return Encoding.UTF8.GetString(new UnicodeNormalizer(isCompatible, composes).Rewrite(bytes) ?? bytes);
    }
}
