using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Tensors;
using MoeSharp.Tests.Kernels;
using MoeSharp.Tests.Reference;

namespace MoeSharp.Tests.Model;

/// <summary>Every part that an architecture may have, in models of a few thousand weights: against the double-precision reference, cached against whole, and counted.</summary>
public sealed class ArchitectureTests
{
    private static readonly BalanceConfig Balance = new() { ExpertAlpha = 0.1f };

    private static readonly ModelConfig Dense = new()
    {
        VocabSize = 19,
        HiddenSize = 16,
        IntermediateSize = 20,
        NumHiddenLayers = 2,
        NumAttentionHeads = 4,
        NumKeyValueHeads = 2,
        HeadDim = 6,
        MaxPositionEmbeddings = 64,
        RmsNormEps = 1e-5f,
    };

    private static readonly ModelConfig Latent = Dense with
    {
        NumKeyValueHeads = 4,
        HeadDim = 10,
        LatentAttention = new LatentAttentionConfig { LatentRank = 7, NopeHeadDim = 6, RopeHeadDim = 4, ValueHeadDim = 5 },
        Rope = new RopeConfig { IsInterleaved = true },
    };

    private static readonly MoeConfig Experts = new() { NumExperts = 6, TopK = 2, IntermediateSize = 5 };

    private static readonly AttentionExpertsConfig Mixture = new() { Kind = AttentionExpertsKind.Mixture, NumExperts = 5, TopK = 2 };

    private static readonly AttentionExpertsConfig Switched = new() { Kind = AttentionExpertsKind.SwitchHead, NumExperts = 3, TopK = 2 };

