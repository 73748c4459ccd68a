using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Tensors;
using MoeSharp.Tests.Reference;

namespace MoeSharp.Tests.Model;

public sealed class LanguageModelTests
{
    private static readonly BalanceConfig Balance = new() { ExpertAlpha = 0.1f, DeviceAlpha = 0.2f, NumDeviceGroups = 3, ZLossAlpha = 0.05f };

    public static TheoryData<string> Variants => ["plain", "normalised_scaled", "grouped_query_bias", "tied_no_shared", "top_1", "all_experts", "dense", "batch_scope"];

    [Theory]
    [MemberData(nameof(Variants))]
    public void Loss_and_every_gradient_equal_the_double_precision_reference(string variant)
    {
        ModelConfig config = ConfigOf(variant);
        BalanceConfig balance = variant == "batch_scope" ? Balance with { Scope = BalanceScope.MicroBatch } : Balance;
        using WorkerPool workers = new(2);
        using LanguageModel model = Create(config, workers);
        using ForwardContext context = new(workers);
        TokenBatch batch = PackedBatch(config.VocabSize);
        double tokenScale = 1.0 / batch.CountTargets();
        foreach (Parameter parameter in model.Parameters)
        {
            parameter.AllocateGradient();
        }

        double loss = model.ForwardBackward(batch, balance, (float)tokenScale, 0.5f, context);

        Dictionary<string, double[]> weights = model.Parameters.ToDictionary(p => p.Name, p => p.Value.ToArray().Select(v => (double)v).ToArray());
        ReferenceModel reference = new(config, weights);
        double expectedLoss = reference.TotalLoss(batch, balance, 1.0, 0.0);
        Assert.True(Math.Abs(loss - expectedLoss) <= 1e-5 * Math.Abs(expectedLoss), $"loss {loss}, expected {expectedLoss}");
        List<int[]> choices = [.. reference.ExpertIds];
        foreach (Parameter parameter in model.Parameters)
        {
            AssertGradient(parameter, reference, weights[parameter.Name], choices, () => reference.TotalLoss(batch, balance, tokenScale, 0.5));
        }
    }

    [Fact]
    public void Micro_batches_add_their_gradients()
    {
        ModelConfig config = ConfigOf("plain");
        using WorkerPool workers = new(1);
        using LanguageModel model = Create(config, workers);
        using ForwardContext context = new(workers);
        TokenBatch batch = PackedBatch(config.VocabSize);
        model.Parameters.ToList().ForEach(p => p.AllocateGradient());
        model.ForwardBackward(batch, Balance, 0.1f, 1f, context);
        float[] once = model.Parameters.SelectMany(p => p.Gradient.ToArray()).ToArray();
        model.ForwardBackward(batch, Balance, 0.1f, 1f, context);
        float[] twice = model.Parameters.SelectMany(p => p.Gradient.ToArray()).ToArray();
        for (int i = 0; i < once.Length; i++)
        {
            Assert.True(Math.Abs(twice[i] - (2 * once[i])) <= 1e-5f * Math.Max(1f, Math.Abs(once[i])), $"element {i}: {once[i]}, then {twice[i]}");
        }
    }

    [Fact]
    public void One_worker_and_three_give_the_same_bits()
    {
        ModelConfig config = ConfigOf("plain");
        float[] first = GradientsWith(1);
        float[] second = GradientsWith(3);
        Assert.True(first.AsSpan().SequenceEqual(second));

        float[] GradientsWith(int count)
        {
            using WorkerPool workers = new(count);
            using LanguageModel model = Create(config, workers);
            using ForwardContext context = new(workers);
            model.Parameters.ToList().ForEach(p => p.AllocateGradient());
            model.ForwardBackward(PackedBatch(config.VocabSize), Balance, 0.1f, 1f, context);
            return model.Parameters.SelectMany(p => p.Gradient.ToArray()).ToArray();
        }
    }

    [Fact]
    public void A_steady_pass_allocates_nothing()
    {
        ModelConfig config = ConfigOf("plain");
        using WorkerPool workers = new(2);
        using LanguageModel model = Create(config, workers);
        using ForwardContext context = new(workers);
        TokenBatch batch = PackedBatch(config.VocabSize);
        model.Parameters.ToList().ForEach(p => p.AllocateGradient());
        for (int warmUp = 0; warmUp < 4; warmUp++)
        {
            model.ForwardBackward(batch, Balance, 0.1f, 1f, context);
        }

        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int step = 0; step < 5; step++)
        {
            model.ForwardBackward(batch, Balance, 0.1f, 1f, context);
        }

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    [Fact]
    public void A_documents_logits_do_not_depend_on_its_neighbours()
    {
        ModelConfig config = ConfigOf("plain");
        using WorkerPool workers = new(2);
        using LanguageModel model = Create(config, workers);
        using ForwardContext context = new(workers);
        TokenBatch batch = PackedBatch(config.VocabSize);
        float[] together = new float[batch.Count * config.VocabSize];
        model.Logits(batch, batch.Count, together, context);
        foreach (AttentionSegment segment in batch.Segments.ToArray())
        {
            TokenBatch alone = TokenBatch.FromSequences([batch.TokenIds.Slice(segment.QueryBegin, segment.QueryCount).ToArray()]);
            float[] logits = new float[alone.Count * config.VocabSize];
            model.Logits(alone, alone.Count, logits, context);
            Assert.True(logits.AsSpan().SequenceEqual(together.AsSpan(segment.QueryBegin * config.VocabSize, logits.Length)), $"segment at row {segment.QueryBegin}");
        }
    }

