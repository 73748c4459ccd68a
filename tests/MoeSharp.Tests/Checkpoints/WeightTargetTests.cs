using MoeSharp.Checkpoints;
using MoeSharp.Checkpoints.Export;
using MoeSharp.Inference;
using MoeSharp.Kernels.Formats;
using MoeSharp.Kernels.Quantized;
using MoeSharp.Model;
using MoeSharp.Tensors;

namespace MoeSharp.Tests.Checkpoints;

/// <summary>Weights converted while they are loaded.</summary>
public sealed class WeightTargetTests
{
    [Theory]
    [InlineData("native", 0)] // the fixture is stored as float32
    [InlineData("bf16", 0.03)]
    [InlineData("f16", 0.003)]
    [InlineData("q8_0", 0.03)]
    [InlineData("q6_k", 0.03)] // rows of 48 are no super-blocks: q8_0 or bf16
    [InlineData("q4_k", 0.22)]
    [InlineData("q4_0", 0.48)]
    [InlineData("q5_1", 0.16)]
    [InlineData("q5_k", 0.16)] // falls back to q5_1
    [InlineData("q5_0", 0.22)]
    [InlineData("q4_1", 0.36)]
    [InlineData("iq4_nl", 0.41)]
    [InlineData("iq4_xs", 0.41)] // falls back to iq4_nl
    [InlineData("mxfp4", 0.54)]
    [InlineData("q3_k", 0.41)] // falls back to iq4_nl
    [InlineData("q2_k", 0.41)] // falls back to iq4_nl
    public void Converted_weights_give_nearly_the_same_logits(string target, double bound)
    {
        using ModelFiles files = ModelFiles.Open(Fixture("deepseek"));
        int[] tokens = [1, 5, 9, 2, 7, 11, 3, 8];
        float[] exact = Logits(files, WeightTarget.Float32, tokens), converted = Logits(files, WeightTarget.Parse(target), tokens);
        LogitDistance distance = new();
        distance.Add(exact, converted, files.Config.VocabSize);

        Assert.InRange(distance.Mean, bound == 0 ? 0 : 1e-7, bound); // logits have a standard deviation of about 1.5 here; bounds are twice what was measured
    }

    [Theory]
    [InlineData(WeightFormat.Q6K, 0.063)]
    [InlineData(WeightFormat.Q5K, 0.13)]
    [InlineData(WeightFormat.Q4K, 0.23)]
    [InlineData(WeightFormat.IQ4XS, 0.29)]
    [InlineData(WeightFormat.Q3K, 0.5)]
    [InlineData(WeightFormat.Q2K, 0.84)]
    public void Super_blocks_are_used_where_they_fill_the_rows(WeightFormat format, double bound)
    {
        using ModelFiles files = ModelFiles.Open(GgufModelTests.Fixture("deepseek-q8_0", "model.gguf"));
        int[] tokens = GgufModelTests.Tokens("deepseek-q8_0");
        WeightTarget target = WeightTarget.Parse(format.Name());
        float[] exact = Logits(files, WeightTarget.Float32, tokens), converted = Logits(files, target, tokens);
        LogitDistance distance = new();
        distance.Add(exact, converted, files.Config.VocabSize);

        Assert.Contains(files.Plan(target), weight => weight.IsPacked && weight.Parts[0].Format == format);
        Assert.InRange(distance.Mean, 1e-7, bound); // bounds are twice what was measured
    }

    [Theory]
    [InlineData("native")]
    [InlineData("bf16")]
    [InlineData("f32")]
    public void Weights_stored_as_bfloat16_lose_nothing(string target)
    {
        using ModelFiles files = ModelFiles.Open(Fixture("deepseek_sharded_bf16"));
        int[] tokens = [1, 5, 9, 2, 7, 11, 3, 8];
        LogitDistance distance = new();
        distance.Add(Logits(files, WeightTarget.Float32, tokens), Logits(files, WeightTarget.Parse(target), tokens), files.Config.VocabSize);

        Assert.InRange(distance.Largest, 0, 1e-5); // sums in another order
    }

    [Theory]
    [InlineData("deepseek_v2")]
    [InlineData("deepseek_v3")]
    [InlineData("deepseek_v3_fp8")]
    [InlineData("qwen3_moe_fp8_v5cfg")]
    [InlineData("qwen2_moe")]
    [InlineData("mixtral")]
    [InlineData("olmoe_fused")]
    [InlineData("dbrx")]
    [InlineData("arctic")]
    [InlineData("llama_moe")]
    [InlineData("minimax")]
    [InlineData("gpt_oss")]
    [InlineData("gpt_oss_mxfp4")]
    public void The_files_own_formats_lose_nothing(string name)
    {
        string? root = Environment.GetEnvironmentVariable("MOE_FIXTURES");
        if (root is null || !Directory.Exists(Path.Combine(root, "hf", name)))
        {
            Assert.Skip("MOE_FIXTURES is not set, or names no folder with hf/");
        }

        using ModelFiles files = ModelFiles.Open(Path.Combine(root, "hf", name));
        int[] tokens = [1, 5, 9, 2, 7, 11, 3, 8];
        LogitDistance distance = new();
        distance.Add(Logits(files, WeightTarget.Float32, tokens), Logits(files, WeightTarget.Native, tokens), files.Config.VocabSize);

        Assert.InRange(distance.Largest, 0, 3e-5); // sums in another order
    }

