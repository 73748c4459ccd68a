using System.Collections.Concurrent;
using System.Text.Json;
using MoeSharp.Checkpoints;
using MoeSharp.Tokenization;

namespace MoeSharp.Tests.Tokenization;

/// <summary>Published vocabularies against ids that other implementations made; read in place from the folder in MOE_FIXTURES.</summary>
public class GoldenTokenizerTests
{
    private const string Separator = "\n__ggml_vocab_test__\n";

    private static readonly ConcurrentDictionary<string, Lazy<Tokenizer>> Loaded = new();

    [Theory]
    [InlineData("deepseek-llm/tokenizer.reconstructed.json", "deepseek-llm/vectors.json")]
    [InlineData("deepseek-llm/ggml-vocab-deepseek-llm.gguf", "deepseek-llm/vectors.json")]
    [InlineData("llama-spm/ggml-vocab-llama-spm.gguf", "llama-spm/vectors.json")]
    [InlineData("deepseek-v3/tokenizer.json", "deepseek-v3/vectors.json")]
    [InlineData("llama-spm/tokenizer.reconstructed.json", "llama-spm/vectors.json")]
    [InlineData("mixtral/tokenizer.json", "mixtral/vectors.json")]
    [InlineData("olmoe/tokenizer.json", "olmoe/vectors.json")]
    [InlineData("qwen2/tokenizer.json", "qwen2/vectors.json")]
    public void Published_vocabulary_encodes_and_decodes_every_vector(string tokenizerFile, string vectorsFile)
    {
        Tokenizer tokenizer = Load(tokenizerFile);
        using JsonDocument vectors = JsonDocument.Parse(File.ReadAllBytes(Fixture(vectorsFile)));
        List<string> failures = [];
        int count = 0;
        foreach (JsonElement row in vectors.RootElement.GetProperty("cases").EnumerateArray())
        {
            string text = row.GetProperty("text").GetString()!;
            int[] expected = [.. row.GetProperty("ids").EnumerateArray().Select(id => id.GetInt32())];
            int[] actual = tokenizer.Encode(text, addSpecialTokens: false);
            count++;
            if (!expected.SequenceEqual(actual))
            {
                failures.Add($"encode {JsonSerializer.Serialize(text)}: expected {string.Join(' ', expected)}, got {string.Join(' ', actual)}");
            }

            string decoded = tokenizer.Decode(expected, skipSpecialTokens: false);
            if (row.GetProperty("roundtrip").GetBoolean() && decoded != row.GetProperty("decoded").GetString())
            {
                failures.Add($"decode {JsonSerializer.Serialize(text)}: got {JsonSerializer.Serialize(decoded)}");
            }
        }

        Assert.True(count > 20, $"only {count} vectors");
        Assert.True(failures.Count == 0, string.Join('\n', failures));
    }

    [Theory]
    [InlineData("qwen2/tokenizer.json", "qwen2/ggml-vocab-qwen2.gguf")]
    [InlineData("deepseek-llm/tokenizer.reconstructed.json", "deepseek-llm/ggml-vocab-deepseek-llm.gguf")]
    [InlineData("llama-spm/tokenizer.reconstructed.json", "llama-spm/ggml-vocab-llama-spm.gguf")]
    [InlineData("deepseek-llm/ggml-vocab-deepseek-llm.gguf", "deepseek-llm/ggml-vocab-deepseek-llm.gguf")]
    [InlineData("llama-spm/ggml-vocab-llama-spm.gguf", "llama-spm/ggml-vocab-llama-spm.gguf")]
    [InlineData("extra-gguf/ggml-vocab-deepseek-coder.gguf", "extra-gguf/ggml-vocab-deepseek-coder.gguf")]
    [InlineData("extra-gguf/ggml-vocab-gpt-2.gguf", "extra-gguf/ggml-vocab-gpt-2.gguf")]
    public void Published_vocabulary_encodes_every_line(string tokenizerFile, string vectors)
    {
        Tokenizer tokenizer = Load(tokenizerFile);
        string[] inputs = File.ReadAllText(Fixture(vectors + ".inp")).Split(Separator);
        string[] outputs = File.ReadAllText(Fixture(vectors + ".out")).Split('\n');
        for (int index = 0; index < inputs.Length; index++)
        {
            int[] ids = tokenizer.Encode(inputs[index], addSpecialTokens: false);

            Assert.Equal((inputs[index], outputs[index].Trim()), (inputs[index], string.Join(' ', ids)));
        }
    }

