using MoeSharp.Tokenization;
using MoeSharp.Tokenization.Chat;

namespace MoeSharp.Tests.Tokenization;

/// <summary>Vocabularies of GGUF files: both kinds, and what a hostile one may hold.</summary>
public class GgufVocabularyTests
{
    [Fact]
    public void Byte_level_merges_encode_and_decode()
    {
        Tokenizer tokenizer = Tokenizer.FromGguf(Merged(), "test");

        Assert.Equal("<|bos|>|ab|\u0120|ab|<|user|>|a", Tokens(tokenizer, "ab ab<|user|>a"));
        Assert.Equal("ab ab<|user|>a", tokenizer.Decode(tokenizer.Encode("ab ab<|user|>a", addSpecialTokens: false), skipSpecialTokens: false));
        Assert.True(tokenizer.IsSpecial(256));
        Assert.False(tokenizer.IsSpecial(257));
        Assert.False(tokenizer.HasToken(258)); // [PAD258] is no text.
        Assert.Equal((256, 259, 260), (tokenizer.BosTokenId, tokenizer.EosTokenId, tokenizer.EndOfTurnTokenId));
        Assert.Equal("{{ bos_token }}", tokenizer.ChatTemplates.Single().Source);
    }

    [Theory]
    [InlineData("llama-bpe", null, true)]
    [InlineData("llama3", null, true)]
    [InlineData("llama-bpe", false, false)]
    [InlineData("llama-bpe", true, true)]
    [InlineData("qwen2", null, false)]
    [InlineData("gpt-2", null, false)]
    [InlineData("gpt-2", true, true)]
    public void Without_a_switch_the_name_says_whether_a_text_has_a_beginning(string pre, bool? addBos, bool expected)
    {
        GgufVocabulary vocabulary = Merged() with { Pre = pre, AddBos = addBos };

        Assert.Equal(expected ? "<|bos|>|ab" : "ab", Tokens(Tokenizer.FromGguf(vocabulary, "test"), "ab"));
        Assert.Equal("ab", Tokens(Tokenizer.FromGguf(vocabulary with { Bos = null, AddBos = null }, "test"), "ab"));
    }

    [Fact]
    public void Scores_encode_and_decode()
    {
        Tokenizer tokenizer = Tokenizer.FromGguf(Scored(), "test");

        Assert.Equal("<s>|\u2581ab|\n|ab", Tokens(tokenizer, "ab\nab"));
        Assert.Equal("<s>|ab", Tokens(Tokenizer.FromGguf(Scored() with { AddSpacePrefix = false }, "test"), "ab"));
        Assert.Equal("\u2581ab|</s>", Tokens(Tokenizer.FromGguf(Scored() with { AddBos = false, AddEos = true }, "test"), "ab"));
    }