    [Fact]
    public void Norms_and_routers_stay_float32_and_the_head_keeps_more_bits()
    {
        using ModelFiles files = ModelFiles.Open(Fixture("deepseek"));
        IReadOnlyList<PlannedWeight> plan = files.Plan(WeightTarget.Parse("q4_0"));
        PlannedWeight Find(string name) => plan.Single(weight => weight.Name == name);

        Assert.False(Find("layers.1.moe.router").IsPacked);
        Assert.False(Find("layers.0.attention_norm").IsPacked);
        Assert.Equal(WeightPlan.Fitting(WeightFormat.Q6K, files.Config.HiddenSize), Find("head").Parts[0].Format);
        Assert.Equal(WeightPlan.Fitting(WeightFormat.Q4_0, files.Config.HiddenSize), Find("embedding").Parts[0].Format);
    }

    [Fact]
    public void The_bytes_planned_are_the_bytes_taken()
    {
        using ModelFiles files = ModelFiles.Open(Fixture("deepseek"));
        foreach (WeightTarget target in WeightTarget.All)
        {
            IReadOnlyList<PlannedWeight> plan = files.Plan(target);
            using LanguageModel model = files.Load(new LoadOptions { Weights = target }, TestContext.Current.CancellationToken);
            foreach ((PlannedWeight weight, Parameter parameter) in plan.Zip(model.Parameters))
            {
                Assert.Equal(parameter.Packed?.Bytes ?? parameter.Shape.Length * sizeof(float), weight.Bytes);
            }
        }
    }

    [Fact]
    public void Loading_tells_its_progress_and_can_be_cancelled()
    {
        using ModelFiles files = ModelFiles.Open(Fixture("deepseek"));
        foreach (WeightTarget target in WeightTarget.All)
        {
            long last = 0, total = 0;
            files.Load(new LoadOptions { Weights = target, Threads = 1, Progress = progress => (last, total) = (progress.BytesDone, progress.BytesTotal) }, TestContext.Current.CancellationToken).Dispose();
            Assert.Equal(total, last);
        }

        using CancellationTokenSource stop = new();
        LoadOptions options = new() { Threads = 1, Progress = _ => stop.Cancel() };
        Assert.ThrowsAny<OperationCanceledException>(() => files.Load(options, stop.Token));
    }

    [Fact]
    public void A_weight_that_is_not_finite_is_named()
    {
        const string Name = "blk.1.attn_q.weight";
        using TemporaryFolder folder = new();
        File.Copy(GgufModelTests.Fixture("deepseek", "model.gguf"), folder["nan.gguf"]);
        File.SetAttributes(folder["nan.gguf"], FileAttributes.Normal);
        long offset;
        using (GgufFile file = GgufFile.Open(folder["nan.gguf"]))
        {
            offset = file.Tensor(Name).Offset;
        }

        using (FileStream stream = File.OpenWrite(folder["nan.gguf"]))
        {
            stream.Position = offset + (7 * sizeof(float));
            stream.Write(BitConverter.GetBytes(float.NaN));
        }

        using ModelFiles files = ModelFiles.Open(folder["nan.gguf"]);
        FileFormatException loading = Assert.Throws<FileFormatException>(() => files.Load(new LoadOptions { Weights = WeightTarget.Parse("q8_0"), Threads = 1 }, TestContext.Current.CancellationToken).Dispose());
        FileFormatException writing = Assert.Throws<FileFormatException>(() => ModelExport.Write(files, folder["out.gguf"], new ExportOptions { Weights = WeightTarget.Parse("q4_0"), Threads = 2 }, TestContext.Current.CancellationToken));

        Assert.Contains(Name, loading.Message, StringComparison.Ordinal);
        Assert.Contains(Name, writing.Message, StringComparison.Ordinal);
        Assert.Equal([folder["nan.gguf"]], Directory.GetFiles(folder.Path));
    }

    [Theory]
    [InlineData("f32")]
    [InlineData("native")]
    public void A_stack_beyond_what_a_span_holds_is_packed_as_float32(string target)
    {
        // The experts of DeepSeek-V3, whose 8-bit floats with scales are float32 here: 7.5 billion numbers.
        const int Experts = 256, Rows = 4096, Columns = 7168;
        Parameter stack = new("layers.3.moe.experts.gate_up_projection", new Shape(Experts, Rows, Columns));
        using ScaledStack source = new(Experts * (long)Rows, Columns);
        PlannedWeight weight = LoadPlan.Of([stack], source, [WeightSlice.Whole("t", stack.Name, 0, Experts * (long)Rows, Columns)], WeightTarget.Parse(target), isTied: false).Single();

        Assert.Equal([new PackedPart(Rows, WeightFormat.F32)], weight.Parts);
        Assert.Equal(stack.Shape.Length * sizeof(float), weight.Bytes);
    }

