namespace MoeSharp.Model;

/// <summary>Parameter counts of a model; biases, norms and routers included.</summary>
/// <param name="Total">All weights.</param>
/// <param name="Activated">Weights that one token uses: top-k experts instead of all.</param>
/// <param name="ActivatedWithoutEmbedding">The same without the input embedding, of which a token reads one row; a tied embedding stays, it is the head.</param>
public readonly record struct ParameterCounts(long Total, long Activated, long ActivatedWithoutEmbedding);

/// <summary>Training FLOPs (forward and backward, no recomputation) of one sequence.</summary>
/// <param name="SequenceLength">Tokens of the sequence.</param>
/// <param name="Paper">Convention of the DeepSeekMoE paper.</param>
/// <param name="Actual">The true architecture, attention over the full square of positions as the paper counts it.</param>
/// <param name="ActualCausal">The true architecture, attention over the causal half only: what this engine computes.</param>
public readonly record struct ModelFlops(int SequenceLength, double Paper, double Actual, double ActualCausal);

/// <summary>Bytes that a model needs.</summary>
/// <param name="WeightsFloat32">Weights as float32, the engine's own format.</param>
/// <param name="WeightsBFloat16">Weights as bfloat16, as released checkpoints store them.</param>
/// <param name="KeyValueCachePerToken">Keys and values of one token in all layers, float32.</param>
/// <param name="TrainingWeights">Weights, gradients and two AdamW moments, float32.</param>
/// <param name="TrainingActivations">Estimate of what a backward pass keeps for the sequences of one micro-batch.</param>
public readonly record struct ModelMemory(long WeightsFloat32, long WeightsBFloat16, long KeyValueCachePerToken, long TrainingWeights, long TrainingActivations)
{
    /// <summary>Weights, gradients, moments and activations.</summary>
    public long Training => TrainingWeights + TrainingActivations;
}

/// <summary>The only place with formulas for parameters, FLOPs and bytes of a model.</summary>
public sealed class ModelSize
{
    private readonly ModelConfig _config;

    private ModelSize(ModelConfig config)
    {
        _config = config;
        Parameters = CountParameters();
    }

    /// <summary>Sizes of a model.</summary>
    public static ModelSize Of(ModelConfig config) => new(config);

    /// <summary>About how many parameters there are; unlike the exact count it cannot overflow.</summary>
    internal static double Estimate(ModelConfig config)
    {
        MoeConfig? moe = config.Moe;
        double width = config.IntermediateSize + ((moe?.NumExperts ?? 0.0) * (moe?.IntermediateSize ?? 0)) + (moe?.SharedIntermediateSize ?? 0) + ((double)(moe?.NumSharedExperts ?? 0) * (moe?.IntermediateSize ?? 0));
        double attention = ((3.0 * config.NumAttentionHeads) + (2.0 * config.NumKeyValueHeads)) * (config.HeadDim + (config.LatentAttention?.ValueHeadDim ?? 0.0));
        attention *= 1.0 + (config.AttentionExperts?.NumExperts ?? 0);
        double latent = config.LatentAttention is { } mla ? (double)mla.QueryRank + mla.LatentRank + mla.RopeHeadDim : 0;
        double router = moe is { HasRouterNetwork: true } ? (double)moe.NumExperts * moe.NumExperts : 0;
        double layer = (config.HiddenSize * (attention + latent + (3 * width))) + (latent * attention) + router;
        return (config.HiddenSize * 2.0 * config.VocabSize) + (config.NumHiddenLayers * layer);
    }

    /// <summary>Parameter counts.</summary>
    public ParameterCounts Parameters { get; }

    /// <summary>Weights of the routers' matrices in all layers, of feed-forward and attention experts; every token uses them.</summary>
    public long RouterParameters
    {
        get
        {
            long sum = 0;
            for (int layer = 0; layer < _config.NumHiddenLayers; layer++)
            {
                sum = checked(sum + new LayerSize(_config, layer).RouterMatrices + new LayerSize(_config, layer).AttentionRouterMatrices);
            }

            return sum;
        }
    }

    /// <summary>Training FLOPs (forward and backward) of one token in all matrices that multiply it, without attention.</summary>
    public double TrainingFlopsPerToken => 6 * (SumOverLayers(layer =>
        (double)layer.AttentionMatrices + layer.SharedMatrices + ((double)layer.AttentionTopK * layer.AttentionExpertMatrices) + ((double)layer.TopK * layer.ExpertMatrices)) + ((double)_config.VocabSize * _config.HiddenSize));

    /// <summary>Training FLOPs (forward and backward) of one pair of a query and a key that it sees, in all heads and layers.</summary>
    public double TrainingFlopsPerAttentionPair => SumOverLayers(layer => layer.PairFlops);

    /// <summary>Training FLOPs of one sequence.</summary>
    /// <param name="sequenceLength">T, tokens of the sequence.</param>
    /// <remarks>
    /// Paper convention, which reproduces the published tables: F = 6 T (L 4 d^2 + sum over layers of 8 d^2 r + V d) + 12 L d T^2, with d the hidden size,
    /// V the vocabulary and r the activated feed-forward in units of 8 d^2 (published multiples for presets; true widths otherwise). It counts attention as
    /// if keys and values had all heads, and neither routers nor the embedding. The actual count uses true widths, grouped heads and routers.
    /// </remarks>
    public ModelFlops Flops(int sequenceLength)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(sequenceLength, 1);
        double tokens = sequenceLength;
        double layers = _config.NumHiddenLayers;
        double hidden = _config.HiddenSize;
        double head = (double)_config.VocabSize * hidden;

