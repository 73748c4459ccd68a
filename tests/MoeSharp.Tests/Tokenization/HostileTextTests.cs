using System.Diagnostics;
using System.Text;
using System.Text.Json.Nodes;
using MoeSharp.Tokenization;

namespace MoeSharp.Tests.Tokenization;

/// <summary>Long texts made to be slow: the work stays in proportion to the length, whatever the text and the rules.</summary>
public class HostileTextTests
{
    private const int NumCharacters = 300_000;
    private const int ManyCharacters = 5_000_000;

    // Each takes well under a second (the many characters: one second); quadratic time would take minutes and hours.
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    private static readonly Dictionary<string, string> Units = new(StringComparer.Ordinal)
    {
        ["one letter"] = "a",
        ["one word"] = "ab",
        ["blanks"] = " ",
        ["line breaks"] = "\n",
        ["blanks and breaks"] = " \n",
        ["case changes"] = "aB",
        ["capitals and caseless"] = "A\u4E2D",
        ["marks"] = "\u0301",
        ["letters and marks"] = "e\u0301",
        ["mixed scripts"] = "a\u4E2D\U0001F600\u05D0 1\u0301",
        ["apostrophes"] = "'",
        ["digits"] = "1",
        ["punctuation"] = "!/",
        ["special tokens"] = "<s>",
        ["half special tokens"] = "<s",
    };

    public static TheoryData<string> UnitNames => [.. Units.Keys];

    [Theory]
    [MemberData(nameof(UnitNames))]
    public void Every_splitter_takes_linear_time(string unit)
    {
        byte[] text = Encoding.UTF8.GetBytes(Repeat(Units[unit], NumCharacters));
        foreach (string regex in KnownPatterns.Texts)
        {
            Assert.True(KnownPatterns.TryGet(regex, out SplitPattern? pattern));
            Stopwatch watch = Stopwatch.StartNew();
            pattern.FindMatches(text, []);

            Assert.True(watch.Elapsed < Limit, $"{regex} took {watch.Elapsed}");
        }
    }

    [Theory]
    [InlineData("one letter")]
    [InlineData("blanks")]
    [InlineData("marks")]
    [InlineData("mixed scripts")]
    public void Long_texts_encode_and_decode_in_time(string unit) => EncodeAndDecode(Repeat(Units[unit], NumCharacters));

    [Theory]
    [MemberData(nameof(UnitNames))]
    [Trait("Category", "Slow")]
    public void Five_million_characters_encode_and_decode_in_time(string unit) => EncodeAndDecode(Repeat(Units[unit], ManyCharacters));

    [Theory]
    [InlineData("NFC")]
    [InlineData("NFKD")]
    public void Marks_without_end_normalise_in_time(string form)
    {
        JsonObject file = SmallVocabulary.Characters();
        file["normalizer"] = new JsonObject { ["type"] = form };
        string text = "a" + Repeat("\u0301\u0323", NumCharacters);
        Stopwatch watch = Stopwatch.StartNew();
        SmallVocabulary.Parse(file).Encode(text, addSpecialTokens: false);

        Assert.True(watch.Elapsed < Limit, $"took {watch.Elapsed}");
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_stream_of_tokens_never_splits_a_character(bool isScored)
    {
        Tokenizer tokenizer = isScored
            ? SentencePieceTokenizer.Build(SentencePieceTests.Small(), null, "small", null, "", null)
            : Tokenizer.FromGguf(Merged("qwen2"), "test");
        const string Text = "ab \u00E9\u4E2D\U0001F600 \u0DF4x\nab";
        IncrementalDecoder decoder = new(tokenizer);
        StringBuilder streamed = new();
        foreach (int id in tokenizer.Encode(Text, addSpecialTokens: false))
        {
            string part = decoder.Push(id);
            Assert.DoesNotContain('\uFFFD', part);
            Assert.False(part.Length > 0 && (char.IsLowSurrogate(part[0]) || char.IsHighSurrogate(part[^1])), "a character is cut");
            streamed.Append(part);
        }

        Assert.Equal(Text, streamed.Append(decoder.Flush()).ToString());
    }

    private static void EncodeAndDecode(string text)
    {
        foreach (Tokenizer tokenizer in (Tokenizer[])[Tokenizer.FromGguf(Merged("gpt-4o"), "test"), SentencePieceTokenizer.Build(SentencePieceTests.Small(), null, "small", null, "", null)])
        {
            Stopwatch watch = Stopwatch.StartNew();
            int[] ids = tokenizer.Encode(text, addSpecialTokens: false);

            Assert.True(text == tokenizer.Decode(ids, skipSpecialTokens: false).Replace("<s> ", "<s>", StringComparison.Ordinal), "the text does not come back");
            Assert.True(watch.Elapsed < Limit, $"took {watch.Elapsed}");
        }
    }

    private static string Repeat(string unit, int numCharacters) => string.Concat(Enumerable.Repeat(unit, numCharacters / unit.Length));

    private static GgufVocabulary Merged(string pre)
    {
        List<string> tokens = [.. Enumerable.Range(0, 256).Select(value => ByteAlphabet.ToCharacter((byte)value).ToString())];
        tokens.AddRange(["aa", "aaaa", "ab", "abab", "\u0120\u0120", "<s>"]);
        return new GgufVocabulary
        {
            Model = "gpt2",
            Pre = pre,
            Tokens = tokens,
            TokenTypes = [.. Enumerable.Repeat(1, 261), 3],
            Merges = ["a a", "aa aa", "a b", "ab ab", "\u0120 \u0120"],
        };
    }
}
