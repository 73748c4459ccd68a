using MoeSharp.Checkpoints;
using MoeSharp.Checkpoints.Export;
using MoeSharp.Kernels.Formats;
using MoeSharp.Model;
using MoeSharp.Model.Routers;
using MoeSharp.Moe.Dispatch;
using MoeSharp.Moe.Routing;
using MoeSharp.Tensors;

namespace MoeSharp.Tests.Checkpoints;

/// <summary>Models written in another form compute what they did.</summary>
public sealed class ModelExportTests
{
    private static readonly int[] s_tokens = [1, 5, 9, 2, 7, 11, 3, 8, 4, 6];

    [Theory]
    [InlineData("deepseek")]
    [InlineData("deepseek2")]
    [InlineData("deepseek2-legacy-kvb")]
    [InlineData("deepseek2-yarn")]
    [InlineData("deepseek2-v3like")]
    [InlineData("qwen2moe")]
    [InlineData("mixtral")]
    [InlineData("olmoe")]
    [InlineData("qwen3moe")]
    public void A_gguf_file_becomes_a_folder_and_a_gguf_file_again(string name)
    {
        using TemporaryFolder folder = new();
        int[] tokens = GgufModelTests.Tokens(name);
        float[] expected = GgufModelTests.Expected(name, "logits.f32");
        Write(GgufModelTests.Fixture(name, "model.gguf"), folder["hf"], WeightTarget.Native);
        Write(folder["hf"], folder["again.gguf"], WeightTarget.Native);

        foreach (string path in (string[])[folder["hf"], folder["again.gguf"]])
        {
            float[] logits = Logits(path, tokens);
            (float largest, int best, int rows) = GgufModelTests.Compare(logits, expected, expected.Length / tokens.Length);
            Assert.True(largest <= 5e-5f && best == rows, $"{path}: the largest difference is {largest}");
        }
    }

    [Theory]
    [InlineData("deepseek")]
    [InlineData("deepseek_sharded_bf16")]
    [InlineData("deepseek_v2")]
    [InlineData("deepseek_v3")]
    [InlineData("deepseek_v3_fp8")]
    [InlineData("qwen2_moe")]
    [InlineData("qwen3_moe")]
    [InlineData("mixtral")]
    [InlineData("olmoe")]
    [InlineData("olmoe_fused")]
    [InlineData("dbrx")]
    [InlineData("arctic")]
    [InlineData("gpt_oss")]
    [InlineData("gpt_oss_mxfp4")]
    public void A_folder_becomes_a_gguf_file_and_a_folder_again(string name)
    {
        string source = HuggingFace(name);
        using TemporaryFolder folder = new();
        Write(source, folder["model.gguf"], WeightTarget.Native);
        Write(folder["model.gguf"], folder["hf"], WeightTarget.Native);
        float[] expected = Logits(source, s_tokens);

        foreach (string path in (string[])[folder["model.gguf"], folder["hf"]])
        {
            float[] logits = Logits(path, s_tokens);
            (float largest, int best, int rows) = GgufModelTests.Compare(logits, expected, expected.Length / s_tokens.Length);
            Assert.True(largest <= 2e-5f && best == rows, $"{path}: the largest difference is {largest}"); // sums in another order
        }
    }