    private static readonly Dictionary<string, ModelConfig> s_variants = new()
    {
        ["llama"] = Dense with { HeadDim = 4, NumKeyValueHeads = 4 },
        ["qwen2"] = Dense with { AttentionBias = true, AttentionOutputBias = false },
        ["all biases"] = Dense with { AttentionBias = true },
        ["norm per head"] = Dense with { QueryKeyNorm = QueryKeyNorm.PerHead },
        ["norm of the projection, clamped"] = Dense with { QueryKeyNorm = QueryKeyNorm.WholeProjection, ClipQkv = 1.2f },
        ["layer norm, clamped"] = Dense with { UsesLayerNorm = true, ClipQkv = 0.7f },
        ["neighbouring pairs"] = Dense with { Rope = new RopeConfig { IsInterleaved = true } },
        ["some lanes turned"] = Dense with { Rope = new RopeConfig { RotaryDim = 4 } },
        ["linear positions"] = Dense with { Rope = new RopeConfig { Scaling = RopeScaling.Linear, Factor = 4 } },
        ["yarn"] = Dense with { HeadDim = 12, Rope = new RopeConfig { Scaling = RopeScaling.Yarn, Factor = 8, OriginalMaxPositions = 6, BetaFast = 2, BetaSlow = 0.1, AttentionFactor = 1.2 } },
        ["yarn between dimensions"] = Dense with { HeadDim = 12, Rope = new RopeConfig { Scaling = RopeScaling.Yarn, Factor = 8, OriginalMaxPositions = 6, BetaFast = 2, BetaSlow = 0.1, Truncates = false } },
        ["dynamic"] = Dense with { Rope = new RopeConfig { Scaling = RopeScaling.Dynamic, Factor = 3, OriginalMaxPositions = 5 } },
        ["llama 3"] = Dense with { HeadDim = 12, Rope = new RopeConfig { Theta = 100, Scaling = RopeScaling.Llama3, Factor = 8, OriginalMaxPositions = 40, LowFrequencyFactor = 1, HighFrequencyFactor = 4 } },
        ["divided"] = Dense with { Rope = new RopeConfig { Scaling = RopeScaling.Divided, FrequencyDivisors = [1.5f, 0.5f, 20] } },
        ["attention scale, embedding and logit scale"] = Dense with { AttentionScale = 0.21f, EmbeddingScale = 3.5f, LogitScale = 0.4f, TieWordEmbeddings = true },
        ["sandwich"] = Dense with { BlockLayout = BlockLayout.SandwichNorm },
        ["normed residual"] = Dense with { BlockLayout = BlockLayout.NormedResidual, ResidualScales = new ResidualScales { FullAttentionAlpha = 1.5f, FullAttentionBeta = 0.8f, FeedForwardAlpha = 1.25f, FeedForwardBeta = 1.1f } },
        ["parallel experts"] = Dense with { BlockLayout = BlockLayout.ParallelExperts, Moe = Experts with { MoeLayerFreq = 2, MoeLayerEndsPeriod = true } },
        ["latent"] = Latent,
        ["latent with query rank, biases and yarn"] = Latent with
        {
            AttentionBias = true,
            LatentAttention = Latent.LatentAttention! with { QueryRank = 9 },
            Rope = new RopeConfig { IsInterleaved = true, Scaling = RopeScaling.Yarn, Factor = 8, OriginalMaxPositions = 6, BetaFast = 2, BetaSlow = 0.1, MscaleAllDim = 0.7, AttentionFactor = 0.9 },
        },
        ["attention experts"] = Dense with { AttentionExperts = Mixture },
        ["attention experts beside experts"] = Dense with { NumKeyValueHeads = 4, AttentionOutputBias = true, AttentionExperts = Mixture with { TopK = 3, NormTopKProb = true }, Moe = Experts },
        ["one attention expert per token"] = Dense with { NumAttentionHeads = 1, NumKeyValueHeads = 1, AttentionExperts = Mixture with { TopK = 1 } },
        ["switch head"] = Dense with { AttentionExperts = Switched },
        ["switch head beside experts"] = Dense with { NumKeyValueHeads = 4, AttentionOutputBias = true, AttentionExperts = Switched with { NumExperts = 4, TopK = 3 }, Moe = Experts },
        ["switch head, one expert per head"] = Dense with { AttentionExperts = Switched with { TopK = 1 } },
        ["jetmoe"] = Dense with { NumKeyValueHeads = 4, FinalNormEps = 0.03f, AttentionOutputBias = true, AttentionExperts = Mixture with { NormTopKProb = true }, Moe = Experts with { NormTopKProb = true, HasOutputBias = true } },
        ["experts beside a dense feed-forward"] = Dense with { Moe = Experts with { SharedIntermediateSize = 20 } },
        ["windows"] = Dense with { SlidingWindow = 3, LayerAttention = [AttentionKind.Sliding, AttentionKind.Full] },
        ["sinks"] = Dense with { HasAttentionSinks = true, AttentionBias = true },
        ["score cap"] = Dense with { AttentionScoreCap = 0.5f },
        ["lightning"] = Dense with { BlockLayout = BlockLayout.NormedResidual, LayerAttention = [AttentionKind.Linear, AttentionKind.Full], ResidualScales = new ResidualScales { LinearAttentionAlpha = 1.3f, LinearAttentionBeta = 0.9f } },
    };

    public static TheoryData<string> Variants => [.. s_variants.Keys];

    public static TheoryData<string> Trainable => [.. s_variants.Where(pair => TrainingLimits.Of(pair.Value).Count == 0).Select(pair => pair.Key)];

    [Theory]
    [MemberData(nameof(Variants))]
    public void Logits_equal_the_double_precision_reference(string variant) => RequireReferenceLogits(s_variants[variant], 1e-5, variant);

    [Theory]
    [MemberData(nameof(Released))]
    public void A_released_model_made_small_gives_the_reference_logits(string preset) => RequireReferenceLogits(Small(ModelPresets.Get(preset)), 2e-5, preset);

    public static TheoryData<string> Released =>
    [
        "deepseek-moe-16b", "deepseek-v2-lite", "deepseek-v2", "deepseek-v3", "mixtral-8x7b", "qwen1.5-moe-a2.7b", "qwen3-30b-a3b", "olmoe-1b-7b", "jetmoe-8b", "dbrx", "arctic", "llama-moe-3.5b", "grok-1",
        "minimax-text-01", "gpt-oss-20b", "deepseek-67b",
    ];

