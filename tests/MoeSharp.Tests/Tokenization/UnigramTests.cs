using System.Diagnostics;
using System.Text;
using System.Text.Json.Nodes;
using MoeSharp.Tokenization;

namespace MoeSharp.Tests.Tokenization;

/// <summary>Unigram vocabularies: against trying every way to cut a text, in all three files that hold them, and hostile ones.</summary>
public class UnigramTests
{
    [Fact]
    public void Of_all_ways_to_cut_a_text_the_best_is_taken()
    {
        Random random = new(23);
        for (int round = 0; round < 400; round++)
        {
            Dictionary<string, double> scores = RandomScores(random, isWhole: round % 2 == 0);
            Tokenizer tokenizer = Build(scores, hasBytes: false);
            for (int count = 0; count < 5; count++)
            {
                string text = RandomText(random, 1 + random.Next(9));
                string expected = string.Join('|', BestCut(text.Replace(' ', '\u2581'), scores));
                string actual = Tokens(tokenizer, text);
                Assert.True(expected == actual, $"'{text}' with {string.Join(' ', scores)}: expected {expected}, got {actual}");
            }
        }
    }

    // Scores by hand: of "abc", ab+c is -1-4, a+bc is -4-2, a+b+c is -12.
    [Theory]
    [InlineData("abc", "ab|c")]
    [InlineData("bca", "bc|a")]
    [InlineData("abbc", "ab|bc")]
    [InlineData("", "")]
    [InlineData("axyb", "a|<unk>|b")]
    [InlineData("\u4E2D\u6587", "<unk>")]
    [InlineData("x a", "<unk>|_|a")]
    public void Unknown_characters_side_by_side_are_one_token(string text, string expected) =>
        Assert.Equal(expected, Tokens(Build(Small(), hasBytes: false), text).Replace('\u2581', '_'));

    [Theory]
    [InlineData("axb", "a|<0x78>|b")]
    [InlineData("\u00E9\u00E9", "<0xC3>|<0xA9>|<0xC3>|<0xA9>")]
    public void Unknown_characters_become_their_bytes_when_there_are_tokens_for_bytes(string text, string expected)
    {
        Tokenizer tokenizer = Build(Small(), hasBytes: true);

        Assert.Equal(expected, Tokens(tokenizer, text));
        Assert.Equal(text, tokenizer.Decode(tokenizer.Encode(text, addSpecialTokens: false), skipSpecialTokens: false));
    }

    [Fact]
    public void Time_grows_with_the_text_not_with_its_square()
    {
        Dictionary<string, double> scores = Enumerable.Range(1, 100).ToDictionary(length => new string('a', length), length => -10.0 - (length % 7));
        Tokenizer tokenizer = Build(scores, hasBytes: false);
        Stopwatch watch = Stopwatch.StartNew();

        // The best way to a multiple of 98: 98 letters at a time, at -10.
        Assert.Equal(10_000, tokenizer.Encode(new string('a', 980_000), addSpecialTokens: false).Length);
        Assert.True(watch.Elapsed < TimeSpan.FromSeconds(10), $"took {watch.Elapsed}");
    }

    [Fact]
    public void A_tokenizer_json_encodes_and_decodes()
    {
        Tokenizer tokenizer = SmallVocabulary.Parse(File());

        Assert.Equal("\u2581ab|\u2581|c|<unk>|</s>", SmallVocabulary.Tokens(tokenizer, "ab cz", addSpecialTokens: true));
        Assert.Equal("ab c", tokenizer.Decode(tokenizer.Encode("ab c", addSpecialTokens: false), skipSpecialTokens: false));
    }