        double paperFeedForward = ModelPresets.PaperFfnMultiple(_config) is { } multiple
            ? layers * multiple * 8 * hidden * hidden
            : SumOverLayers(layer => 3.0 * hidden * layer.ActivatedWidth);
        double paper = 6 * tokens * ((layers * 4 * hidden * hidden) + paperFeedForward + head) + (12 * layers * hidden * tokens * tokens);

        double matrices = tokens * TrainingFlopsPerToken;
        double attentionSquare = 0;
        double attentionCausal = 0;
        for (int layer = 0; layer < _config.NumHiddenLayers; layer++)
        {
            double perPair = new LayerSize(_config, layer).PairFlops;
            (double square, double causal) = Pairs(_config.AttentionOf(layer), tokens);
            attentionSquare += perPair * square;
            attentionCausal += perPair * causal;
        }

        return new ModelFlops(
            sequenceLength,
            paper,
            matrices + attentionSquare,
            matrices + attentionCausal);
    }

    // Pairs of positions that a layer multiplies: the full square and the causal half; a window bounds both. Linear attention multiplies each token with a state of head_dim rows.
    private (double Square, double Causal) Pairs(AttentionKind kind, double tokens)
    {
        double window = kind == AttentionKind.Sliding ? Math.Min(tokens, _config.SlidingWindow) : tokens;
        return kind == AttentionKind.Linear
            ? (tokens * _config.HeadDim, tokens * _config.HeadDim)
            : (tokens * window, (window * (window + 1) / 2) + ((tokens - window) * window));
    }

    /// <summary>Bytes for weights, cache and training.</summary>
    /// <param name="tokensInFlight">Tokens of one micro-batch: sequences times sequence length.</param>
    public ModelMemory Memory(long tokensInFlight)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(tokensInFlight, 1);
        checked
        {
            const int FloatBytes = sizeof(float);
            long cachePerToken = (long)SumOverLayers(layer => layer.CachedFloats) * FloatBytes;
            return new ModelMemory(
                Parameters.Total * FloatBytes,
                Parameters.Total * 2,
                cachePerToken,
                Parameters.Total * FloatBytes * 4,
                tokensInFlight * ActivationFloatsPerToken() * FloatBytes);
        }
    }

    private ParameterCounts CountParameters()
    {
        checked
        {
            long hidden = _config.HiddenSize;
            long embedding = _config.VocabSize * hidden;
            long total = embedding + hidden + (_config.TieWordEmbeddings ? 0 : embedding); // final norm
            long activated = total;
            for (int index = 0; index < _config.NumHiddenLayers; index++)
            {
                LayerSize layer = new(_config, index);
                long shared = layer.AttentionMatrices + layer.SharedMatrices + layer.Vectors;
                long expert = layer.ExpertMatrices + layer.ExpertVectors;
                activated += shared + (layer.AttentionTopK * layer.AttentionExpertMatrices) + (layer.TopK * expert);
                total += shared + (layer.NumAttentionExperts * layer.AttentionExpertMatrices) + (layer.NumExperts * expert);
            }

            return new ParameterCounts(total, activated, _config.TieWordEmbeddings ? activated : activated - embedding);
        }
    }

    // Rows of attention experts: what they compute and what they read, and a row of the residual stream for every slot.
    private long AttentionExpertFloats(LayerSize layer) => _config.AttentionExperts switch
    {
        { Kind: AttentionExpertsKind.Mixture } mixture => layer.QueryWidth + layer.ValueWidth + ((long)mixture.TopK * _config.HiddenSize),
        { } heads => (long)heads.TopK * (((long)(_config.NumAttentionHeads + _config.NumKeyValueHeads) * _config.HeadDim) + ((long)_config.NumAttentionHeads * _config.HiddenSize)),
        null => 0,
    };

    private double SumOverLayers(Func<LayerSize, double> value)
    {
        double sum = 0;
        for (int layer = 0; layer < _config.NumHiddenLayers; layer++)
        {
            sum += value(new LayerSize(_config, layer));
        }

        return sum;
    }

    // Per layer: residual stream twice, both norms' outputs, q, k, v and the attention output; for the feed-forward gate, up and their product, and for every
    // routed slot its input and output rows. Once: the final residual and norm. Logits are recomputed in blocks and not kept.
    private long ActivationFloatsPerToken()
    {
        checked
        {
            long hidden = _config.HiddenSize;
            long perToken = 2 * hidden;
            for (int index = 0; index < _config.NumHiddenLayers; index++)
            {
                LayerSize layer = new(_config, index);
                long queries = layer.QueryWidth + (2L * _config.NumKeyValueHeads * _config.HeadDim);
                long attention = (4 * hidden) + queries + layer.ValueWidth + AttentionExpertFloats(layer);
                long feedForward = 3 * (long)layer.ActivatedWidth;
                long slots = (2 * hidden * layer.TopK) + layer.NumExperts;
                perToken += attention + feedForward + slots;
            }

            return perToken;
        }
    }
}
