namespace MoeSharp.Model;

/// <summary>Which parameters of a mixture a dense model has as many of.</summary>
public enum DenseMatch
{
    /// <summary>Those that one token uses: the dense model that costs as much.</summary>
    Activated,

    /// <summary>All: the dense model that holds as much.</summary>
    Total,
}

/// <summary>The dense model that a mixture is compared with.</summary>
/// <param name="Config">The dense model.</param>
/// <param name="Wanted">Parameters of the mixture that were to be matched, routers left out: they choose, they hold no knowledge (as DeepSeekMoE counts).</param>
/// <param name="Difference">Parameters of the dense model beyond these; widths are whole numbers, and the model has one for all layers.</param>
/// <param name="RouterParameters">Parameters of the mixture's routers.</param>
public sealed record DenseBaseline(ModelConfig Config, long Wanted, long Difference, long RouterParameters)
{
    // Families whose models have a dense relative that is written and read.
    private static readonly (string Mixture, string Dense)[] s_relatives =
    [
        ("deepseek", "deepseek"), ("mixtral", "llama"), ("arctic", "llama"), ("jetmoe", "llama"), ("llama_moe", "llama"), ("qwen2_moe", "qwen2"),
    ];

    /// <summary>Makes the dense model of the same layers and hidden size: the feed-forward of every layer takes the width that makes the parameters equal.</summary>
    /// <remarks>Attention experts become as many query heads as a token uses, or as there are; switch_head becomes plain heads, and the feed-forward takes the difference. Biases after experts go.</remarks>
    /// <param name="config">A model with experts.</param>
    /// <param name="match">What is to be equal.</param>
    /// <exception cref="ConfigurationException">The model has no experts, or no width fits.</exception>
    public static DenseBaseline Of(ModelConfig config, DenseMatch match)
    {
        if (config.Moe is null && config.AttentionExperts is null)
        {
            throw new ConfigurationException("the model is dense itself; name one with experts");
        }

        ModelSize size = ModelSize.Of(config);
        long routers = size.RouterParameters;
        long wanted = (match == DenseMatch.Activated ? size.Parameters.Activated : size.Parameters.Total) - routers;
        ModelConfig thin = Dense(config, match) with { IntermediateSize = 1 };
        long step = 3L * config.HiddenSize * config.NumHiddenLayers;
        long rest = wanted - (ModelSize.Of(thin).Parameters.Total - step);
        double width = Math.Round((double)rest / step, MidpointRounding.AwayFromZero);
        if (width is < 1 or > ModelConfigRules.LargestSize)
        {
            throw new ConfigurationException(width < 1
                ? "attention without experts has more parameters than are to be matched; no dense feed-forward fits beside it"
                : $"the feed-forward would be {width} wide, above {ModelConfigRules.LargestSize}; match the activated parameters instead");
        }

        ModelConfig dense = thin with { IntermediateSize = (int)width };
        dense.Validate("dense baseline");
        return new DenseBaseline(dense, wanted, ModelSize.Of(dense).Parameters.Total - wanted, routers);
    }

    private static ModelConfig Dense(ModelConfig config, DenseMatch match)
    {
        string modelType = Array.Find(s_relatives, row => row.Mixture == config.ModelType).Dense
            ?? throw new ConfigurationException($"model_type '{config.ModelType}' has no dense relative here; {string.Join(", ", s_relatives.Select(row => $"'{row.Mixture}'"))} have one");
        ModelConfig dense = config with
        {
            ModelType = modelType,
            FinalNormEps = 0,
            Moe = null,
            AttentionExperts = null,
            BlockLayout = config.BlockLayout == BlockLayout.ParallelExperts ? BlockLayout.PreNorm : config.BlockLayout,
        };
        if (dense.AttentionOutputBias && !dense.AttentionBias)
        {
            dense = dense with { AttentionOutputBias = false }; // of the experts
        }

        return config.AttentionExperts is { Kind: AttentionExpertsKind.Mixture } mixture
            ? dense with { NumAttentionHeads = checked(config.NumAttentionHeads * (match == DenseMatch.Activated ? mixture.TopK : mixture.NumExperts)) }
            : dense;
    }
}
