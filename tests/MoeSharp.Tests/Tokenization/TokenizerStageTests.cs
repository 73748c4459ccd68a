using System.Text.Json.Nodes;
using MoeSharp.Tokenization;

namespace MoeSharp.Tests.Tokenization;

public class TokenizerStageTests
{
    [Fact]
    public void Unknown_characters_become_their_bytes()
    {
        Assert.Equal("a|<0xC3>|<0xA9>|b", SmallVocabulary.Tokens(SmallVocabulary.Parse(SmallVocabulary.Characters()), "a\u00E9b"));
    }

    [Theory]
    [InlineData(true, "a|<unk>|b")]
    [InlineData(false, "a|<unk>|<unk>|b")]
    public void Without_bytes_unknown_characters_become_the_unknown_token(bool fuse, string expected)
    {
        JsonObject file = SmallVocabulary.Characters();
        file["model"]!["byte_fallback"] = false;
        file["model"]!["fuse_unk"] = fuse;

        Assert.Equal(expected, SmallVocabulary.Tokens(SmallVocabulary.Parse(file), "axyb"));
    }

    [Fact]
    public void A_piece_that_is_a_token_needs_no_merges_when_merges_may_be_ignored()
    {
        JsonObject file = SmallVocabulary.Characters();
        file["model"]!["vocab"]!["cc"] = 266;
        Assert.Equal("c|c", SmallVocabulary.Tokens(SmallVocabulary.Parse(file), "cc"));

        file["model"]!["ignore_merges"] = true;
        Assert.Equal("cc", SmallVocabulary.Tokens(SmallVocabulary.Parse(file), "cc"));
    }

    [Theory]
    [InlineData("{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"\u2581\"},{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\u2581\"}]}", "ab ab<s>ab", "\u2581ab|\u2581ab|<s>|\u2581ab")]
    [InlineData("{\"type\":\"Lowercase\"}", "ABa", "ab|a")]
    [InlineData("{\"type\":\"Strip\",\"strip_left\":true,\"strip_right\":false}", "  ab", "ab")]
    [InlineData("{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"x+\"},\"content\":\"c\"}", "axxxb", "a|c|b")]
    public void Normalizers_rewrite_each_stretch_between_special_tokens(string normalizer, string text, string expected)
    {
        JsonObject file = SmallVocabulary.Characters();
        file["normalizer"] = JsonNode.Parse(normalizer);

        Assert.Equal(expected, SmallVocabulary.Tokens(SmallVocabulary.Parse(file), text));
    }

    [Theory]
    [InlineData("first", "ab ab<s>ab", "\u2581ab|\u2581ab|<s>|ab")]
    [InlineData("always", "ab ab<s>ab", "\u2581ab|\u2581ab|<s>|\u2581ab")]
    [InlineData("never", "ab ab<s>ab", "ab|\u2581ab|<s>|ab")]
    [InlineData("first", "<s>ab", "<s>|ab")]
    public void Metaspace_leads_where_its_scheme_says(string scheme, string text, string expected)
    {
        JsonObject file = SmallVocabulary.Characters();
        file["pre_tokenizer"] = new JsonObject { ["type"] = "Metaspace", ["replacement"] = "\u2581", ["prepend_scheme"] = scheme, ["split"] = false };

        Assert.Equal(expected, SmallVocabulary.Tokens(SmallVocabulary.Parse(file), text));
    }

    [Theory]
    [InlineData("{\"type\":\"WhitespaceSplit\"}", "a a\ta", "a|a|a")]
    [InlineData("{\"type\":\"Split\",\"pattern\":\"b\",\"behavior\":\"Removed\"}", "abaab", "a|aa")]
    [InlineData("{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"String\":\"b\"},\"behavior\":\"MergedWithNext\"},{\"type\":\"WhitespaceSplit\"}]}", "aab a", "aa|b|a")]
    public void Pre_tokenizers_keep_merges_inside_pieces(string preTokenizer, string text, string expected)
    {
        JsonObject file = SmallVocabulary.Characters();
        file["pre_tokenizer"] = JsonNode.Parse(preTokenizer);

        Assert.Equal(expected, SmallVocabulary.Tokens(SmallVocabulary.Parse(file), text));
    }