    [Fact]
    public void Packed_float32_gives_the_logits_of_plain_float32()
    {
        using ModelFiles files = ModelFiles.Open(Fixture("deepseek"));
        int[] tokens = [1, 5, 9, 2, 7, 11, 3, 8];
        using LanguageModel model = new(files.Config);
        List<PlannedWeight> plan = [.. files.Plan(WeightTarget.Float32).Select(weight => WeightPlan.IsMatrixOfProducts(weight.Name, weight.Shape) ? weight with { Parts = [new PackedPart(weight.Rows, WeightFormat.F32)] } : weight)];
        WeightLoader.Load(files.Source, plan, model.Parameters, new LoadOptions(), TestContext.Current.CancellationToken);
        model.Activations = ActivationPrecision.Float32;
        LogitDistance distance = new();
        distance.Add(Logits(files, WeightTarget.Float32, tokens), GgufModelTests.Logits(model, tokens), files.Config.VocabSize);

        Assert.InRange(distance.Largest, 0, 1e-5); // sums in another order
    }

    [Fact]
    public void An_unknown_name_is_refused_with_those_that_are_known() =>
        Assert.Contains("q4_k", Assert.Throws<ConfigurationException>(() => WeightTarget.Parse("q5")).Message, StringComparison.Ordinal);

    private static float[] Logits(ModelFiles files, WeightTarget target, int[] tokens)
    {
        using LanguageModel model = files.Load(new LoadOptions { Weights = target, Threads = 2 }, TestContext.Current.CancellationToken);
        model.Activations = ActivationPrecision.Float32;
        return GgufModelTests.Logits(model, tokens);
    }

    [Theory]
    [InlineData(2, 1)] // rows take turns: read together
    [InlineData(4, 1)]
    [InlineData(5, 16)] // far apart: read one by one
    public void Rows_that_take_turns_are_read_in_few_calls(int step, int calls)
    {
        const int Rows = 16, Columns = 64;
        using CountingSource source = new(Rows * step, Columns);
        Parameter parameter = new("p", new Shape(Rows, Columns));
        WeightSlice slice = new("t", [Rows * step, Columns], "p", 0, Rows, Columns) { SourceOffset = Columns, SourceRowStep = step * Columns };
        IReadOnlyList<PlannedWeight> plan = [new PlannedWeight("p", parameter.Shape, [new PackedPart(Rows, WeightFormat.Q8_0)], [slice])];
        WeightLoader.Load(source, plan, [parameter], new LoadOptions { Threads = 1 }, TestContext.Current.CancellationToken);

        float[] row = new float[Columns];
        Assert.Equal(calls, source.NumReads);
        for (int i = 0; i < Rows; i++)
        {
            parameter.Packed!.DecodeRow(0, i, row);
            Assert.All(row, value => Assert.Equal((i * step) + 1, value));
        }

        parameter.Dispose();
    }

    // Blocks of q8_0 whose values are the number of their row.
    private sealed class CountingSource(int rows, int columns) : IWeightSource
    {
        public int NumReads { get; private set; }

        public string Description => "counting";

        public IReadOnlyCollection<string> Names => ["t"];

        public WeightTensor? Find(string name) => new(name, [rows, columns], WeightFormat.Q8_0);

        public void ReadBlocks(WeightTensor tensor, long firstElement, long count, Span<byte> blocks)
        {
            const int Length = 32, Bytes = 34;
            NumReads++;
            for (int block = 0; block < count / Length; block++)
            {
                Span<byte> target = blocks.Slice(block * Bytes, Bytes);
                target.Fill(1);
                BitConverter.TryWriteBytes(target, (Half)((firstElement + (block * Length)) / columns));
            }
        }

        public void ReadFloats(WeightTensor tensor, long firstElement, Span<float> values) => throw new NotSupportedException();

        public void Dispose()
        {
        }
    }

    // A tensor that is only asked for its shape.
    private sealed class ScaledStack(long rows, int columns) : IWeightSource
    {
        public string Description => "stack";

        public IReadOnlyCollection<string> Names => ["t"];

        public WeightTensor? Find(string name) => new(name, [rows, columns], WeightFormat.F32);

        public void ReadBlocks(WeightTensor tensor, long firstElement, long count, Span<byte> blocks) => throw new NotSupportedException();

        public void ReadFloats(WeightTensor tensor, long firstElement, Span<float> values) => throw new NotSupportedException();

        public void Dispose()
        {
        }
    }

    private static string Fixture(string name) => Path.Combine(AppContext.BaseDirectory, "Fixtures", "hf", name);
}
