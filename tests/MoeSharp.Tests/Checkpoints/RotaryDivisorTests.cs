using MoeSharp.Checkpoints;
using MoeSharp.Checkpoints.Export;
using MoeSharp.Checkpoints.Gguf;
using MoeSharp.Kernels.Formats;
using MoeSharp.Model;

namespace MoeSharp.Tests.Checkpoints;

/// <summary>The rotary positions of Llama 3.1: numbers in config.json, a divisor for every pair in GGUF files.</summary>
public sealed class RotaryDivisorTests
{
    private const string Divisors = "rope_freqs.weight";

    private static readonly RopeConfig s_published = new() { Theta = 500000, Scaling = RopeScaling.Llama3, Factor = 8, OriginalMaxPositions = 8192, LowFrequencyFactor = 1, HighFrequencyFactor = 4 };
    private static readonly ModelConfig s_config = TestModel.Llama with { MaxPositionEmbeddings = 64, Rope = s_published };
    private static readonly int[] s_tokens = [1, 5, 9, 2, 7, 11, 3, 8, 4, 6];

    [Fact]
    public void The_divisors_of_the_published_models_are_those_computed_elsewhere()
    {
        // Pairs 29 to 34 of the 64 of Llama 3.1, from a script of its own in double precision.
        double[] between = [1.207483871283662, 1.5534146285049255, 2.0263132059050557, 2.694529687894733, 3.684252527745718, 5.257326588708465];
        IReadOnlyList<float> divisors = RopeFrequencies.Divided(s_published, 128).FrequencyDivisors;

        Assert.Equal([.. Enumerable.Repeat(1f, 29), .. between.Select(divisor => (float)divisor), .. Enumerable.Repeat(8f, 29)], divisors);
        double[] frequencies = RopeFrequencies.Of(s_published, 128);
        for (int pair = 0; pair < 64; pair++)
        {
            double divisor = pair < 29 ? 1 : pair > 34 ? 8 : between[pair - 29];
            Assert.Equal(Math.Pow(500000, -pair / 64.0) / divisor, frequencies[pair], 1e-14);
        }
    }

    [Fact]
    public void A_folder_becomes_a_file_with_divisors_and_a_folder_again()
    {
        using TemporaryFolder folder = new();
        ModelFolder.Save(s_config, TestModel.Parameters(s_config, 4), folder["hf"], new ModelFolderOptions());
        Write(folder, "hf", "model.gguf");
        ExportReport copy = Write(folder, "model.gguf", "copy.gguf");
        Write(folder, "copy.gguf", "again");

        float[] expected = Logits(folder["hf"]);
        foreach (string name in (string[])["model.gguf", "copy.gguf", "again"])
        {
            (float largest, int best, int rows) = GgufModelTests.Compare(Logits(folder[name]), expected, s_config.VocabSize);
            Assert.True(largest <= 2e-5f && best == rows, $"{name}: the largest difference is {largest}");
        }

        using GgufFile first = GgufFile.Open(folder["model.gguf"]), second = GgufFile.Open(folder["copy.gguf"]);
        Assert.Equal(RopeFrequencies.Divided(s_published, 16).FrequencyDivisors, Stored(first));
        Assert.Equal(Stored(first), Stored(second));
        Assert.Equal(first.Tensors.Count, copy.SourceTensorsUsed);
        Assert.DoesNotContain("llama.rope.scaling.type", first.Metadata.Keys);
        Assert.Equal(s_published, ModelFolder.LoadConfig(folder["again"]).Rope);
    }

    [Fact]
    public void Divisors_change_what_the_model_computes()
    {
        using TemporaryFolder folder = new();
        ModelConfig plain = s_config with { Rope = new RopeConfig { Theta = 500000 } };
        ModelFolder.Save(s_config, TestModel.Parameters(s_config, 4), folder["scaled"], new ModelFolderOptions());
        ModelFolder.Save(plain, TestModel.Parameters(plain, 4), folder["plain"], new ModelFolderOptions());

        Assert.True(GgufModelTests.Compare(Logits(folder["scaled"]), Logits(folder["plain"]), plain.VocabSize).Largest > 1e-3);
    }