    [Theory]
    [MemberData(nameof(Trainable))]
    public void Loss_and_every_gradient_equal_the_double_precision_reference(string variant)
    {
        using WorkerPool workers = new(2);
        using LanguageModel model = Create(variant, workers);
        using ForwardContext context = new(workers);
        TokenBatch batch = LanguageModelTests.PackedBatch(model.Config.VocabSize);
        double tokenScale = 1.0 / batch.CountTargets();
        model.Parameters.ToList().ForEach(parameter => parameter.AllocateGradient());

        double loss = model.ForwardBackward(batch, Balance, (float)tokenScale, 0.5f, context);

        Dictionary<string, double[]> weights = Weights(model);
        ReferenceModel reference = new(model.Config, weights);
        Assert.Equal(reference.TotalLoss(batch, Balance, 1, 0), loss, 1e-4);
        List<int[]> choices = [.. reference.ExpertIds];
        foreach (Parameter parameter in model.Parameters)
        {
            LanguageModelTests.AssertGradient(parameter, reference, weights[parameter.Name], choices, () => reference.TotalLoss(batch, Balance, tokenScale, 0.5), trials: 1);
        }
    }

    [Theory]
    [InlineData("windows", "sliding_window")]
    [InlineData("sinks", "sinks")]
    [InlineData("score cap", "capped attention scores")]
    [InlineData("lightning", "linear attention")]
    public void What_has_no_backward_pass_is_refused_by_name(string variant, string named)
    {
        using WorkerPool workers = new(1);
        using LanguageModel model = Create(variant, workers);
        using ForwardContext context = new(workers);

        ConfigurationException error = Assert.Throws<ConfigurationException>(() => model.ForwardBackward(LanguageModelTests.PackedBatch(19), Balance, 1, 1, context));

        Assert.Contains(named, error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(Variants))]
    public void Cached_decoding_gives_the_bits_of_the_whole_pass(string variant)
    {
        using WorkerPool workers = new(2);
        using WorkerPool single = new(1);
        using LanguageModel model = Create(variant, workers);
        int[] tokens = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9];
        int vocab = model.Config.VocabSize;
        float[] expected = new float[tokens.Length * vocab];
        using ForwardContext whole = new(workers);
        model.Logits(TokenBatch.FromSequences([tokens]), tokens.Length, expected, whole);

