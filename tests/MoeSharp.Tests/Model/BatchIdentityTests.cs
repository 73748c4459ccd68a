using MoeSharp.Execution;
using MoeSharp.Inference;
using MoeSharp.Kernels;
using MoeSharp.Kernels.Formats;
using MoeSharp.Kernels.Quantized;
using MoeSharp.Model;
using MoeSharp.Tensors;
using MoeSharp.Tests.Kernels;

namespace MoeSharp.Tests.Model;

/// <summary>A text has the same logits, bit for bit, alone and beside others, whole and in pieces, cached and not, on any number of threads.</summary>
public sealed class BatchIdentityTests
{
    private const int Vocab = 130;
    private const int Length = 70; // more than a page

    private static readonly ModelConfig s_plain = new()
    {
        VocabSize = Vocab,
        HiddenSize = 256,
        IntermediateSize = 256,
        NumHiddenLayers = 2,
        NumAttentionHeads = 4,
        NumKeyValueHeads = 2,
        HeadDim = 64,
        MaxPositionEmbeddings = 512,
        Moe = new MoeConfig { NumExperts = 8, TopK = 2, IntermediateSize = 256, NumSharedExperts = 1, FirstKDenseReplace = 1 },
    };

    private static readonly Dictionary<string, ModelConfig> s_models = new()
    {
        ["plain"] = s_plain,
        ["latent attention, groups, selection bias"] = s_plain with
        {
            HeadDim = 48,
            NumKeyValueHeads = 4,
            LatentAttention = new LatentAttentionConfig { QueryRank = 96, LatentRank = 64, NopeHeadDim = 32, RopeHeadDim = 16, ValueHeadDim = 32 },
            Moe = s_plain.Moe! with { Scoring = RouterScoring.Sigmoid, HasSelectionBias = true, NumGroups = 4, TopKGroups = 2, GroupScoring = GroupScoring.TopTwoSum, NormTopKProb = true },
        },
        ["attention experts"] = s_plain with { AttentionExperts = new AttentionExpertsConfig { Kind = AttentionExpertsKind.Mixture, NumExperts = 4, TopK = 2, NormTopKProb = true } },
        ["switch head"] = s_plain with { AttentionExperts = new AttentionExpertsConfig { Kind = AttentionExpertsKind.SwitchHead, NumExperts = 4, TopK = 2 } },
        ["lightning attention"] = s_plain with
        {
            NumKeyValueHeads = 4,
            BlockLayout = BlockLayout.NormedResidual,
            LayerAttention = [AttentionKind.Linear, AttentionKind.Full],
            ResidualScales = new ResidualScales { LinearAttentionAlpha = 1.5f, FullAttentionAlpha = 1.5f, FeedForwardAlpha = 1.5f },
        },
        ["sliding window, sinks, expert biases"] = s_plain with
        {
            AttentionBias = true,
            HasAttentionSinks = true,
            SlidingWindow = 9,
            LayerAttention = [AttentionKind.Sliding, AttentionKind.Full],
            Moe = new MoeConfig
            {
                NumExperts = 8,
                TopK = 2,
                IntermediateSize = 256,
                HasRouterBias = true,
                HasExpertBias = true,
                Scoring = RouterScoring.SoftmaxOverChosen,
                Activation = ExpertActivation.ClampedSwiGlu,
            },
        },
    };

    public static TheoryData<string, string> Cases => [.. from model in s_models.Keys from format in new[] { "f32", "q8_0", "q4_0", "q4_k" } select new TheoryDataRow<string, string>(model, format)];

