using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using MoeSharp.Tokenization;

namespace MoeSharp.Tests.Tokenization;

public class TokenizerFileTests
{
    [Theory]
    [InlineData("", "not valid JSON")]
    [InlineData("[]", "expected an object")]
    [InlineData("{\"model\":", "not valid JSON")]
    [InlineData("{}", "model is missing")]
    [InlineData("{\"model\":{\"type\":\"BPE\",\"vocab\":{}}}", "model.vocab is empty")]
    [InlineData("{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":0}}}", "only BPE and Unigram are supported")]
    [InlineData("{\"model\":{\"vocab\":{\"a\":-1},\"merges\":[]}}", "whole number between 0")]
    [InlineData("{\"model\":{\"vocab\":{\"a\":2147483647},\"merges\":[]}}", "whole number between 0")]
    [InlineData("{\"model\":{\"vocab\":{\"a\":1.5},\"merges\":[]}}", "whole number between 0")]
    [InlineData("{\"model\":{\"vocab\":{\"a\":0,\"a\":1},\"merges\":[]}}", "'a' twice")]
    [InlineData("{\"model\":{\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]}}", "gives id 0 to both 'a' and 'b'")]
    [InlineData("{\"model\":{\"vocab\":{\"\\ud800\":0},\"merges\":[]}}", "surrogate")]
    [InlineData("{\"model\":{\"vocab\":{\"a\":0}}}", "model.merges is missing")]
    [InlineData("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"ab\"]}}", "model.merges[0] is not two tokens")]
    [InlineData("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"a b c\"]}}", "model.merges[0] is not two tokens")]
    [InlineData("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[[\"a\"]]}}", "model.merges[0] is not a pair")]
    [InlineData("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[[\"a\",7]]}}", "model.merges[0][1] is 7")]
    [InlineData("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"a a\"]}}", "uses 'aa', which is not in the vocabulary")]
    [InlineData("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[],\"unk_token\":\"x\"}}", "model.unk_token")]
    [InlineData("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[],\"dropout\":0.1}}", "model.dropout")]
    [InlineData("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[],\"end_of_word_suffix\":\"</w>\"}}", "model.end_of_word_suffix")]
    [InlineData("{\"added_tokens\":[{\"id\":0,\"content\":\"b\"}],\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}", "that id is 'a'")]
    [InlineData("{\"added_tokens\":[{\"id\":3,\"content\":\"a\"}],\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}", "already has id 0")]
    [InlineData("{\"added_tokens\":[{\"id\":3}],\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}", "added_tokens[0].content is missing")]
    [InlineData("{\"added_tokens\":[{\"id\":3,\"content\":\"b\",\"special\":1}],\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}", "expected true or false")]
    [InlineData("{\"normalizer\":{\"type\":\"BertNormalizer\"},\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}", "not a supported normalizer")]
    [InlineData("{\"normalizer\":{\"type\":\"Precompiled\"},\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}", "precompiled_charsmap is missing")]
    [InlineData("{\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"!\"},\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}", "is not base64")]
    [InlineData("{\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAAA\"},\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}", "cut off or damaged")]
    [InlineData("{\"normalizer\":7,\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}", "normalizer is 7, expected an object")]
    [InlineData("{\"pre_tokenizer\":{\"type\":\"UnicodeScripts\"},\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}", "not a supported pre-tokenizer")]
    [InlineData("{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"},\"behavior\":\"Isolated\"},\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}", "pre_tokenizer.pattern.Regex")]
    [InlineData("{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\"x\"},\"behavior\":\"Other\"},\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}", "pre_tokenizer.behavior is 'Other'")]
    [InlineData("{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\"\"},\"behavior\":\"Isolated\"},\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}", "is empty")]
    [InlineData("{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"ByteLevel\"},{\"type\":\"WhitespaceSplit\"}]},\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}", "after ByteLevel")]
    [InlineData("{\"decoder\":{\"type\":\"CTC\"},\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}", "not a supported decoder")]
    [InlineData("{\"decoder\":{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0},\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}", "Strip before Fuse")]
    [InlineData("{\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[]},\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}", "holds the text 0 times")]
    [InlineData("{\"post_processor\":{\"type\":\"RobertaProcessing\",\"cls\":[\"a\",9],\"sep\":[\"a\",0]},\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}", "post_processor.cls[1] is 9")]
    public void A_broken_file_is_named_with_place_and_rule(string content, string expected)
    {
        FileFormatException error = Assert.Throws<FileFormatException>(() => TokenizerFile.Parse(Encoding.UTF8.GetBytes(content), "bad/tokenizer.json", null, ""));

        Assert.StartsWith("bad/tokenizer.json", error.Message, StringComparison.Ordinal);
        Assert.Contains(expected, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Sequences_nested_without_end_are_refused()
    {
        string nested = string.Concat(Enumerable.Repeat("{\"type\":\"Sequence\",\"normalizers\":[", 20)) + string.Concat(Enumerable.Repeat("]}", 20));
        JsonObject file = SmallVocabulary.Characters();
        file["normalizer"] = JsonNode.Parse(nested);

        Assert.Contains("nests deeper", Assert.Throws<FileFormatException>(() => SmallVocabulary.Parse(file)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void No_damage_to_the_file_escapes_as_another_error()
    {
        byte[] content = Encoding.UTF8.GetBytes(SmallVocabulary.Characters().ToJsonString());
        Random random = new(23);
        for (int round = 0; round < 1000; round++)
        {
            byte[] damaged = [.. content];
            for (int count = random.Next(1, 4); count > 0; count--)
            {
                damaged[random.Next(damaged.Length)] = (byte)(random.Next(2) == 0 ? random.Next(256) : "{}[]\",:0\\u"[random.Next(10)]);
            }

            try
            {
                SmallTry(TokenizerFile.Parse(damaged, "damaged", null, ""));
            }
            catch (FileFormatException)
            {
                // The one error allowed.
            }
        }

        static void SmallTry(Tokenizer tokenizer) => tokenizer.Decode(tokenizer.Encode("ab \u00E9 a", addSpecialTokens: true), skipSpecialTokens: true);
    }

    [Theory]
    [InlineData("{\"bos_token\":\"nowhere\"}", "bos_token names 'nowhere'")]
    [InlineData("{\"tokenizer_class\":\"LlamaTokenizerFast\",\"add_eos_token\":true}", "add_eos_token is true, but there is no eos_token")]
    [InlineData("{\"tokenizer_class\":7}", "tokenizer_class is 7")]
    [InlineData("no", "not valid JSON")]
    public void Broken_settings_are_named_with_place_and_rule(string config, string expected)
    {
        FileFormatException error = Assert.Throws<FileFormatException>(() => SmallVocabulary.Parse(SmallVocabulary.Characters(), config));

        Assert.StartsWith("small/tokenizer_config.json", error.Message, StringComparison.Ordinal);
        Assert.Contains(expected, error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(true, false, "<s>|ab")]
    [InlineData(false, true, "ab|</s>")]
    [InlineData(false, false, "ab")]
    public void Llama_classes_rebuild_the_tokens_around_the_text(bool addBos, bool addEos, string expected)
    {
        string config = $"{{\"tokenizer_class\":\"LlamaTokenizerFast\",\"bos_token\":{{\"content\":\"<s>\"}},\"eos_token\":\"</s>\",\"add_bos_token\":{(addBos ? "true" : "false")},\"add_eos_token\":{(addEos ? "true" : "false")}}}";

        Assert.Equal(expected, SmallVocabulary.Tokens(SmallVocabulary.Parse(SmallVocabulary.Characters(), config), "ab", addSpecialTokens: true));
    }

    [Fact]
    public void Both_spellings_of_merges_are_read()
    {
        JsonObject file = SmallVocabulary.Characters();
        file["model"]!["merges"] = JsonNode.Parse("""[["a","b"],["\u2581","ab"],["a","a"]]""");

        Assert.Equal("ab|aa|c", SmallVocabulary.Tokens(SmallVocabulary.Parse(file), "abaac"));
        Assert.Equal("ab|aa|c", SmallVocabulary.Tokens(SmallVocabulary.Parse(SmallVocabulary.Characters()), "abaac"));
    }

    [Theory]
    [InlineData("nowhere", "There is no tokenizer at")]
    [InlineData("", "holds no tokenizer.json")]
    public void A_missing_file_is_the_users_mistake(string name, string expected)
    {
        using TemporaryFolder folder = new();
        ConfigurationException error = Assert.Throws<ConfigurationException>(() => Tokenizer.Load(Path.Combine(folder.Path, name)));
        Assert.Contains(expected, error.Message, StringComparison.Ordinal);
    }

    internal static (string Left, string Right)[] MergesOf(Tokenizer tokenizer)
    {
        using TemporaryFolder folder = new();
        tokenizer.Save(folder.Path);
        using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder.Path, "tokenizer.json")));
        return [.. document.RootElement.GetProperty("model").GetProperty("merges").EnumerateArray()
            .Select(merge => merge.GetString()!.Split(' ')).Select(sides => (sides[0], sides[1]))];
    }
}
