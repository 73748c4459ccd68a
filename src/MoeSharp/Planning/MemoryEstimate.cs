using MoeSharp.Checkpoints;
using MoeSharp.Kernels;
using MoeSharp.Kernels.Formats;
using MoeSharp.Kernels.Quantized;
using MoeSharp.Model;

namespace MoeSharp.Planning;

/// <summary>Memory of the weights held in one format.</summary>
/// <param name="Format">Format.</param>
/// <param name="Weights">Numbers.</param>
/// <param name="Bytes">Memory.</param>
public readonly record struct FormatShare(WeightFormat Format, long Weights, long Bytes);

/// <summary>What a model will need, told before it is loaded.</summary>
/// <param name="Formats">Weights by format, largest first.</param>
/// <param name="KeyValueBytes">Cache of keys and values for the context, and the states of one text.</param>
/// <param name="ActivationBytes">Memory of a pass over one chunk of a prompt, roughly.</param>
/// <param name="BytesPerToken">Bytes of weights that one decoded token reads: everything but the embedding table and the experts that the token does not use.</param>
public sealed record MemoryEstimate(IReadOnlyList<FormatShare> Formats, long KeyValueBytes, long ActivationBytes, long BytesPerToken)
{
    /// <summary>Rows of a prompt computed at once.</summary>
    private const int ChunkTokens = 512;

    /// <summary>Estimates a model's needs.</summary>
    /// <param name="config">Architecture.</param>
    /// <param name="plan">How the weights will be held.</param>
    /// <param name="context">Tokens in the cache.</param>
    /// <param name="cache">How keys and values are kept.</param>
    public static MemoryEstimate Of(ModelConfig config, IReadOnlyList<PlannedWeight> plan, long context, CacheFormat cache = CacheFormat.Float32)
    {
        Dictionary<WeightFormat, FormatShare> shares = [];
        long perToken = 0;
        foreach (PlannedWeight weight in plan)
        {
            if (weight.IsPacked)
            {
                foreach (PackedPart part in weight.Parts)
                {
                    long weights = (long)weight.Groups * part.Rows * weight.Columns;
                    Add(shares, part.Format, weights, weight.BytesOf(part));
                }
            }
            else
            {
                Add(shares, WeightFormat.F32, weight.Shape.Length, weight.Bytes);
            }

            perToken += ReadPerToken(config, weight);
        }

        long cachePerToken = ModelSize.Of(config).Memory(1).KeyValueCachePerToken / (cache == CacheFormat.BFloat16 ? 2 : 1);
        return new MemoryEstimate([.. shares.Values.OrderByDescending(share => share.Bytes)], checked((cachePerToken * context) + ModelCacheLayout.Of(config, cache).StateBytes), Activations(config, context), perToken);
    }

    /// <summary>Memory of the weights.</summary>
    public long WeightBytes => Formats.Sum(share => share.Bytes);

    /// <summary>All together.</summary>
    public long TotalBytes => WeightBytes + KeyValueBytes + ActivationBytes;

    /// <summary>Tokens per second that reading the weights allows at most.</summary>
    /// <param name="readGbps">Read bandwidth of memory, 10^9 bytes per second.</param>
    public double CeilingTokensPerSecond(double readGbps) => readGbps * 1e9 / Math.Max(BytesPerToken, 1);

    private static void Add(Dictionary<WeightFormat, FormatShare> shares, WeightFormat format, long weights, long bytes)
    {
        FormatShare share = shares.GetValueOrDefault(format, new FormatShare(format, 0, 0));
        shares[format] = share with { Weights = share.Weights + weights, Bytes = share.Bytes + bytes };
    }

    private static long ReadPerToken(ModelConfig config, PlannedWeight weight)
    {
        if (weight.Name == "embedding" && !config.TieWordEmbeddings)
        {
            return weight.Bytes / Math.Max(config.VocabSize, 1);
        }

        bool isAttentionExpert = weight.Shape.Rank == 3 && weight.Name.Contains(".attention.", StringComparison.Ordinal);
        if (config.AttentionExperts is { } attention && isAttentionExpert)
        {
            return weight.Bytes * attention.TopK / attention.NumExperts;
        }

        return config.Moe is { } moe && weight.Name.Contains(".moe.experts.", StringComparison.Ordinal) ? weight.Bytes * moe.TopK / moe.NumExperts : weight.Bytes;
    }

    // The output of every attention expert that a token uses, before they are added.
    private static long AttentionExpertRows(ModelConfig config) => config.AttentionExperts switch
    {
        { Kind: AttentionExpertsKind.Mixture } mixture => (long)mixture.TopK * config.HiddenSize,
        { } heads => (long)heads.TopK * config.NumAttentionHeads * config.HiddenSize,
        null => 0,
    };

    // Rows of the widest operations that are alive together: residual stream and norms, attention, the experts' inner rows, and one row of logits.
    private static long Activations(ModelConfig config, long context)
    {
        long tokens = Math.Min(ChunkTokens, Math.Max(context, 1));
        long sets = config.AttentionExperts?.TopK ?? 1;
        long attention = (4L * sets * config.NumAttentionHeads * config.HeadDim) + AttentionExpertRows(config);
        long experts = config.Moe is { } moe ? moe.TopK * ((3L * moe.IntermediateSize) + (2L * config.HiddenSize)) : 0;
        long floats = (6L * config.HiddenSize) + attention + Math.Max(3L * config.IntermediateSize, experts);
        return checked(((tokens * floats) + config.VocabSize) * sizeof(float));
    }
}