    // These readers of GGUF do not look for the switch: they know what the published models do.
    [Theory]
    [InlineData("qwen3_moe", false)]
    [InlineData("qwen2_moe", true)]
    [InlineData("olmoe", true)]
    public void A_switch_that_readers_would_not_see_is_refused(string name, bool normalizes)
    {
        using TemporaryFolder folder = new();
        Directory.CreateDirectory(folder["hf"]);
        foreach (string file in Directory.GetFiles(HuggingFace(name), "model*"))
        {
            File.Copy(file, Path.Combine(folder["hf"], Path.GetFileName(file)));
        }

        ModelConfig config = ModelConfigJson.Load(Path.Combine(HuggingFace(name), "config.json"));
        File.WriteAllText(Path.Combine(folder["hf"], "config.json"), ModelConfigJson.Write(config with { Moe = config.Moe! with { NormTopKProb = normalizes } }));

        ConfigurationException error = Assert.Throws<ConfigurationException>(() => Write(folder["hf"], folder["model.gguf"], WeightTarget.Native));

        Assert.Contains($"NormTopKProb = {normalizes} would be read as", error.Message, StringComparison.Ordinal);
        Assert.Equal([folder["hf"]], Directory.GetFileSystemEntries(folder.Path));
    }

    [Theory]
    [InlineData("switch")]
    [InlineData("gshard")]
    [InlineData("places in training")]
    public void A_router_that_is_top_k_without_gradients_gives_the_same_logits_from_a_gguf_file(string router)
    {
        using TemporaryFolder folder = new();
        MoeConfig moe = WriteRouted(folder["hf"], router);

        Write(folder["hf"], folder["model.gguf"], WeightTarget.Native);

        float[] expected = Logits(folder["hf"], s_tokens);
        (float largest, int best, int rows) = GgufModelTests.Compare(Logits(folder["model.gguf"], s_tokens), expected, expected.Length / s_tokens.Length);
        Assert.True(largest <= 2e-5f && best == rows, $"{moe}: the largest difference is {largest}"); // sums in another order
        float[] plain = Logits(HuggingFace("deepseek"), s_tokens);
        Assert.Equal(router == "places in training", plain.AsSpan().SequenceEqual(expected)); // the router changes the model, places that are none do not
    }

    [Theory]
    [InlineData("gshard, threshold", "a router of kind gshard")]
    [InlineData("places", "places of experts outside training (moesharp.eval_capacity_factor)")]
    public void A_router_that_readers_would_not_know_is_refused(string router, string says)
    {
        using TemporaryFolder folder = new();
        WriteRouted(folder["hf"], router);
        Assert.Contains(says, Assert.Throws<ConfigurationException>(() => Write(folder["hf"], folder["model.gguf"], WeightTarget.Native)).Message, StringComparison.Ordinal);
    }

    private static MoeConfig WriteRouted(string folder, string router)
    {
        Directory.CreateDirectory(folder);
        foreach (string file in Directory.GetFiles(HuggingFace("deepseek")))
        {
            File.Copy(file, Path.Combine(folder, Path.GetFileName(file)));
        }

        ModelConfig config = ModelConfigJson.Load(Path.Combine(folder, "config.json"));
        MoeConfig moe = router switch
        {
            "switch" => config.Moe! with { TopK = 1, NormTopKProb = false, Router = new SwitchRouterConfig() },
            "gshard" => config.Moe! with { TopK = 2, RoutedScalingFactor = 1.5f, Router = new GShardRouterConfig() },
            "gshard, threshold" => config.Moe! with { TopK = 2, Router = new GShardRouterConfig { SecondExpertPolicy = SecondExpertPolicy.Threshold } },
            "places" => config.Moe! with { Capacity = new CapacityRule { TrainingFactor = 1, EvaluationFactor = 2 } },
            _ => config.Moe! with { Capacity = new CapacityRule { TrainingFactor = 1 } },
        };
        File.WriteAllText(Path.Combine(folder, "config.json"), ModelConfigJson.Write(config with { Moe = moe }));
        return moe;
    }

    [Theory]
    [InlineData("llama_moe")]
    [InlineData("minimax")]
    [InlineData("deepseek_v2_group")] // mscale differs from mscale_all_dim
    public void What_the_format_cannot_describe_is_refused_and_leaves_nothing(string name)
    {
        using TemporaryFolder folder = new();
        Assert.Throws<ConfigurationException>(() => Write(HuggingFace(name), folder["model.gguf"], WeightTarget.Native));
        Assert.Empty(Directory.GetFileSystemEntries(folder.Path));
    }