    [Theory]
    [InlineData("Digits", "aa1\u00BDaa")]
    [InlineData("Punctuation", "aa!\u3002$aa")]
    public void Digits_and_punctuation_separate_letters(string type, string text)
    {
        JsonObject file = SmallVocabulary.Characters();
        file["pre_tokenizer"] = new JsonObject { ["type"] = type };
        Tokenizer tokenizer = SmallVocabulary.Parse(file);

        string tokens = SmallVocabulary.Tokens(tokenizer, text);

        Assert.StartsWith("aa|<0x", tokens, StringComparison.Ordinal);
        Assert.EndsWith(">|aa", tokens, StringComparison.Ordinal);
    }

    [Fact]
    public void The_longest_added_token_wins_at_the_leftmost_place()
    {
        Tokenizer tokenizer = WithAdded(SmallVocabulary.Added(300, "cab"), SmallVocabulary.Added(301, "ca"), SmallVocabulary.Added(302, "abc"));

        Assert.Equal("cab|c|ca", SmallVocabulary.Tokens(tokenizer, "cabcca"));
    }

    [Theory]
    [InlineData("lstrip", "a  <x> a", "a|<x>|\u2581|a")]
    [InlineData("rstrip", "a  <x> a", "a|\u2581|\u2581|<x>|a")]
    [InlineData("single_word", "a<x>a", "a|<0x3C>|<0x78>|<0x3E>|a")]
    [InlineData("single_word", "a.<x>.a", "a|<0x2E>|<x>|<0x2E>|a")]
    public void Added_tokens_look_around_as_their_flags_say(string flag, string text, string expected)
    {
        JsonObject token = SmallVocabulary.Added(300, "<x>");
        token[flag] = true;
        JsonObject file = SmallVocabulary.Characters();
        file["added_tokens"]!.AsArray().Add(token);
        file["normalizer"] = JsonNode.Parse("""{"type":"Replace","pattern":{"String":" "},"content":"\u2581"}""");

        Assert.Equal(expected, SmallVocabulary.Tokens(SmallVocabulary.Parse(file), text));
    }

    [Fact]
    public void Normalized_added_tokens_match_the_normalised_text_and_the_others_the_raw_text()
    {
        JsonObject file = SmallVocabulary.Characters();
        file["added_tokens"]!.AsArray().Add((JsonNode)SmallVocabulary.Added(300, "XX", normalized: true));
        file["added_tokens"]!.AsArray().Add((JsonNode)SmallVocabulary.Added(301, "YY", normalized: false));
        file["normalizer"] = JsonNode.Parse("""{"type":"Lowercase"}""");
        Tokenizer tokenizer = SmallVocabulary.Parse(file);

        Assert.Equal("a|XX|XX|XX|b", SmallVocabulary.Tokens(tokenizer, "axxXXXxb"));
        Assert.Equal("a|YY|<0x79>|<0x79>|b", SmallVocabulary.Tokens(tokenizer, "aYYyyb"));
    }

    [Fact]
    public void Decoding_undoes_the_stand_in_for_blanks_and_strips_one_at_the_start()
    {
        Tokenizer tokenizer = SmallVocabulary.Parse(SmallVocabulary.Characters());
        int[] ids = [tokenizer.FindToken("\u2581ab")!.Value, tokenizer.FindToken("\u2581ab")!.Value];

        Assert.Equal("ab ab", tokenizer.Decode(ids, skipSpecialTokens: true));
        Assert.Equal("<s> ab ab", tokenizer.Decode([1, .. ids], skipSpecialTokens: false));
        IncrementalDecoder decoder = new(tokenizer);
        Assert.Equal("ab ab", decoder.Push(1) + decoder.Push(ids[0]) + decoder.Push(ids[1]) + decoder.Flush());
    }