    [Theory]
    [MemberData(nameof(Cases))]
    public void Neighbours_pieces_caches_and_threads_change_no_bit(string name, string format)
    {
        using WorkerPool workers = new(2);
        using WorkerPool single = new(1);
        using LanguageModel model = Build(s_models[name], WeightFormats.Find(format)!.Value, workers);
        int[] text = Tokens(1, Length);
        float[] alone = Whole(model, text, workers);
        Assert.All(alone, logit => Assert.True(float.IsFinite(logit)));

        KernelCheck.SameBits(alone, Whole(model, text, single), "one thread");
        KernelCheck.SameBits(alone, InPieces(model, text, [Length], [], single), "cached, one thread");
        KernelCheck.SameBits(alone, InPieces(model, text, [41, 1, 1, 1, 1, 5, 1, 13, 1, 1, 1, 3], [], workers), "pieces");
        KernelCheck.SameBits(alone, InPieces(model, text, [17, 1, 30, 1, 1, 20], [Tokens(2, 90)], workers), "one neighbour");
        KernelCheck.SameBits(alone, InPieces(model, text, [1, 1, 1, 60, 7], [Tokens(3, 5), Tokens(4, 31), text], workers), "three neighbours, one of them the same");
        KernelCheck.SameBits(alone, InPieces(model, text, [64, 1, 1, 1, 1, 1, 1], [.. Enumerable.Range(5, 15).Select(seed => Tokens(seed, 40))], single), "fifteen neighbours, one thread");
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void A_steady_decode_step_allocates_nothing(string name, string format)
    {
        using WorkerPool workers = new(1);
        using LanguageModel model = Build(s_models[name], WeightFormats.Find(format)!.Value, workers);
        using DecodingSession session = new(model, Length, 8, workers);
        session.Append(Tokens(1, 34), TestContext.Current.CancellationToken); // the table of angles now reaches 64
        for (int token = 0; token < 4; token++)
        {
            session.Append(token);
        }

        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int token = 0; token < 20; token++)
        {
            session.Append(token);
        }

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    // All rows of one pass without a cache.
    private static float[] Whole(LanguageModel model, int[] text, WorkerPool workers)
    {
        using ForwardContext context = new(workers);
        float[] logits = new float[text.Length * Vocab];
        model.Logits(TokenBatch.FromSequences([text]), text.Length, logits, context);
        return logits;
    }

    // The text in pieces, each in one pass with the neighbours' next tokens: 3, then 1 each time, before and behind it.
    private static float[] InPieces(LanguageModel model, int[] text, int[] pieces, int[][] neighbours, WorkerPool workers)
    {
        CacheLayout layout = ModelCacheLayout.Of(model.Config);
        using KeyValuePages pages = new(layout, (neighbours.Length + 1) * layout.BytesFor(3 * KeyValuePages.PageTokens));
        using CachedSequence own = new(pages);
        CachedSequence[] others = [.. neighbours.Select(_ => new CachedSequence(pages))];
        using ForwardContext context = new(workers);
        float[] result = new float[text.Length * Vocab];
        TokenBatch batch = new();
        foreach (int piece in pieces)
        {
            List<(CachedSequence Sequence, int[] Ids)> parts = [];
            for (int index = 0; index < others.Length; index++)
            {
                int begin = others[index].Length;
                int count = Math.Min(begin == 0 ? 3 : 1, neighbours[index].Length - begin);
                if (count > 0)
                {
                    parts.Add((others[index], neighbours[index][begin..(begin + count)]));
                }
            }

            parts.Insert(parts.Count / 2, (own, text[own.Length..(own.Length + piece)]));
            batch.Clear();
            int row = 0;
            foreach ((CachedSequence sequence, int[] ids) in parts)
            {
                row = sequence == own ? batch.Count : row;
                sequence.Reserve(ids.Length);
                batch.AddContinuation(sequence, ids);
            }

            context.Sequences = [.. parts.Select(part => part.Sequence)];
            float[] logits = new float[batch.Count * Vocab];
            model.Logits(batch, batch.Count, logits, context);
            logits.AsSpan(row * Vocab, piece * Vocab).CopyTo(result.AsSpan(own.Length * Vocab));
            parts.ForEach(part => part.Sequence.Advance(part.Ids));
        }

        Assert.Equal(text.Length, own.Length);
        Array.ForEach(others, other => other.Dispose());
        return result;
    }

    private static LanguageModel Build(ModelConfig config, WeightFormat format, WorkerPool workers)
    {
        config.Validate();
        LanguageModel model = new(config);
        WeightInit.Initialize(model, 7, WeightInitScheme.FanIn, workers);
        WeightPlan plan = format == WeightFormat.F32 ? WeightPlan.Trainable : WeightPlan.Uniform(format);
        foreach (Parameter parameter in model.Parameters)
        {
            if (parameter.Name.EndsWith("bias", StringComparison.Ordinal) || parameter.Name.EndsWith("sinks", StringComparison.Ordinal))
            {
                NormalFill.Fill(workers, (ulong)parameter.Name.Length, 0.3f, parameter.Value);
            }

            if (plan.Find(parameter.Name, parameter.Shape) is { } parts)
            {
                parameter.Pack(Packed(parameter, Assert.Single(parts)));
            }
        }

        return model;
    }

    private static PackedMatrix Packed(Parameter parameter, PackedPart part)
    {
        int columns = parameter.Shape[parameter.Shape.Rank - 1];
        int groups = parameter.Shape.Rank == 3 ? parameter.Shape[0] : 1;
        PackedMatrix matrix = new(groups, columns, part);
        byte[] blocks = new byte[part.Format.RowBytes((long)part.Rows * columns)];
        for (int group = 0; group < groups; group++)
        {
            BlockEncoder.Encode(part.Format, parameter.Value.Slice(group * part.Rows * columns, part.Rows * columns), [], blocks);
            matrix.SetRows(group, 0, part.Rows, blocks);
        }

        return matrix;
    }

    private static int[] Tokens(int seed, int count)
    {
        Random random = new(seed);
        return [.. Enumerable.Range(0, count).Select(_ => random.Next(Vocab))];
    }
}