    [Fact]
    public void The_template_is_chosen_by_what_the_conversation_needs()
    {
        Dictionary<string, string> named = new() { ["tool_use"] = "with tools" };
        Tokenizer both = Tokenizer.FromGguf(Scored() with { ChatTemplate = "plain", NamedChatTemplates = named }, "test");
        Tokenizer one = Tokenizer.FromGguf(Scored() with { NamedChatTemplates = new Dictionary<string, string> { ["rag"] = "only" } }, "test");
        named["rag"] = "documents";
        Tokenizer noDefault = Tokenizer.FromGguf(Scored() with { NamedChatTemplates = named }, "test");

        Assert.Equal("plain", ChatTemplate.Find(both, hasTools: false).Source);
        Assert.Equal("with tools", ChatTemplate.Find(both, hasTools: true).Source);
        Assert.Equal("only", ChatTemplate.Find(one, hasTools: true).Source);
        Assert.Contains("none is the default", Assert.Throws<ConfigurationException>(() => ChatTemplate.Find(noDefault, hasTools: false)).Message, StringComparison.Ordinal);
        Assert.Contains("without a chat template", Assert.Throws<ConfigurationException>(() => ChatTemplate.Find(Tokenizer.FromGguf(Scored(), "test"), hasTools: false)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_whole_tokenizer_file_decides_everything()
    {
        GgufVocabulary vocabulary = Scored() with { HuggingFaceJson = SmallVocabulary.Characters().ToJsonString(), Bos = 1, AddBos = null, Pre = "whatever" };

        Assert.Equal("ab|aa|c", Tokens(Tokenizer.FromGguf(vocabulary, "test"), "abaac"));
        Assert.Equal("<s>|ab", Tokens(Tokenizer.FromGguf(vocabulary with { AddBos = true }, "test"), "ab"));
    }

    public static TheoryData<string, string> Broken => new()
    {
        { "no tokens", "has 0 tokens" },
        { "scores", "scores has 1 entries for" },
        { "no scores", "scores is missing" },
        { "types", "token_type has 1 entries for" },
        { "type 7", "token_type[3] is 7" },
        { "type -1", "token_type[3] is -1" },
        { "bos", "bos_token_id is 99999, but there are" },
        { "no bos", "add_bos_token is true, but there is no bos_token_id" },
        { "no eos", "add_eos_token is true, but there is no eos_token_id" },
        { "twice", "token 4 ('ab') is empty, or there is another" },
        { "score NaN", "has a score that is not a number" },
        { "long", "is longer than 512 characters" },
        { "long token", "tokens[0] is longer than 65536" },
        { "long merge", "merges[0] is longer than 65536" },
        { "long template", "chat_template is longer than" },
        { "model", "'rwkv'; only gpt2, llama and t5 are supported" },
        { "no merges", "merges is missing" },
        { "merge", "merges[0] uses 'nowhere'" },
        { "merge form", "merges[0] is not two tokens" },
        { "no pre", "pre is missing; known are gpt-2, olmo" },
        { "pre", "pre is 'kimi-k2'; known are" },
        { "merged twice", "holds 'ab' twice" },
        { "json", "tokenizer.huggingface.json is not valid JSON" },
    };

    [Theory]
    [MemberData(nameof(Broken))]
    public void A_broken_vocabulary_is_named_with_place_and_rule(string damage, string expected)
    {
        string message = Assert.Throws<FileFormatException>(() => Tokenizer.FromGguf(Damage(damage), "bad.gguf")).Message;

        Assert.StartsWith("bad.gguf: ", message, StringComparison.Ordinal);
        Assert.Contains(expected, message, StringComparison.Ordinal);
    }

    [Fact]
    public void No_damage_to_a_vocabulary_escapes_as_another_error()
    {
        Random random = new(77);
        for (int round = 0; round < 300; round++)
        {
            GgufVocabulary damaged = random.Next(2) == 0 ? Merged() : Scored();
            int at = random.Next(damaged.Tokens.Count);
            string text = new[] { "", "a", "\u2581", "\0", "\uFFFD", "<s>", "[PAD3]", "ab", "<0x41>", "\\ \"" }[random.Next(10)];
            damaged = random.Next(9) switch
            {
                0 => damaged with { Tokens = Put(damaged.Tokens, at, text) },
                1 => damaged with { TokenTypes = Put(damaged.TokenTypes!, at, random.Next(-1, 8)) },
                2 => damaged with { TokenTypes = null },
                3 => damaged with { Scores = damaged.Scores is null ? [1] : Put(damaged.Scores, at, BitConverter.Int32BitsToSingle(random.Next())) },
                4 => damaged with { Merges = [text, $"{text} {text}"] },
                5 => damaged with { Bos = random.Next(-2, 600), Eos = random.Next(-2, 600), Unknown = random.Next(-2, 600) },
                6 => damaged with { Model = random.Next(2) == 0 ? "llama" : "t5", Scores = [.. damaged.Tokens.Select(_ => (float)random.Next(3))] },
                7 => damaged with { Model = "gpt2", Pre = "gpt-2", Merges = damaged.Merges ?? [] },
                _ => damaged with { HuggingFaceJson = text },
            };
            try
            {
                Tokenizer tokenizer = Tokenizer.FromGguf(damaged, "damaged");
                tokenizer.Decode(tokenizer.Encode("ab <s>\n\u00E9 1", addSpecialTokens: true), skipSpecialTokens: false);
            }
            catch (FileFormatException)
            {
                // The one error allowed.
            }
        }
    }

    [Theory]
    [InlineData("gpt-2", "a1b| 22|  | x")]
    [InlineData("starcoder", "a|1|b| |2|2|  | x")]
    [InlineData("qwen2", "a|1|b| |2|2|  | x")]
    [InlineData("llama-bpe", "a|1|b| |22|  | x")]
    [InlineData("deepseek-v3", "a|1|b| |22|  | x")]
    [InlineData("gpt-4o", "a|1|b| |22|  | x")]
    public void The_name_chooses_how_text_is_cut(string pre, string expected)
    {
        // With every pair of the text a merge, what stays apart is what was cut.
        string[] words = ["a1", "a1b", "22", "\u012022", "\u0120\u0120", "\u0120x"];
        GgufVocabulary vocabulary = Merged() with { Pre = pre };
        vocabulary = vocabulary with
        {
            Tokens = [.. vocabulary.Tokens, .. words],
            TokenTypes = [.. vocabulary.TokenTypes!, .. words.Select(_ => 1)],
            Merges = ["a 1", "a1 b", "2 2", "\u0120 22", "\u0120 \u0120", "\u0120 x"],
        };
        Tokenizer tokenizer = Tokenizer.FromGguf(vocabulary, "test");
        string cut = string.Join('|', tokenizer.Encode("a1b 22   x", addSpecialTokens: false).Select(tokenizer.TokenText)).Replace('\u0120', ' ');

        Assert.Equal(pre == "gpt-2" ? "a|1|b| 22|  | x" : expected, cut);
    }

    private static GgufVocabulary Damage(string damage) => damage switch
    {
        "no tokens" => Scored() with { Tokens = [] },
        "scores" => Scored() with { Scores = [0] },
        "no scores" => Scored() with { Scores = null },
        "types" => Scored() with { TokenTypes = [1] },
        "type 7" => Scored() with { TokenTypes = Put(Scored().TokenTypes!, 3, 7) },
        "type -1" => Scored() with { TokenTypes = Put(Scored().TokenTypes!, 3, -1) },
        "bos" => Scored() with { Bos = 99999 },
        "no bos" => Scored() with { Bos = null, AddBos = true },
        "no eos" => Scored() with { Eos = null, AddEos = true },
        "twice" => Scored() with { Tokens = Put(Put(Scored().Tokens, 3, "ab"), 4, "ab"), TokenTypes = Put(Scored().TokenTypes!, 3, 4), Scores = Scored().Scores },
        "score NaN" => Scored() with { Scores = Put(Scored().Scores!, Scored().Scores!.Count - 1, float.NaN) },
        "long" => Scored() with { Tokens = Put(Scored().Tokens, Scored().Tokens.Count - 1, new string('x', 513)) },
        "long token" => Merged() with { Tokens = Put(Merged().Tokens, 0, new string('x', 65537)) },
        "long merge" => Merged() with { Merges = [new string('x', 65537)] },
        "long template" => Merged() with { ChatTemplate = new string('x', (1 << 24) + 1) },
        "model" => Scored() with { Model = "rwkv" },
        "no merges" => Merged() with { Merges = null },
        "merge" => Merged() with { Merges = ["nowhere b"] },
        "merge form" => Merged() with { Merges = ["ab"] },
        "no pre" => Merged() with { Pre = null },
        "pre" => Merged() with { Pre = "kimi-k2" },
        "merged twice" => Merged() with { Tokens = Put(Merged().Tokens, 0, "ab") },
        _ => Scored() with { HuggingFaceJson = "{" },
    };

    private static IReadOnlyList<T> Put<T>(IReadOnlyList<T> list, int index, T value) => [.. list.Take(index), value, .. list.Skip(index + 1)];

    private static GgufVocabulary Merged()
    {
        List<string> tokens = [.. Enumerable.Range(0, 256).Select(value => ByteAlphabet.ToCharacter((byte)value).ToString())];
        tokens.AddRange(["<|bos|>", "<|user|>", "[PAD258]", "<|eos|>", "<|eot|>", "ab"]);
        return new GgufVocabulary
        {
            Model = "gpt2",
            Pre = "starcoder",
            Tokens = tokens,
            TokenTypes = [.. Enumerable.Repeat(1, 256), 3, 4, 4, 3, 3, 1],
            Merges = ["a b"],
            Bos = 256,
            Eos = 259,
            Eot = 260,
            AddBos = true,
            ChatTemplate = "{{ bos_token }}",
        };
    }

    private static GgufVocabulary Scored()
    {
        SentencePieceModel model = SentencePieceTests.Small();
        return new GgufVocabulary
        {
            Model = "llama",
            Tokens = model.Pieces,
            Scores = model.Scores,
            TokenTypes = [.. model.Kinds.Select(kind => (int)kind)],
            Bos = 1,
            Eos = 2,
        };
    }

    private static string Tokens(Tokenizer tokenizer, string text) =>
        string.Join('|', tokenizer.Encode(text, addSpecialTokens: true).Select(tokenizer.TokenText));
}
