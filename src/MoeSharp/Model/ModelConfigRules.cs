namespace MoeSharp.Model;

/// <summary>The rules that a <see cref="ModelConfig"/> must meet, each with its remedy.</summary>
internal static class ModelConfigRules
{
    // Far above any published model; catches sizes that would overflow later arithmetic.
    private const int LargestSize = 1 << 24;
    private const double MostParameters = 1e15;

    /// <summary>All broken rules, in the order of the file's keys.</summary>
    public static List<string> Problems(ModelConfig config)
    {
        List<string> problems = [];
        CheckSizes(config, problems);
        CheckAttention(config, problems);
        CheckNumbers(config, problems);
        if (config.Moe is { } moe)
        {
            CheckExperts(config, moe, problems);
        }

        if (problems.Count == 0 && ModelSize.Estimate(config) > MostParameters)
        {
            problems.Add($"the sizes together make about {ModelSize.Estimate(config):E1} parameters, above {MostParameters:E1}; look for a number that is too large");
        }

        return problems;
    }

    private static void CheckSizes(ModelConfig config, List<string> problems)
    {
        Size("vocab_size", config.VocabSize, problems);
        Size("hidden_size", config.HiddenSize, problems);
        Size("intermediate_size", config.IntermediateSize, problems);
        Size("num_hidden_layers", config.NumHiddenLayers, problems);
        Size("num_attention_heads", config.NumAttentionHeads, problems);
        Size("num_key_value_heads", config.NumKeyValueHeads, problems);
        Size("head_dim", config.HeadDim, problems);
        Size("max_position_embeddings", config.MaxPositionEmbeddings, problems);
    }

    private static void CheckAttention(ModelConfig config, List<string> problems)
    {
        if (config.NumKeyValueHeads > 0 && config.NumAttentionHeads > 0 && config.NumAttentionHeads % config.NumKeyValueHeads != 0)
        {
            problems.Add($"num_attention_heads {config.NumAttentionHeads} is not a multiple of num_key_value_heads {config.NumKeyValueHeads}; every key and value head serves the same number of query heads, so use a divisor");
        }

        if (config.HeadDim > 0 && config.HeadDim % 2 != 0)
        {
            problems.Add($"head_dim {config.HeadDim} is odd; rotary positions turn pairs, so use an even number");
        }

        if ((long)config.NumAttentionHeads * config.HeadDim > LargestSize)
        {
            problems.Add($"num_attention_heads {config.NumAttentionHeads} times head_dim {config.HeadDim} is above {LargestSize}; use fewer or narrower heads");
        }
    }

    private static void CheckNumbers(ModelConfig config, List<string> problems)
    {
        Positive("rms_norm_eps", config.RmsNormEps, problems);
        Positive("rope_theta", config.RopeTheta, problems);
        Positive("initializer_range", config.InitializerRange, problems);
        Token("bos_token_id", config.BosTokenId, config.VocabSize, problems);
        Token("eos_token_id", config.EosTokenId, config.VocabSize, problems);
    }

    private static void CheckExperts(ModelConfig config, MoeConfig moe, List<string> problems)
    {
        Size("n_routed_experts", moe.NumExperts, problems);
        Size("moe_intermediate_size", moe.IntermediateSize, problems);
        if (moe.TopK < 1 || moe.TopK > moe.NumExperts)
        {
            problems.Add($"num_experts_per_tok {moe.TopK} is outside 1..{moe.NumExperts} (n_routed_experts); a token uses at least one expert and each at most once");
        }

        if (moe.NumSharedExperts is < 0 or > LargestSize)
        {
            problems.Add($"n_shared_experts {moe.NumSharedExperts} is outside 0..{LargestSize}; use 0 for none");
        }
        else if ((long)moe.NumSharedExperts * moe.IntermediateSize > LargestSize)
        {
            problems.Add($"n_shared_experts {moe.NumSharedExperts} times moe_intermediate_size {moe.IntermediateSize} is above {LargestSize}; use fewer or narrower shared experts");
        }

        Positive("routed_scaling_factor", moe.RoutedScalingFactor, problems);
        if (moe.MoeLayerFreq < 1)
        {
            problems.Add($"moe_layer_freq {moe.MoeLayerFreq} must be at least 1; use 1 for experts in every layer");
        }
        else if (moe.FirstKDenseReplace < 0)
        {
            problems.Add($"first_k_dense_replace {moe.FirstKDenseReplace} is negative; use 0 for no dense layer at the start");
        }
        else if (config.NumHiddenLayers is > 0 and <= LargestSize && config.NumMoeLayers == 0)
        {
            problems.Add($"n_routed_experts is {moe.NumExperts}, but no layer is MoE with first_k_dense_replace {moe.FirstKDenseReplace}, moe_layer_freq {moe.MoeLayerFreq} and {config.NumHiddenLayers} layers; lower first_k_dense_replace, or set n_routed_experts to null for a dense model");
        }
    }

    private static void Size(string key, int value, List<string> problems)
    {
        if (value is < 1 or > LargestSize)
        {
            problems.Add($"{key} {value} is outside 1..{LargestSize}");
        }
    }

    private static void Positive(string key, double value, List<string> problems)
    {
        if (!double.IsFinite(value) || value <= 0)
        {
            problems.Add($"{key} {value} must be a positive number");
        }
    }

    private static void Token(string key, int? value, int vocabSize, List<string> problems)
    {
        if (value is { } token && (token < 0 || token >= vocabSize))
        {
            problems.Add($"{key} {token} is outside the vocabulary 0..{vocabSize - 1}; use null for none");
        }
    }
}