    [Theory]
    [InlineData("unk_id", "null", "model.unk_id is missing")]
    [InlineData("unk_id", "99", "model.unk_id is 99, expected")]
    [InlineData("unk_id", "-1", "model.unk_id is -1, expected")]
    [InlineData("vocab", "[]", "model.vocab has 0 tokens")]
    [InlineData("vocab", "{\"a\": 0}", "model.vocab is an object, expected a list")]
    [InlineData("vocab", "[[\"<unk>\", 0], [\"</s>\", 0], [\"a\", 0], [\"a\", 1]]", "model.vocab holds 'a' twice")]
    [InlineData("vocab", "[[\"<unk>\", 0], [\"</s>\", 0], [\"a\"]]", "model.vocab[2] is not a token and its score")]
    [InlineData("vocab", "[[\"<unk>\", 0], [\"</s>\", 0], [\"a\", \"b\"]]", "model.vocab[2] has a score that is not a number")]
    [InlineData("vocab", "[[\"<unk>\", 0], [\"</s>\", 0], [\"a\", 1e999]]", "model.vocab[2] has a score that is not a number")]
    [InlineData("vocab", "[[\"<unk>\", 0], [\"</s>\", 0], [7, 0]]", "model.vocab[2][0] is 7, expected a string")]
    public void A_broken_model_is_named_with_place_and_rule(string member, string value, string expected)
    {
        JsonObject file = File();
        file["model"]![member] = JsonNode.Parse(value);

        Assert.Contains(expected, Assert.Throws<FileFormatException>(() => SmallVocabulary.Parse(file)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Tokens_without_end_and_byte_levels_are_refused()
    {
        JsonObject file = File();
        file["model"]!["vocab"]!.AsArray().Add(JsonNode.Parse($"[\"{new string('a', 513)}\", 0]"));
        Assert.Contains("is longer than 512", Assert.Throws<FileFormatException>(() => SmallVocabulary.Parse(file)).Message, StringComparison.Ordinal);

        file = File();
        file["pre_tokenizer"] = JsonNode.Parse("{\"type\": \"ByteLevel\"}");
        Assert.Contains("Unigram after a ByteLevel step", Assert.Throws<FileFormatException>(() => SmallVocabulary.Parse(file)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_SentencePiece_file_reads_back_as_written()
    {
        SentencePieceModel model = Model(Small(), hasBytes: true);
        SentencePieceModel again = SentencePieceModel.Read(model.Write(), "test");

        Assert.True(again.IsUnigram);
        Assert.Equal("ab|c", Tokens(SentencePieceTokenizer.Build(again, null, "test", null, "", null), "abc"));
        Assert.Contains("unknown piece is 999", Assert.Throws<FileFormatException>(
            () => SentencePieceTokenizer.Build(model with { UnknownId = 999 }, null, "test", null, "", null)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_GGUF_vocabulary_ends_texts_unless_it_says_otherwise()
    {
        SentencePieceModel model = Model(Small(), hasBytes: false);
        GgufVocabulary vocabulary = new()
        {
            Model = "t5",
            Tokens = model.Pieces,
            Scores = model.Scores,
            TokenTypes = [.. model.Kinds.Select(kind => (int)kind)],
            Unknown = 0,
            Eos = 1,
        };

        Assert.Equal("ab|c|</s>", Tokens(Tokenizer.FromGguf(vocabulary, "test"), "abc", addSpecialTokens: true));
        Assert.Equal("ab|c", Tokens(Tokenizer.FromGguf(vocabulary with { AddEos = false }, "test"), "abc", addSpecialTokens: true));
        Assert.Equal("\u2581|ab|c|</s>", Tokens(Tokenizer.FromGguf(vocabulary with { AddSpacePrefix = true }, "test"), "abc", addSpecialTokens: true));
        Assert.Equal("a|\u2581|b|</s>", Tokens(Tokenizer.FromGguf(vocabulary with { RemoveExtraWhitespaces = true }, "test"), "  a   b ", addSpecialTokens: true));
        Assert.Contains("precompiled_charsmap", Assert.Throws<FileFormatException>(
            () => Tokenizer.FromGguf(vocabulary with { CharacterMap = [1, 2, 3] }, "test")).Message, StringComparison.Ordinal);
        Assert.Contains("that are no bytes", Assert.Throws<FileFormatException>(
            () => Tokenizer.FromGguf(vocabulary with { CharacterMap = [-128, 255, 256] }, "test")).Message, StringComparison.Ordinal);

        using TemporaryFolder folder = new();
        Tokenizer.FromGguf(vocabulary, "test").Save(folder.Path);
        Assert.Equal("ab|c|</s>", Tokens(Tokenizer.Load(folder.Path), "abc", addSpecialTokens: true));
    }

    private static Dictionary<string, double> Small() => new()
    {
        ["\u2581"] = -3,
        ["a"] = -4,
        ["b"] = -4,
        ["c"] = -4,
        ["ab"] = -1,
        ["bc"] = -2,
    };

    private static Tokenizer Build(Dictionary<string, double> scores, bool hasBytes) =>
        SentencePieceTokenizer.Build(Model(scores, hasBytes), null, "small", null, "", null);

    private static SentencePieceModel Model(Dictionary<string, double> scores, bool hasBytes)
    {
        List<(string Piece, float Score, SentencePieceKind Kind)> pieces = [("<unk>", 0, SentencePieceKind.Unknown), ("</s>", 0, SentencePieceKind.Control)];
        pieces.AddRange(scores.Select(entry => (entry.Key, (float)entry.Value, SentencePieceKind.Normal)));
        pieces.AddRange(Enumerable.Range(0, hasBytes ? 256 : 0).Select(value => ($"<0x{value:X2}>", 0f, SentencePieceKind.Byte)));
        return new SentencePieceModel
        {
            Pieces = [.. pieces.Select(piece => piece.Piece)],
            Scores = [.. pieces.Select(piece => piece.Score)],
            Kinds = [.. pieces.Select(piece => piece.Kind)],
            IsUnigram = true,
            HasByteFallback = hasBytes,
            AddDummyPrefix = false,
            RemoveExtraWhitespaces = false,
        };
    }

    private static JsonObject File() => new()
    {
        ["added_tokens"] = new JsonArray(SmallVocabulary.Added(1, "</s>")),
        ["pre_tokenizer"] = JsonNode.Parse("{\"type\": \"Metaspace\", \"replacement\": \"\\u2581\", \"prepend_scheme\": \"always\"}"),
        ["post_processor"] = JsonNode.Parse("""
            {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
             "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}}}
            """),
        ["decoder"] = JsonNode.Parse("{\"type\": \"Metaspace\", \"replacement\": \"\\u2581\", \"prepend_scheme\": \"always\"}"),
        ["model"] = JsonNode.Parse("""
            {"type": "Unigram", "unk_id": 0, "byte_fallback": false,
             "vocab": [["<unk>", 0], ["</s>", 0], ["\u2581", -2], ["a", -4.5], ["b", -4], ["c", -4], ["\u2581ab", -3.25], ["ab", -6]]}
            """),
    };

    private static string Tokens(Tokenizer tokenizer, string text, bool addSpecialTokens = false) =>
        string.Join('|', tokenizer.Encode(text, addSpecialTokens).Select(tokenizer.TokenText));

    // Scores that single precision holds exactly; whole ones make many ways equal.
    private static Dictionary<string, double> RandomScores(Random random, bool isWhole)
    {
        Dictionary<string, double> scores = [];
        foreach (string letter in (string[])["\u2581", "a", "b", "c"])
        {
            if (random.Next(4) > 0)
            {
                scores[letter] = RandomScore(random, isWhole);
            }
        }

        for (int count = random.Next(12); count > 0; count--)
        {
            scores[RandomText(random, 2 + random.Next(3)).Replace(' ', '\u2581')] = RandomScore(random, isWhole);
        }

        scores.TryAdd("a", -1);
        return scores;
    }

    private static double RandomScore(Random random, bool isWhole) => isWhole ? -random.Next(6) : (float)(-8 * random.NextDouble());

    private static string RandomText(Random random, int length) => string.Concat(Enumerable.Range(0, length).Select(_ => "aaabbc  \u4E2D"[random.Next(9)]));

    /// <summary>Every way to cut, tried one by one: the highest sum, and of equal ones the longest last token, then the longest before it.</summary>
    private static List<string> BestCut(string text, Dictionary<string, double> scores)
    {
        double unknown = scores.Values.Min() - 10;
        List<(List<string> Parts, double Sum)> ways = [];
        Extend(text, 0, [], 0);
        double best = ways.Max(way => way.Sum);
        List<string> parts = ways.Where(way => way.Sum == best)
            .MaxBy(way => string.Concat(way.Parts.AsEnumerable().Reverse().Select(part => (char)('0' + part.Length)))).Parts;

        List<string> named = [];
        foreach (string part in parts)
        {
            bool isKnown = scores.ContainsKey(part);
            if (isKnown || named.Count == 0 || named[^1] != "<unk>")
            {
                named.Add(isKnown ? part : "<unk>");
            }
        }

        return named;

        void Extend(string rest, int depth, List<string> parts, double sum)
        {
            if (rest.Length == 0)
            {
                ways.Add(([.. parts], sum));
                return;
            }

            for (int length = 1; length <= rest.Length; length++)
            {
                string part = rest[..length];
                if (scores.TryGetValue(part, out double score) || length == 1)
                {
                    parts.Add(part);
                    Extend(rest[length..], depth + 1, parts, sum + (scores.ContainsKey(part) ? score : unknown));
                    parts.RemoveAt(depth);
                }
            }
        }
    }
}
