namespace MoeSharp.Model;

/// <summary>Weights of one decoder layer, counted from its configuration.</summary>
/// <param name="config">Architecture.</param>
/// <param name="layer">Index of the layer.</param>
internal readonly struct LayerSize(ModelConfig config, int layer)
{
    private long Hidden => config.HiddenSize;

    private MoeConfig? Moe => config.IsMoeLayer(layer) ? config.Moe : null;

    private bool HasParallelFeedForward => Moe is not null && config.BlockLayout == BlockLayout.ParallelExperts;

    // Rows of the joint query, key and value projection.
    private long QueryKeyValueRows => (config.NumAttentionHeads + (2L * config.NumKeyValueHeads)) * config.HeadDim;

    private long QueryRows => (long)config.NumAttentionHeads * config.HeadDim;

    private long KeyRows => (long)config.NumKeyValueHeads * config.HeadDim;

    // Sets of query heads that attend for one token.
    private long HeadSets => config.AttentionExperts is { Kind: AttentionExpertsKind.Mixture } experts ? experts.TopK : 1;

    /// <summary>Width of the queries of one token.</summary>
    public long QueryWidth => HeadSets * QueryRows;

    /// <summary>Width of the values that the query heads of one token collect.</summary>
    public long ValueWidth => HeadSets * config.NumAttentionHeads * (config.LatentAttention?.ValueHeadDim ?? config.HeadDim);

    /// <summary>Training FLOPs of one pair of a query's and a key's position: two for each product, three times for forward and backward.</summary>
    public double PairFlops => 6.0 * (QueryWidth + ValueWidth);

    /// <summary>Weights of the matrices that multiply every token in attention.</summary>
    public long AttentionMatrices
    {
        get
        {
            checked
            {
                if (config.AttentionOf(layer) == AttentionKind.Linear)
                {
                    return 5 * QueryRows * Hidden; // queries, keys, values, output gate, output
                }

                if (config.LatentAttention is { } latent)
                {
                    long queries = latent.QueryRank > 0 ? latent.QueryRank * (Hidden + QueryRows) : QueryRows * Hidden;
                    long down = ((long)latent.LatentRank + latent.RopeHeadDim) * Hidden;
                    long up = config.NumAttentionHeads * ((long)latent.NopeHeadDim + latent.ValueHeadDim) * latent.LatentRank;
                    return queries + down + up + (Hidden * ValueWidth);
                }

                return config.AttentionExperts switch
                {
                    { Kind: AttentionExpertsKind.Mixture } => (2 * KeyRows * Hidden) + AttentionRouterMatrices,
                    { } => ((QueryRows + KeyRows) * Hidden) + AttentionRouterMatrices,
                    null => (QueryKeyValueRows + QueryRows) * Hidden,
                };
            }
        }
    }

    /// <summary>Weights of one attention expert, of <see cref="AttentionExpertsKind.SwitchHead"/> over all heads; 0 where attention has none.</summary>
    public long AttentionExpertMatrices => config.AttentionExperts switch
    {
        { Kind: AttentionExpertsKind.Mixture } => checked(2 * QueryRows * Hidden),
        { } => checked((QueryRows + KeyRows) * Hidden),
        null => 0,
    };

    /// <summary>Attention experts that a token uses.</summary>
    public int AttentionTopK => config.AttentionExperts?.TopK ?? 0;

    /// <summary>Attention experts.</summary>
    public int NumAttentionExperts => config.AttentionExperts?.NumExperts ?? 0;

    /// <summary>Weights of the matrices that multiply every token in the feed-forward: a dense one, the shared one with its gate, the router.</summary>
    public long SharedMatrices
    {
        get
        {
            checked
            {
                if (Moe is not { } moe)
                {
                    return 3 * Hidden * config.IntermediateSize;
                }

                long parallel = HasParallelFeedForward ? 3 * Hidden * Hidden : 0;
                return RouterMatrices + parallel + (3 * Hidden * moe.SharedWidth) + (moe.HasSharedExpertGate ? Hidden : 0);
            }
        }
    }

    /// <summary>Weights of the routers of attention experts; 0 where attention has none.</summary>
    public long AttentionRouterMatrices => config.AttentionExperts switch
    {
        { Kind: AttentionExpertsKind.Mixture } mixture => mixture.NumExperts * Hidden,
        { } heads => ((long)config.NumAttentionHeads + config.NumKeyValueHeads) * heads.NumExperts * Hidden,
        null => 0,
    };

    /// <summary>Weights of the router's matrices; 0 in a dense layer.</summary>
    public long RouterMatrices => Moe is { } moe ? RouterWeights(moe, isProduct: true) : 0;

    /// <summary>Weights of the matrices of one routed expert; 0 in a dense layer.</summary>
    public long ExpertMatrices => Moe is { } moe ? checked(3 * Hidden * moe.IntermediateSize) : 0;

    /// <summary>Routed experts that a token uses.</summary>
    public int TopK => Moe?.TopK ?? 0;

    /// <summary>Routed experts.</summary>
    public int NumExperts => Moe?.NumExperts ?? 0;

    /// <summary>Norms, biases, sinks and a router's own tables, which take no products, without what the routed experts have.</summary>
    public long Vectors
    {
        get
        {
            long norms = Hidden * (config.BlockLayout == BlockLayout.SandwichNorm ? 4 : HasParallelFeedForward ? 3 : 2);
            long router = Moe is { } moe ? (moe.NumExperts * ((moe.HasSelectionBias ? 1L : 0) + (moe.HasRouterBias ? 1 : 0))) + RouterWeights(moe, isProduct: false) : 0;
            return norms + router + (Moe is { HasOutputBias: true } ? Hidden : 0) + AttentionVectors;
        }
    }

    /// <summary>Biases of one routed expert.</summary>
    public long ExpertVectors => Moe is { HasExpertBias: true } moe ? (2L * moe.IntermediateSize) + Hidden : 0;

    /// <summary>Floats that the cache keeps of one token: the latent with its rotated key, or keys and values; a linear layer keeps one state for all tokens.</summary>
    public long CachedFloats => config.AttentionOf(layer) == AttentionKind.Linear ? 0
        : config.LatentAttention is { } latent ? latent.LatentRank + latent.RopeHeadDim
        : 2L * config.NumKeyValueHeads * config.HeadDim;

    /// <summary>Intermediate width that one token passes through.</summary>
    public double ActivatedWidth => Moe is { } moe
        ? ((double)moe.TopK * moe.IntermediateSize) + moe.SharedWidth + (HasParallelFeedForward ? Hidden : 0)
        : config.IntermediateSize;

    private long RouterWeights(MoeConfig moe, bool isProduct) => moe.Router.Weights(config, moe).Where(weight => weight.IsProduct == isProduct).Sum(weight => weight.Shape.Length);

    private long AttentionVectors
    {
        get
        {
            if (config.AttentionOf(layer) == AttentionKind.Linear)
            {
                return QueryRows; // the norm of its output
            }

            long output = config.AttentionOutputBias ? Hidden : 0;
            if (config.LatentAttention is { } latent)
            {
                long biases = config.AttentionBias ? (long)latent.QueryRank + latent.LatentRank + latent.RopeHeadDim : 0;
                return output + biases + latent.QueryRank + latent.LatentRank;
            }

            long norms = config.QueryKeyNorm switch
            {
                QueryKeyNorm.PerHead => 2L * config.HeadDim,
                QueryKeyNorm.WholeProjection => ((long)config.NumAttentionHeads + config.NumKeyValueHeads) * config.HeadDim,
                _ => 0,
            };
            return output + norms + (config.AttentionBias ? QueryKeyValueRows : 0) + (config.HasAttentionSinks ? config.NumAttentionHeads : 0);
        }
    }
}
