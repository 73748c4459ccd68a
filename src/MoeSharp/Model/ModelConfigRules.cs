using MoeSharp.Model.Families;

namespace MoeSharp.Model;

/// <summary>The rules that a <see cref="ModelConfig"/> must meet, each with its remedy.</summary>
internal static class ModelConfigRules
{
    // Far above any published model; catches sizes that would overflow later arithmetic.
    internal const int LargestSize = 1 << 24;
    internal const int MostLayers = 1 << 14; // tables have an entry per layer
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
        if (config.NumHiddenLayers is < 1 or > MostLayers)
        {
            problems.Add($"num_hidden_layers {config.NumHiddenLayers} is outside 1..{MostLayers}");
        }

        Size("num_attention_heads", config.NumAttentionHeads, problems);
        Size("num_key_value_heads", config.NumKeyValueHeads, problems);
        Size("head_dim", config.HeadDim, problems);
        Size("max_position_embeddings", config.MaxPositionEmbeddings, problems);
        if (config.OutputTokens < 0 || config.OutputTokens > config.VocabSize)
        {
            problems.Add($"moesharp_output_tokens {config.OutputTokens} must lie between 0 (all) and vocab_size {config.VocabSize}");
        }
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

        if (config.LatentAttention is { } latent)
        {
            CheckLatent(latent, config.HeadDim, problems);
            Product("num_attention_heads", config.NumAttentionHeads, "kv_lora_rank plus qk_rope_head_dim", (long)latent.LatentRank + latent.RopeHeadDim, problems);
            Product("num_attention_heads", config.NumAttentionHeads, "v_head_dim", latent.ValueHeadDim, problems);
        }

        if (config.Rope.RotaryDim < 0 || config.Rope.RotaryDim > config.HeadDim || config.Rope.RotaryDim % 2 != 0)
        {
            problems.Add($"rotary_dim {config.Rope.RotaryDim} must be even and at most head_dim {config.HeadDim}");
        }

