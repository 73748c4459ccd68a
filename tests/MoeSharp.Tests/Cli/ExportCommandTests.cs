using System.Text;
using System.Text.Json;
using MoeSharp.Checkpoints;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Tokenization;

namespace MoeSharp.Tests.Cli;

/// <summary><c>moe quantize</c>, <c>moe convert</c> and the needs that <c>moe inspect</c> shows, as a user runs them.</summary>
public sealed class ExportCommandTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("moe-cli-").FullName;

    [Fact]
    public void A_trained_model_becomes_a_gguf_file_that_writes_the_same_and_a_folder_again()
    {
        string model = SaveModel(), file = Path.Combine(_folder, "model.gguf"), again = Path.Combine(_folder, "again");
        Assert.Equal(0, MoeProcess.Run(".", "convert", model, "--out", file).ExitCode);
        Assert.Equal(0, MoeProcess.Run(".", "convert", file, "--out", again).ExitCode);

        string[] ids = [.. ((string[])[model, file, again]).Select(path => Ids(path))];
        Assert.Equal(ids[0], ids[1]);
        Assert.Equal(ids[0], ids[2]);
        Assert.Contains("GGUF", Encoding.ASCII.GetString(File.ReadAllBytes(file), 0, 4), StringComparison.Ordinal);
    }

    [Fact]
    public void Quantize_writes_a_receipt_with_coverage_and_agreement()
    {
        string model = SaveModel(), file = Path.Combine(_folder, "small.gguf"), text = Path.Combine(_folder, "text.txt");
        File.WriteAllText(text, string.Concat(Enumerable.Repeat("the cat sat on the mat. ", 20)));
        MoeOutcome result = MoeProcess.Run(".", "quantize", model, "--weights", "q8_0", "--out", file, "--calibrate", text, "--check", text, "--json");

        Assert.True(result.ExitCode == 0, result.Error);
        using JsonDocument receipt = JsonDocument.Parse(result.Output);
        JsonElement root = receipt.RootElement;
        Assert.Equal(root.GetProperty("source_tensors").GetInt32(), root.GetProperty("source_tensors_used").GetInt32());
        Assert.True(root.GetProperty("formats").GetProperty("q8_0").GetProperty("bytes").GetInt64() > 0);
        Assert.Equal(4, root.GetProperty("calibration").GetProperty("experts")[0].GetProperty("rows").GetArrayLength());
        Assert.True(root.GetProperty("check").GetProperty("tokens").GetInt64() > 10);
        Assert.InRange(root.GetProperty("check").GetProperty("kl_divergence").GetDouble(), 0, 1e-3);
        Assert.InRange(root.GetProperty("check").GetProperty("max_logit_difference").GetDouble(), 1e-9, 0.1);
        Assert.Equal(result.Output, File.ReadAllText(file + ".receipt.json"));
        Assert.Contains("q8_0", File.ReadAllText(file + ".receipt.txt"), StringComparison.Ordinal);

        MoeOutcome twice = MoeProcess.Run(".", "quantize", model, "--weights", "q8_0", "--out", file);
        Assert.Equal(2, twice.ExitCode);
        Assert.Contains("exists", twice.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("there.gguf", "text.txt", "there.gguf exists")]
    [InlineData("new.gguf", "absent.txt", "absent.txt: no such file")]
    [InlineData("new", "text.txt", "holds f32 or bf16")]
    public void Quantize_refuses_what_cannot_end_well_before_it_begins(string target, string check, string problem)
    {
        string model = Directory.CreateDirectory(Path.Combine(_folder, "unreadable")).FullName; // no weights: opening it is another error
        File.WriteAllText(Path.Combine(model, "config.json"), "{}");
        File.WriteAllText(Path.Combine(_folder, "there.gguf"), "mine");
        File.WriteAllText(Path.Combine(_folder, "text.txt"), "the cat sat on the mat.");
        MoeOutcome result = MoeProcess.Run(_folder, "quantize", model, "--weights", "q8_0", "--out", target, "--calibrate", "text.txt", "--check", check);

        Assert.Equal(2, result.ExitCode);
        Assert.Contains(problem, result.Error, StringComparison.Ordinal);
        Assert.False(File.Exists(Path.Combine(_folder, "new.gguf")));
    }

    [Theory]
    [InlineData("--check-tokens 0", "--check-tokens must be at least 1")]
    [InlineData("--calibrate empty.txt", "empty.txt has no text")]
    [InlineData("--check empty.txt", "empty.txt has no text")]
    public void Quantize_checks_its_texts_before_the_new_file_is_there(string arguments, string problem)
    {
        string model = SaveModel();
        File.WriteAllText(Path.Combine(_folder, "empty.txt"), "");
        MoeOutcome result = MoeProcess.Run(_folder, ["quantize", model, "--weights", "q8_0", "--out", "new.gguf", .. arguments.Split(' ')]);

        Assert.Equal(2, result.ExitCode);
        Assert.Contains(problem, result.Error, StringComparison.Ordinal);
        Assert.False(File.Exists(Path.Combine(_folder, "new.gguf")));
    }

    [Fact]
    public void Help_tells_what_formats_and_activations_are_about()
    {
        string convert = string.Join(' ', MoeProcess.Run(".", "convert", "--help").Output.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries));
        string generate = string.Join(' ', MoeProcess.Run(".", "generate", "--help").Output.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries));

        Assert.Contains("Formats of the matrices in the new file", convert, StringComparison.Ordinal);
        Assert.DoesNotContain("in memory", convert, StringComparison.Ordinal);
        Assert.Contains("[default: int8]", generate, StringComparison.Ordinal);
    }

    [Fact]
    public void Inspect_shows_what_running_needs()
    {
        using JsonDocument json = JsonDocument.Parse(MoeProcess.Run(".", "inspect", "deepseek-moe-16b", "--weights", "q4_0", "--json").Output);
        JsonElement serving = json.RootElement.GetProperty("serving");
        Assert.InRange(serving.GetProperty("weight_bytes").GetInt64(), 9_200_000_000, 9_400_000_000); // 16.4 billion weights of 4.5 bits, the head 6.6
        Assert.InRange(serving.GetProperty("bytes_per_token").GetInt64(), 1_400_000_000, 1_650_000_000);
        Assert.True(serving.GetProperty("most_tokens_per_second").GetDouble() > 0);
        Assert.Contains("to run", MoeProcess.Run(".", "inspect", SaveModel(), "--weights", "native").Output, StringComparison.Ordinal);
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private static string Ids(string model)
    {
        MoeOutcome result = MoeProcess.Run(".", "generate", "--model", model, "--prompt", "the cat", "--max-tokens", "8", "--temperature", "0", "--json");
        Assert.True(result.ExitCode == 0, result.Error);
        using JsonDocument json = JsonDocument.Parse(result.Output);
        return json.RootElement.GetProperty("ids").GetRawText();
    }

    private string SaveModel()
    {
        string tokenizerFolder = Path.Combine(_folder, "tokenizer");
        byte[] text = Encoding.UTF8.GetBytes("the cat sat on the mat. ");
        Tokenizer tokenizer = BpeTrainer.Train([text, text], new BpeTrainerOptions { VocabSize = 270 });
        tokenizer.Save(tokenizerFolder);
        ModelConfig config = new()
        {
            VocabSize = tokenizer.VocabSize,
            HiddenSize = 32,
            IntermediateSize = 64,
            NumHiddenLayers = 2,
            NumAttentionHeads = 4,
            NumKeyValueHeads = 2,
            HeadDim = 8,
            MaxPositionEmbeddings = 1024,
            Moe = new MoeConfig { NumExperts = 4, TopK = 2, IntermediateSize = 32, NumSharedExperts = 1, FirstKDenseReplace = 1 },
        };
        using WorkerPool workers = new(1);
        using LanguageModel model = new(config);
        WeightInit.Initialize(model, 3, WeightInitScheme.Normal, workers);
        string folder = Path.Combine(_folder, "model");
        ModelFolder.Save(model, folder, new ModelFolderOptions { TokenizerFolder = tokenizerFolder });
        return folder;
    }
}