    [Fact]
    public void A_run_of_byte_tokens_that_is_no_text_gives_one_replacement_character_per_byte()
    {
        Tokenizer tokenizer = SmallVocabulary.Parse(SmallVocabulary.Characters());

        Assert.Equal("a\uFFFD\uFFFDb", tokenizer.Decode([260, 3 + 0xE4, 3 + 0xB8, 261], skipSpecialTokens: false));
        Assert.Equal("a\u4E2Db", tokenizer.Decode([260, 3 + 0xE4, 3 + 0xB8, 3 + 0xAD, 261], skipSpecialTokens: false));
    }

    [Fact]
    public void Metaspace_decoding_strips_only_the_first_token()
    {
        JsonObject file = SmallVocabulary.Characters();
        file["decoder"] = new JsonObject { ["type"] = "Metaspace", ["replacement"] = "\u2581", ["prepend_scheme"] = "always" };
        Tokenizer tokenizer = SmallVocabulary.Parse(file);
        int word = tokenizer.FindToken("\u2581ab")!.Value;

        Assert.Equal("ab ab", tokenizer.Decode([word, word], skipSpecialTokens: true));
        Assert.Equal("a ab", tokenizer.Decode([260, word], skipSpecialTokens: true));
    }

    [Fact]
    public void A_template_puts_its_tokens_around_the_text()
    {
        JsonObject file = SmallVocabulary.Characters();
        file["post_processor"] = JsonNode.Parse("""
            {"type":"Sequence","processors":[{"type":"ByteLevel"},{"type":"TemplateProcessing",
             "single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"</s>","type_id":0}}],
             "special_tokens":{"<s>":{"id":"<s>","ids":[1],"tokens":["<s>"]},"</s>":{"id":"</s>","ids":[2],"tokens":["</s>"]}}}]}
            """);
        Tokenizer tokenizer = SmallVocabulary.Parse(file);

        Assert.Equal("<s>|ab|</s>", SmallVocabulary.Tokens(tokenizer, "ab", addSpecialTokens: true));
        Assert.Equal((1, 2), (tokenizer.BosTokenId, tokenizer.EosTokenId));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_text_without_pre_tokenizer_is_merged_as_one_piece(bool hasMergeAcrossWords)
    {
        JsonObject file = SmallVocabulary.Characters();
        (string Left, string Right)[] merges = [("a", "b"), ("\u2581", "ab"), ("a", "a"), ("\u2581", "\u2581"), ("b", "\u2581ab")];
        merges = hasMergeAcrossWords ? merges : merges[..^1];
        foreach ((string left, string right) in merges)
        {
            file["model"]!["vocab"]![left + right] ??= file["model"]!["vocab"]!.AsObject().Count;
        }

        file["model"]!["merges"] = new JsonArray([.. merges.Select(merge => (JsonNode)$"{merge.Left} {merge.Right}")]);
        Tokenizer tokenizer = SmallVocabulary.Parse(file);
        Random random = new(2);
        for (int round = 0; round < 500; round++)
        {
            string text = new([.. Enumerable.Range(0, random.Next(1, 80)).Select(_ => "aabbc\u2581\u2581"[random.Next(7)])]);
            List<string> expected = ReferenceBpe.Merge([.. text.Select(letter => letter.ToString())], merges);

            Assert.Equal(string.Join('|', expected), SmallVocabulary.Tokens(tokenizer, text));
        }
    }

    [Fact]
    public void Ids_without_a_token_give_no_text()
    {
        Tokenizer tokenizer = SmallVocabulary.Parse(SmallVocabulary.Characters());

        Assert.Equal("ab", tokenizer.Decode([260, 5000, -1, 261], skipSpecialTokens: false));
        Assert.True(tokenizer.TokenBytes(5000).IsEmpty);
        Assert.False(tokenizer.HasToken(5000));
    }

    private static Tokenizer WithAdded(params JsonObject[] tokens)
    {
        JsonObject file = SmallVocabulary.Characters();
        foreach (JsonObject token in tokens)
        {
            file["added_tokens"]!.AsArray().Add((JsonNode)token);
        }

        return SmallVocabulary.Parse(file);
    }
}