        CheckLayers(config, problems);
        AttentionExpertKeys.AddProblems(config, problems);
        Product("num_attention_heads", config.NumAttentionHeads, "head_dim", config.HeadDim, problems);
        double state = (double)config.NumAttentionHeads * config.HeadDim * config.HeadDim * config.LayerAttention.Count(kind => kind == AttentionKind.Linear);
        if (state > int.MaxValue)
        {
            problems.Add($"num_attention_heads {config.NumAttentionHeads} of head_dim {config.HeadDim} make a state of {state:E1} numbers in the layers of linear attention; use fewer or narrower heads");
        }
    }

    private static void CheckLatent(LatentAttentionConfig latent, int headDim, List<string> problems)
    {
        Size("kv_lora_rank", latent.LatentRank, problems);
        Size("qk_nope_head_dim", latent.NopeHeadDim, problems);
        Size("qk_rope_head_dim", latent.RopeHeadDim, problems);
        Size("v_head_dim", latent.ValueHeadDim, problems);
        if (latent.QueryRank is < 0 or > LargestSize)
        {
            problems.Add($"q_lora_rank {latent.QueryRank} is outside 0..{LargestSize}; use null for a full projection");
        }

        if (latent.RopeHeadDim % 2 != 0)
        {
            problems.Add($"qk_rope_head_dim {latent.RopeHeadDim} is odd; rotary positions turn pairs, so use an even number");
        }

        if ((long)latent.NopeHeadDim + latent.RopeHeadDim != headDim)
        {
            problems.Add($"head_dim {headDim} is not qk_nope_head_dim {latent.NopeHeadDim} plus qk_rope_head_dim {latent.RopeHeadDim}");
        }
    }

    private static void CheckLayers(ModelConfig config, List<string> problems)
    {
        if (config.LayerAttention.Count > 0 && config.LayerAttention.Count != config.NumHiddenLayers)
        {
            problems.Add($"layer_types has {config.LayerAttention.Count} entries, num_hidden_layers is {config.NumHiddenLayers}; name every layer once");
        }

        if (config.SlidingWindow < 0 || (config.SlidingWindow == 0 && config.LayerAttention.Contains(AttentionKind.Sliding)))
        {
            problems.Add($"sliding_window {config.SlidingWindow} must be at least 1 where layers have a window");
        }

        if (config.LatentAttention is not null && config.LayerAttention.Any(kind => kind != AttentionKind.Full))
        {
            problems.Add("layer_types other than 'full_attention' are not supported together with latent attention");
        }
    }

    private static void CheckRope(ModelConfig config, List<string> problems)
    {
        RopeConfig rope = config.Rope;
        Positive("rope_theta", rope.Theta, problems);
        if (rope.Scaling == RopeScaling.Divided)
        {
            CheckDivisors(rope.FrequencyDivisors, RopeFrequencies.RotatedLanes(config) / 2, problems);
        }

        if (rope.Scaling is RopeScaling.None or RopeScaling.Divided)
        {
            return;
        }

        Positive("rope_scaling.factor", rope.Factor, problems);
        if (rope.Scaling != RopeScaling.Linear)
        {
            Size("rope_scaling.original_max_position_embeddings", rope.OriginalMaxPositions, problems);
        }

        if (rope.Scaling == RopeScaling.Llama3)
        {
            Positive("rope_scaling.low_freq_factor", rope.LowFrequencyFactor, problems);
            if (!(rope.HighFrequencyFactor > rope.LowFrequencyFactor) || !double.IsFinite(rope.HighFrequencyFactor))
            {
                problems.Add($"rope_scaling.high_freq_factor {rope.HighFrequencyFactor} must be above low_freq_factor {rope.LowFrequencyFactor}");
            }
        }

        if (rope.Scaling == RopeScaling.Yarn)
        {
            Positive("rope_scaling.beta_fast", rope.BetaFast, problems);
            Positive("rope_scaling.beta_slow", rope.BetaSlow, problems);
            Positive("rope_scaling.attention_factor", rope.AttentionFactor, problems);
        }
    }

    private static void CheckDivisors(IReadOnlyList<float> divisors, int pairs, List<string> problems)
    {
        if (divisors.Count != pairs || divisors.Any(divisor => !(divisor > 0) || !float.IsFinite(divisor)))
        {
            problems.Add($"{divisors.Count} rotary divisors are given for {pairs} pairs of lanes; one finite number above 0 is needed for each");
        }
    }

    private static void CheckNumbers(ModelConfig config, List<string> problems)
    {
        Positive("rms_norm_eps", config.RmsNormEps, problems);
        if (config.FinalNormEps != 0)
        {
            Positive("rms_norm_eps", config.FinalNormEps, problems);
        }

        CheckRope(config, problems);
        Positive("initializer_range", config.InitializerRange, problems);
        Token("bos_token_id", config.BosTokenId, config.VocabSize, problems);
        Token("eos_token_id", config.EosTokenId, config.VocabSize, problems);
    }

    private static void CheckExperts(ModelConfig config, MoeConfig moe, List<string> problems)
    {
        Size("n_routed_experts", moe.NumExperts, problems);
        Size("moe_intermediate_size", moe.IntermediateSize, problems);
        if (moe.SharedIntermediateSize is < 0 or > LargestSize)
        {
            problems.Add($"shared_expert_intermediate_size {moe.SharedIntermediateSize} is outside 0..{LargestSize}; use 0 for none");
        }

        CheckGroups(moe, problems);
        moe.Router.AddProblems(config, moe, problems);
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

        CheckFactors(config, moe, problems);
        CapacityKeys.AddProblems(moe, problems);
        CheckMoeLayers(config, moe, problems);
    }

    private static void CheckMoeLayers(ModelConfig config, MoeConfig moe, List<string> problems)
    {
        if (moe.MoeLayerFreq < 1)
        {
            problems.Add($"moe_layer_freq {moe.MoeLayerFreq} must be at least 1; use 1 for experts in every layer");
        }
        else if (moe.FirstKDenseReplace < 0)
        {
            problems.Add($"first_k_dense_replace {moe.FirstKDenseReplace} is negative; use 0 for no dense layer at the start");
        }
        else if (moe.DenseLayers.Count > config.NumHiddenLayers)
        {
            problems.Add($"mlp_only_layers has {moe.DenseLayers.Count} entries, more than num_hidden_layers {config.NumHiddenLayers}; name a layer once");
        }
        else if (config.NumHiddenLayers is > 0 and <= MostLayers && config.NumMoeLayers == 0)
        {
            problems.Add($"n_routed_experts is {moe.NumExperts}, but no layer is MoE with first_k_dense_replace {moe.FirstKDenseReplace}, moe_layer_freq {moe.MoeLayerFreq} and {config.NumHiddenLayers} layers; lower first_k_dense_replace, or set n_routed_experts to null for a dense model");
        }
    }

    private static void CheckFactors(ModelConfig config, MoeConfig moe, List<string> problems)
    {
        Positive("routed_scaling_factor", moe.RoutedScalingFactor, problems);
        if (moe.HasExpertBias && Math.Max(2L * moe.IntermediateSize, config.HiddenSize) * moe.NumExperts > int.MaxValue)
        {
            problems.Add($"the biases of {moe.NumExperts} experts as wide as these are more than one vector holds; use fewer or narrower experts");
        }

        if (moe.NormTopKProb)
        {
            Positive("moe_normalize_expert_weights", moe.NormOrder, problems);
        }

        if (moe.LayerScalingFactors.Count > 0 && moe.LayerScalingFactors.Count != config.NumHiddenLayers)
        {
            problems.Add($"score_scale_factor lists {moe.LayerScalingFactors.Count} factors for {config.NumHiddenLayers} layers; give one number, or one for each layer");
        }
        else if (moe.LayerScalingFactors.Any(factor => !(factor > 0) || !float.IsFinite(factor)))
        {
            problems.Add("score_scale_factor must be positive numbers");
        }
    }

    private static void CheckGroups(MoeConfig moe, List<string> problems)
    {
        if (moe.NumGroups < 1 || moe.NumExperts % moe.NumGroups != 0)
        {
            problems.Add($"n_group {moe.NumGroups} does not divide n_routed_experts {moe.NumExperts}; groups have equal sizes");
        }
        else if (moe.TopKGroups < 1 || moe.TopKGroups > moe.NumGroups)
        {
            problems.Add($"topk_group {moe.TopKGroups} is outside 1..{moe.NumGroups} (n_group)");
        }
        else if (moe.TopK > (long)moe.TopKGroups * (moe.NumExperts / moe.NumGroups))
        {
            problems.Add($"num_experts_per_tok {moe.TopK} is more than topk_group {moe.TopKGroups} groups of {moe.NumExperts / moe.NumGroups} experts hold");
        }
    }

    private static void Size(string key, int value, List<string> problems)
    {
        if (value is < 1 or > LargestSize)
        {
            problems.Add($"{key} {value} is outside 1..{LargestSize}");
        }
    }

    private static void Product(string key, long value, string otherKey, long other, List<string> problems)
    {
        if (value > 0 && other > LargestSize / value)
        {
            problems.Add($"{key} {value} times {otherKey} {other} is above {LargestSize}; use fewer or narrower heads");
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