        using ForwardContext context = new(single);
        using KeyValuePages pages = KeyValuePages.ForOneSequence(ModelCacheLayout.Of(model.Config), tokens.Length);
        using CachedSequence sequence = new(pages);
        context.Sequences = [sequence];
        TokenBatch step = new();
        foreach (int count in (int[])[5, 1, 1, 3, 1, 1, 1])
        {
            ReadOnlySpan<int> ids = tokens.AsSpan(sequence.Length, count);
            sequence.Reserve(count);
            step.Clear();
            step.AddContinuation(sequence, ids);
            float[] logits = new float[count * vocab];
            model.Logits(step, count, logits, context);
            KernelCheck.SameBits(expected.AsSpan(sequence.Length * vocab, logits.Length), logits, $"{variant}, tokens from {sequence.Length}");
            sequence.Advance(ids);
        }
    }

    [Theory]
    [MemberData(nameof(Variants))]
    public void A_steady_pass_allocates_nothing(string variant)
    {
        using WorkerPool workers = new(1);
        using LanguageModel model = Create(variant, workers);
        using ForwardContext context = new(workers);
        TokenBatch batch = LanguageModelTests.PackedBatch(model.Config.VocabSize);
        float[] logits = new float[batch.Count * model.Config.VocabSize];
        for (int warmUp = 0; warmUp < 3; warmUp++)
        {
            model.Logits(batch, batch.Count, logits, context);
        }

        long before = GC.GetAllocatedBytesForCurrentThread();
        model.Logits(batch, batch.Count, logits, context);

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    [Theory]
    [MemberData(nameof(Variants))]
    public void The_parameter_count_is_the_sum_of_the_weights(string variant)
    {
        using LanguageModel model = new(s_variants[variant]);

        Assert.Equal(model.Parameters.Sum(parameter => parameter.Shape.Length), ModelSize.Of(model.Config).Parameters.Total);
    }

    [Fact]
    public void Capped_logits_stay_within_the_cap_and_keep_their_order()
    {
        ModelConfig config = s_variants["llama"] with { LogitScale = 40 };
        using WorkerPool workers = new(1);
        using ForwardContext context = new(workers);
        TokenBatch batch = TokenBatch.FromSequences([[1, 2, 3]]);
        float[] plain = LogitsOf(config);
        float[] capped = LogitsOf(config with { LogitCap = 5 });

        KernelCheck.Close([.. plain.Select(value => 5 * Math.Tanh(value / 5.0))], capped, 1e-6, 1e-5, "capped");

        float[] LogitsOf(ModelConfig of)
        {
            using LanguageModel model = new(of);
            WeightInit.Initialize(model, 7, WeightInitScheme.FanIn, workers);
            float[] logits = new float[3 * of.VocabSize];
            model.Logits(batch, 3, logits, context);
            return logits;
        }
    }

    private static void RequireReferenceLogits(ModelConfig config, double tolerance, string name)
    {
        using WorkerPool workers = new(2);
        using LanguageModel model = Create(config, workers);
        using ForwardContext context = new(workers);
        TokenBatch batch = LanguageModelTests.PackedBatch(config.VocabSize);
        float[] logits = new float[batch.Count * config.VocabSize];

        model.Logits(batch, batch.Count, logits, context);

        ReferenceModel reference = new(config, Weights(model));
        reference.TotalLoss(batch, Balance, 1, 0);
        KernelCheck.Close([.. reference.Logits.SelectMany(row => row)], logits, tolerance, tolerance, name);
    }

    // The same parts, with sizes that the plain reference can afford.
    private static ModelConfig Small(ModelConfig config)
    {
        MoeConfig? moe = config.Moe is { } experts
            ? experts with
            {
                NumExperts = 8,
                TopK = 3,
                IntermediateSize = 5,
                SharedIntermediateSize = experts.SharedIntermediateSize > 0 ? 7 : 0,
                NumGroups = experts.NumGroups > 1 ? 4 : 1,
                TopKGroups = experts.NumGroups > 1 ? 2 : 1,
                FirstKDenseReplace = Math.Min(1, experts.FirstKDenseReplace),
            }
            : null;
        ModelConfig small = config with
        {
            VocabSize = 19,
            HiddenSize = 16,
            IntermediateSize = 12,
            NumHiddenLayers = 3,
            NumAttentionHeads = 4,
            NumKeyValueHeads = config.NumKeyValueHeads == config.NumAttentionHeads ? 4 : 2,
            HeadDim = config.LatentAttention is null ? 6 : 10,
            LatentAttention = config.LatentAttention is { } latent
                ? latent with { QueryRank = latent.QueryRank > 0 ? 9 : 0, LatentRank = 7, NopeHeadDim = 6, RopeHeadDim = 4, ValueHeadDim = 5 }
                : null,
            Rope = config.Rope with { RotaryDim = config.Rope.RotaryDim > 0 ? 4 : 0, OriginalMaxPositions = config.Rope.OriginalMaxPositions > 0 ? 6 : 0 },
            SlidingWindow = Math.Min(3, config.SlidingWindow),
            LayerAttention = config.LayerAttention.Count > 0 ? [config.LayerAttention[0], AttentionKind.Full, config.LayerAttention[0]] : [],
            BosTokenId = null,
            EosTokenId = null,
            Moe = moe,
        };
        small.Validate(config.ModelType);
        return small;
    }

    private static Dictionary<string, double[]> Weights(LanguageModel model) => model.Parameters.ToDictionary(parameter => parameter.Name, parameter => KernelCheck.Double(parameter.Value.ToArray()));

    // Norms, biases and sinks are not left at ones and zeros, where a mistake would not show.
    private static LanguageModel Create(string variant, WorkerPool workers) => Create(s_variants[variant], workers);

    private static LanguageModel Create(ModelConfig config, WorkerPool workers)
    {
        LanguageModel model = new(config);
        WeightInit.Initialize(model, 7, WeightInitScheme.FanIn, workers);
        foreach (Parameter parameter in model.Parameters.Where(parameter => parameter.Shape.Rank == 1))
        {
            float[] noise = KernelCheck.Random(parameter.Value.Length, parameter.Name.Length, 0.3f);
            for (int i = 0; i < noise.Length; i++)
            {
                parameter.Value[i] += noise[i];
            }
        }

        return model;
    }
}