    [Fact]
    public void Divisors_of_another_kind_are_used_and_not_written_to_a_folder()
    {
        float[] divisors = [1, 2, 3, 4, 5, 6, 7, 8];
        using TemporaryFolder folder = new();
        WriteFile(folder["other.gguf"], new WeightTensor(Divisors, [8], WeightFormat.F32), divisors, scaling: null);

        using ModelFiles files = ModelFiles.Open(folder["other.gguf"]);
        Assert.Equal(divisors, files.Config.Rope.FrequencyDivisors);
        Assert.Contains("rotary divisors", Assert.Throws<ConfigurationException>(() => Write(folder, "other.gguf", "hf")).Message, StringComparison.Ordinal);
        Assert.Equal([folder["other.gguf"]], Directory.GetFileSystemEntries(folder.Path));
    }

    [Theory]
    [InlineData(8, 0f, null, "8 rotary divisors")]
    [InlineData(8, -1f, null, "8 rotary divisors")]
    [InlineData(8, float.NaN, null, "8 rotary divisors")]
    [InlineData(8, float.PositiveInfinity, null, "8 rotary divisors")]
    [InlineData(7, 1f, null, "f32 [8] is expected")]
    [InlineData(16, 1f, null, "f32 [8] is expected")]
    [InlineData(8, 1f, "linear", "rope.scaling.type linear")]
    public void Divisors_that_cannot_be_are_refused(int count, float value, string? scaling, string problem)
    {
        using TemporaryFolder folder = new();
        WriteFile(folder["bad.gguf"], new WeightTensor(Divisors, [count], WeightFormat.F32), [.. Enumerable.Repeat(value, count)], scaling);
        Assert.Contains(problem, Assert.ThrowsAny<MoeSharpException>(() => ModelFiles.Open(folder["bad.gguf"])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_architecture_whose_files_have_no_divisors_is_refused()
    {
        using TemporaryFolder folder = new();
        ModelConfig config = s_config with { ModelType = "qwen2", AttentionBias = true, AttentionOutputBias = false };
        using (LanguageModel model = new(config))
        {
            ModelFolder.Save(model, folder["hf"], new ModelFolderOptions());
        }

        Assert.Contains("Llama 3.1", Assert.Throws<ConfigurationException>(() => Write(folder, "hf", "model.gguf")).Message, StringComparison.Ordinal);
    }

    private static ExportReport Write(TemporaryFolder folder, string source, string target)
    {
        using ModelFiles files = ModelFiles.Open(folder[source]);
        return ModelExport.Write(files, folder[target], new ExportOptions { Threads = 2 }, TestContext.Current.CancellationToken);
    }

    private static float[] Logits(string path)
    {
        using LanguageModel model = ModelFolder.Load(path);
        return GgufModelTests.Logits(model, s_tokens);
    }

    private static float[] Stored(GgufFile file)
    {
        float[] values = new float[file.Tensor(Divisors).Length];
        file.ReadFloats(Divisors, values);
        return values;
    }

    // A whole model without scaling, and divisors beside it.
    private static void WriteFile(string path, WeightTensor tensor, float[] values, string? scaling)
    {
        using TemporaryFolder folder = new();
        ModelConfig plain = s_config with { Rope = new RopeConfig { Theta = 500000 } };
        ModelFolder.Save(plain, TestModel.Parameters(plain, 4), folder["hf"], new ModelFolderOptions());
        Write(folder, "hf", "plain.gguf");
        using GgufFile file = GgufFile.Open(folder["plain.gguf"]);
        GgufEntries entries = new();
        foreach (string key in file.Metadata.Keys)
        {
            entries.Copy(file.Metadata, key);
        }

        if (scaling is not null)
        {
            entries.Add("llama.rope.scaling.type", scaling);
            entries.Add("llama.rope.scaling.factor", 4f);
        }

        using GgufWriter writer = new(path, entries, [tensor, .. file.Tensors.Select(old => new WeightTensor(old.Name, old.Shape, old.Format))]);
        writer.Append([.. values.SelectMany(BitConverter.GetBytes)]);
        foreach (GgufTensor old in file.Tensors)
        {
            writer.Append(file.Bytes(old, 0, (int)old.ByteLength));
        }

        writer.Complete();
    }
}