    [Theory]
    [InlineData("plain")]
    [InlineData("grouped_query_bias")]
    [InlineData("dense")]
    public void Cached_decoding_gives_the_bits_of_the_full_forward(string variant)
    {
        ModelConfig config = ConfigOf(variant);
        using WorkerPool workers = new(2);
        using LanguageModel model = Create(config, workers);
        using ForwardContext context = new(workers);
        int[] tokens = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9];
        TokenBatch full = TokenBatch.FromSequences([tokens]);
        float[] expected = new float[tokens.Length * config.VocabSize];
        model.Logits(full, tokens.Length, expected, context);

        using KeyValuePages pages = KeyValuePages.ForOneSequence(ModelCacheLayout.Of(config), tokens.Length);
        using CachedSequence sequence = new(pages);
        context.Sequences = [sequence];
        TokenBatch step = new();
        foreach (int count in (int[])[5, 1, 1, 3, 1, 1, 1]) // a prompt, then single tokens and a chunk
        {
            ReadOnlySpan<int> ids = tokens.AsSpan(sequence.Length, count);
            sequence.Reserve(count);
            step.Clear();
            step.AddContinuation(sequence, ids);
            float[] logits = new float[count * config.VocabSize];
            model.Logits(step, count, logits, context);
            Assert.True(logits.AsSpan().SequenceEqual(expected.AsSpan(sequence.Length * config.VocabSize, logits.Length)), $"tokens from {sequence.Length}");
            sequence.Advance(ids);
        }
    }

    [Fact]
    public void A_token_outside_the_vocabulary_is_refused_by_name()
    {
        ModelConfig config = ConfigOf("plain");
        using WorkerPool workers = new(1);
        using LanguageModel model = Create(config, workers);
        using ForwardContext context = new(workers);
        ConfigurationException error = Assert.Throws<ConfigurationException>(() => model.Loss(TokenBatch.FromSequences([[config.VocabSize, 2, 1]]), new float[3], context));
        Assert.Contains($"token {config.VocabSize} at row 0", error.Message, StringComparison.Ordinal);
    }

    internal static void AssertGradient(Parameter parameter, ReferenceModel reference, double[] weights, List<int[]> choices, Func<double> loss, int trials = 2)
    {
        // The derivative along a random direction: sum of gradient * direction = (L(w + h d) - L(w - h d)) / 2h.
        const double Step = 1e-5;
        Random random = new(parameter.Name.Length);
        double[] original = (double[])weights.Clone();
        double[] gradient = parameter.Gradient.ToArray().Select(v => (double)v).ToArray();
        double norm = Math.Sqrt(gradient.Sum(g => g * g));
        for (int trial = 0; trial < trials; trial++)
        {
            double[] direction = original.Select(_ => (random.NextDouble() * 2) - 1).ToArray();
            double length = Math.Sqrt(direction.Sum(d => d * d));
            double expected = (At(Step) - At(-Step)) / (2 * Step);
            double actual = gradient.Zip(direction, (g, d) => g * d).Sum() / length;
            Assert.True(Math.Abs(actual - expected) <= (1e-4 * norm) + 1e-7, $"{parameter.Name}: slope {actual}, expected {expected}, norm {norm}");

            double At(double h)
            {
                for (int i = 0; i < original.Length; i++)
                {
                    weights[i] = original[i] + (h * direction[i] / length);
                }

                double value = loss();
                Assert.True(choices.Zip(reference.ExpertIds, (a, b) => a.Order().SequenceEqual(b.Order())).All(same => same), "a routing choice flipped: the finite difference is not valid");
                original.CopyTo(weights, 0);
                return value;
            }
        }
    }

    private static LanguageModel Create(ModelConfig config, WorkerPool workers)
    {
        LanguageModel model = new(config);
        WeightInit.Initialize(model, 7, WeightInitScheme.FanIn, workers);
        return model;
    }

    // Two rows of twelve tokens, cut into documents of unequal length, with some targets missing.
    internal static TokenBatch PackedBatch(int vocab)
    {
        TokenBatch batch = new();
        batch.Resize(24, 12);
        for (int row = 0; row < 24; row++)
        {
            batch.TokenIds[row] = (row * 7 + (row * row)) % vocab;
            batch.Targets[row] = row % 5 == 4 ? -1 : (row * 3) % vocab;
        }

        batch.AddSegment(new AttentionSegment(0, 12, 0, 12), 0);
        batch.AddSegment(new AttentionSegment(12, 5, 12, 5), 0);
        batch.AddSegment(new AttentionSegment(17, 7, 17, 7), 0);
        return batch;
    }

    private static ModelConfig ConfigOf(string variant)
    {
        MoeConfig moe = new() { NumExperts = 6, TopK = 2, IntermediateSize = 5, NumSharedExperts = 2, FirstKDenseReplace = 1 };
        ModelConfig plain = new()
        {
            VocabSize = 19,
            HiddenSize = 16,
            IntermediateSize = 20,
            NumHiddenLayers = 3,
            NumAttentionHeads = 4,
            NumKeyValueHeads = 4,
            HeadDim = 4,
            MaxPositionEmbeddings = 64,
            Moe = moe,
        };
        return variant switch
        {
            "normalised_scaled" => plain with { Moe = moe with { NormTopKProb = true, RoutedScalingFactor = 2.5f, TopK = 3 } },
            "grouped_query_bias" => plain with { NumKeyValueHeads = 2, HeadDim = 6, AttentionBias = true },
            "tied_no_shared" => plain with { TieWordEmbeddings = true, Moe = moe with { NumSharedExperts = 0, FirstKDenseReplace = 0 } },
            "top_1" => plain with { Moe = moe with { TopK = 1 } },
            "all_experts" => plain with { Moe = moe with { TopK = 6 } },
            "dense" => plain with { Moe = null },
            _ => plain,
        };
    }
}