    [Fact]
    public void Settings_beside_a_vocabulary_put_the_first_token_before_the_text()
    {
        Assert.Equal(0, Load("deepseek-v3/tokenizer.json").Encode("a", addSpecialTokens: true)[0]);
        Assert.Equal(1, Load("mixtral/tokenizer.json").Encode("a", addSpecialTokens: true)[0]);
        Assert.Equal(1, Load("mixtral/tokenizer.json").BosTokenId);
        Assert.Equal(151645, Load("qwen2/tokenizer.json").EosTokenId);
        Assert.Null(Load("qwen2/tokenizer.json").BosTokenId);
    }

    [Theory]
    [InlineData("deepseek-llm/ggml-vocab-deepseek-llm.gguf", 100000, 100001)]
    [InlineData("llama-spm/ggml-vocab-llama-spm.gguf", 1, 2)]
    public void Vocabularies_of_GGUF_files_know_their_special_tokens(string name, int bos, int eos)
    {
        Tokenizer tokenizer = Load(name);

        Assert.Equal((bos, eos), (tokenizer.BosTokenId, tokenizer.EosTokenId));
        Assert.Equal(bos, tokenizer.Encode("a", addSpecialTokens: true)[0]);
        Assert.True(tokenizer.IsSpecial(bos));
        Assert.Equal("a", tokenizer.Decode(tokenizer.Encode("a", addSpecialTokens: true), skipSpecialTokens: true));
    }

    [Theory]
    [InlineData("deepseek-llm/ggml-vocab-deepseek-llm.gguf")]
    [InlineData("llama-spm/ggml-vocab-llama-spm.gguf")]
    [InlineData("grok-1/tokenizer.model")]
    public void What_is_saved_reads_back_the_same(string name)
    {
        using TemporaryFolder folder = new();
        Load(name).Save(folder.Path);

        Tokenizer again = Tokenizer.Load(folder.Path);

        Assert.Equal(Load(name).ContentHash, again.ContentHash);
        foreach (string text in (string[])["Hello <s>world\n 12\u00E9 \U0001F600", "F\u00FChrer  x"])
        {
            Assert.Equal(Load(name).Encode(text, addSpecialTokens: true), again.Encode(text, addSpecialTokens: true));
        }
    }

    // Worked out by hand from the pieces and scores of the file: user-defined pieces (line breaks, digits, tabs) stand alone, words
    // begin with U+2581, and nothing is put before what follows a line break.
    [Theory]
    [InlineData("", "")]
    [InlineData("Hello world", "\u2581Hello|\u2581world")]
    [InlineData("a\nb", "\u2581a|\n|b")]
    [InlineData("\n\n\nx", "\u2581|\n\n\n|x")]
    [InlineData("in 2024", "\u2581in|\u2581|2|0|2|4")]
    [InlineData("\t\tx", "\u2581|\t\t|x")]
    [InlineData("a  b", "\u2581a|\u2581\u2581|b")]
    [InlineData("\u0DF4", "\u2581|<0xE0>|<0xB7>|<0xB4>")]
    public void Grok_pieces_follow_their_kinds_and_scores(string text, string expected)
    {
        Tokenizer tokenizer = Load("grok-1/tokenizer.model");
        int[] ids = tokenizer.Encode(text, addSpecialTokens: true);

        Assert.Equal(expected, string.Join('|', ids.Select(tokenizer.TokenText)));
        Assert.Equal(text, tokenizer.Decode(ids, skipSpecialTokens: false));
        Assert.Equal((1, 2), (tokenizer.BosTokenId, tokenizer.EosTokenId));
    }

    // Tokenizers do not change, so tests may share them; each file is megabytes to read.
    private static Tokenizer Load(string name) => Loaded.GetOrAdd(name, file => new Lazy<Tokenizer>(() => GgufTokenizer.LoadAny(Fixture(file)))).Value;

    private static string Fixture(string name)
    {
        string? folder = Environment.GetEnvironmentVariable("MOE_FIXTURES");
        if (string.IsNullOrEmpty(folder))
        {
            Assert.Skip("MOE_FIXTURES is not set: it names the folder of other people's vocabularies.");
        }

        return Path.Combine(folder, "tokenizers", name);
    }
}