    [Fact]
    public void A_unigram_vocabulary_is_refused()
    {
        using TemporaryFolder folder = new();
        Directory.CreateDirectory(folder["hf"]);
        foreach (string file in Directory.GetFiles(HuggingFace("olmoe")))
        {
            File.Copy(file, Path.Combine(folder["hf"], Path.GetFileName(file)));
        }

        File.WriteAllText(Path.Combine(folder["hf"], "tokenizer.json"), "{\"model\": {\"type\": \"Unigram\", \"unk_id\": 0, \"vocab\": [[\"<unk>\", 0], [\"a\", -1]]}}");
        File.Delete(Path.Combine(folder["hf"], "tokenizer_config.json"));

        ConfigurationException error = Assert.Throws<ConfigurationException>(() => Write(folder["hf"], folder["model.gguf"], WeightTarget.Native));

        Assert.Contains("is a unigram vocabulary", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("deepseek-q8_0")]
    [InlineData("deepseek-q4_k_m")]
    public void Stored_formats_are_copied_byte_for_byte(string name)
    {
        using TemporaryFolder folder = new();
        ExportReport report = Write(GgufModelTests.Fixture(name, "model.gguf"), folder["copy.gguf"], WeightTarget.Native);
        using GgufFile original = GgufFile.Open(GgufModelTests.Fixture(name, "model.gguf"));
        using GgufFile copy = GgufFile.Open(folder["copy.gguf"]);

        Assert.Equal(original.Tensors.Count, copy.Tensors.Count);
        Assert.Equal((original.Tensors.Count, original.Tensors.Count), (report.SourceTensors, report.SourceTensorsUsed));
        Assert.Equal(report.Bytes, report.SourceBytes);
        Assert.Equal(original.Metadata.Keys.Order(), copy.Metadata.Keys.Order());
        foreach (GgufTensor tensor in original.Tensors)
        {
            Assert.Equal(tensor.Format, copy.Tensor(tensor.Name).Format);
            Assert.Equal(original.Bytes(tensor, 0, (int)tensor.ByteLength).ToArray(), copy.Bytes(copy.Tensor(tensor.Name), 0, (int)tensor.ByteLength).ToArray());
        }
    }

    [Fact]
    public void Quantising_to_a_file_gives_what_quantising_while_loading_gives()
    {
        using TemporaryFolder folder = new();
        string source = GgufModelTests.Fixture("deepseek", "model.gguf");
        Write(source, folder["small.gguf"], WeightTarget.Parse("q4_0"));
        using ModelFiles wide = ModelFiles.Open(source);
        using ModelFiles small = ModelFiles.Open(folder["small.gguf"]);
        using LanguageModel loaded = wide.Load(new LoadOptions { Weights = WeightTarget.Parse("q4_0") }, TestContext.Current.CancellationToken);
        using LanguageModel written = small.Load(new LoadOptions { Weights = WeightTarget.Native }, TestContext.Current.CancellationToken);

        Assert.Equal(WeightFormat.Q4_0, small.Source.Find("blk.1.ffn_gate_exps.weight")!.Format);
        foreach ((Parameter left, Parameter right) in loaded.Parameters.Zip(written.Parameters))
        {
            Assert.Equal(GgufModelTests.Values(left), GgufModelTests.Values(right));
        }
    }

    [Theory]
    [InlineData(false, "head")]
    [InlineData(true, "embedding")]
    public void A_file_has_the_formats_that_loading_gives(bool isTied, string head)
    {
        using TemporaryFolder folder = new();
        ModelConfig config = TestModel.Small with { HiddenSize = 64, HeadDim = 16, AttentionBias = false, TieWordEmbeddings = isTied };
        ModelFolder.Save(config, TestModel.Parameters(config, 1), folder["hf"], new ModelFolderOptions());
        using ModelFiles files = ModelFiles.Open(folder["hf"]);
        foreach (WeightTarget target in WeightTarget.All)
        {
            using (ModelFiles written = Written(files, folder[target.Name + ".gguf"], target))
            {
                Assert.Equal(Formats(files.Plan(target)), Formats(written.Plan(WeightTarget.Native)));
            }
        }

        Assert.Contains((head, WeightFormat.Q8_0), Formats(files.Plan(WeightTarget.Parse("q4_0"))).Select(pair => (pair.Key, pair.Value))); // q6_k, were the rows long enough
    }

    private static ModelFiles Written(ModelFiles files, string path, WeightTarget target)
    {
        ModelExport.Write(files, path, new ExportOptions { Weights = target, Threads = 2 }, TestContext.Current.CancellationToken);
        return ModelFiles.Open(path);
    }

    private static SortedDictionary<string, WeightFormat> Formats(IReadOnlyList<PlannedWeight> plan) =>
        new(plan.ToDictionary(weight => weight.Name, weight => weight.IsPacked ? weight.Parts.Single().Format : WeightFormat.F32), StringComparer.Ordinal);

    [Fact]
    public void Columns_that_matter_keep_more_and_experts_without_text_are_kept()
    {
        using TemporaryFolder folder = new();
        using ModelFiles files = ModelFiles.Open(GgufModelTests.Fixture("deepseek", "model.gguf"));
        ColumnImportance importance = new();
        float[] row = [.. Enumerable.Range(0, 128).Select(column => column % 2 == 0 ? 1f : 0.01f)];
        importance.Add("layers.1.moe.experts.gate_up_projection", 16, 3, row);
        ExportReport report = ModelExport.Write(files, folder["weighted.gguf"], new ExportOptions { Weights = WeightTarget.Parse("q4_0"), Importance = importance }, TestContext.Current.CancellationToken);
        ModelExport.Write(files, folder["plain.gguf"], new ExportOptions { Weights = WeightTarget.Parse("q4_0") }, TestContext.Current.CancellationToken);

        double[] weighted = Errors(files, folder["weighted.gguf"], expert: 3), plain = Errors(files, folder["plain.gguf"], expert: 3);
        Assert.True(weighted[0] < plain[0], $"important columns: {weighted[0]} against {plain[0]}");
        Assert.Equal(Errors(files, folder["plain.gguf"], expert: 4), Errors(files, folder["weighted.gguf"], expert: 4));
        Assert.Equal(15, report.Coverage.Single().NumUnreached);
        Assert.Contains(report.Warnings, warning => warning.Contains("15 of 16 experts", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("out.gguf")]
    [InlineData("out")]
    public void A_cancelled_export_leaves_nothing(string target)
    {
        using TemporaryFolder folder = new();
        using ModelFiles files = ModelFiles.Open(GgufModelTests.Fixture("deepseek", "model.gguf"));
        using CancellationTokenSource stop = new();
        Assert.ThrowsAny<OperationCanceledException>(() => ModelExport.Write(files, folder[target], new ExportOptions { Progress = _ => stop.Cancel() }, stop.Token));
        Assert.Empty(Directory.GetFileSystemEntries(folder.Path));
    }

    [Theory]
    [InlineData("out.gguf", "native")]
    [InlineData("out", "native")]
    [InlineData("missing/out.gguf", "native")]
    [InlineData("free", "q4_k")]
    public void A_target_that_cannot_be_written_is_refused_before_anything_is_read(string target, string weights)
    {
        using TemporaryFolder folder = new();
        File.WriteAllText(folder["out.gguf"], "mine");
        Directory.CreateDirectory(folder["out"]);
        File.WriteAllText(Path.Combine(folder["out"], "mine"), "");
        ModelFolder.Save(TestModel.Llama, TestModel.Parameters(TestModel.Llama, 1), folder["hf"], new ModelFolderOptions());
        using ModelFiles files = ModelFiles.Open(folder["hf"]);
        files.Dispose(); // nothing can be read any more

        Assert.Throws<ConfigurationException>(() => ModelExport.Write(files, folder[target], new ExportOptions { Weights = WeightTarget.Parse(weights) }, TestContext.Current.CancellationToken));

        Assert.Equal("mine", File.ReadAllText(folder["out.gguf"]));
    }

    [Fact]
    public void Files_that_bear_a_name_like_the_targets_are_left_alone()
    {
        using TemporaryFolder folder = new();
        ModelFolder.Save(TestModel.Llama, TestModel.Parameters(TestModel.Llama, 1), folder["hf"], new ModelFolderOptions());
        File.WriteAllText(folder["model.gguf.check"], "mine");
        Write(folder["hf"], folder["model.gguf"], WeightTarget.Native);

        Assert.Equal("mine", File.ReadAllText(folder["model.gguf.check"]));
        Assert.Equal(3, Directory.GetFileSystemEntries(folder.Path).Length);
    }

    [Fact]
    public void Metadata_has_what_other_programs_insist_on()
    {
        using TemporaryFolder folder = new();
        Write(HuggingFace("deepseek_v2"), folder["model.gguf"], WeightTarget.Native);
        using GgufFile file = GgufFile.Open(folder["model.gguf"]);

        Assert.Equal(0, file.Metadata.GetInteger("deepseek2.attention.q_lora_rank")); // optional only in files of 26 or 27 layers
        Assert.Equal(2, file.Metadata.GetInteger("general.quantization_version"));
        Assert.Equal("no_vocab", file.Metadata.GetString("tokenizer.ggml.model"));
        Assert.Equal(1, file.Metadata.GetInteger("deepseek2.attention.head_count_kv"));
    }

    [Fact]
    public void A_folder_does_not_take_formats_of_few_bits()
    {
        using TemporaryFolder folder = new();
        Assert.Contains(".gguf", Assert.Throws<ConfigurationException>(() => Write(GgufModelTests.Fixture("deepseek", "model.gguf"), folder["out"], WeightTarget.Parse("q4_k"))).Message, StringComparison.Ordinal);
    }

    // Squared errors of even columns and of odd ones, of one expert's gate.
    private static double[] Errors(ModelFiles exact, string path, int expert)
    {
        const int Width = 128;
        using ModelFiles quantised = ModelFiles.Open(path);
        WeightTensor left = exact.Source.Find("blk.1.ffn_gate_exps.weight")!, right = quantised.Source.Find(left.Name)!;
        long matrix = left.Shape[1] * left.Shape[2];
        float[] a = new float[matrix], b = new float[matrix];
        exact.Source.ReadFloats(left, expert * matrix, a);
        quantised.Source.ReadFloats(right, expert * matrix, b);
        double[] errors = new double[2];
        for (int i = 0; i < a.Length; i++)
        {
            errors[i % Width % 2] += (a[i] - b[i]) * (a[i] - b[i]);
        }

        return errors;
    }

    private static ExportReport Write(string source, string target, WeightTarget weights)
    {
        using ModelFiles files = ModelFiles.Open(source);
        return ModelExport.Write(files, target, new ExportOptions { Weights = weights, Threads = 2 }, TestContext.Current.CancellationToken);
    }

    private static float[] Logits(string path, int[] tokens)
    {
        using LanguageModel model = ModelFolder.Load(path);
        return GgufModelTests.Logits(model, tokens);
    }

    private static string HuggingFace(string name)
    {
        string? root = Environment.GetEnvironmentVariable("MOE_FIXTURES");
        if (root is null || !Directory.Exists(Path.Combine(root, "hf")))
        {
            Assert.Skip("MOE_FIXTURES is not set, or names no folder with hf/");
        }

        return Path.Combine(root, "hf", name);
    }
}
