using MoeSharp.Checkpoints.Gguf;
using MoeSharp.Model;

namespace MoeSharp.Checkpoints.Export;

/// <summary>Writes an architecture as metadata of a GGUF file: the reverse of <see cref="GgufArchitecture"/>.</summary>
internal static class GgufMetadataWriter
{
    private const uint QuantizationVersion = 2; // of the block formats, as other programs check it

    // model_type, architecture, whether rotary pairs lie side by side in its files.
    private static readonly (string ModelType, string Architecture, bool IsInterleaved)[] s_architectures =
    [
        ("llama", "llama", true), ("mixtral", "llama", true), ("deepseek", "deepseek", true), ("arctic", "arctic", true),
        ("deepseek_v2", "deepseek2", true), ("deepseek_v3", "deepseek2", true),
        ("qwen2", "qwen2", false), ("qwen2_moe", "qwen2moe", false), ("qwen3_moe", "qwen3moe", false), ("olmoe", "olmoe", false),
        ("dbrx", "dbrx", false), ("grok-1", "grok", false), ("gpt_oss", "gpt-oss", false),
    ];

    /// <summary>The architecture as its GGUF files have it: with the order of rotary pairs that they use, and divisors instead of the numbers they follow from, and routers by what they do without gradients.</summary>
    /// <exception cref="ConfigurationException">The format does not have the family, or a setting of it.</exception>
    public static ModelConfig InFile(ModelConfig config)
    {
        Refuse(config);
        return config with
        {
            Rope = RopeFrequencies.Divided(config.Rope, RopeFrequencies.RotatedLanes(config)) with { IsInterleaved = Find(config).IsInterleaved },
            Moe = config.Moe is { } moe ? (moe.Router.AsTopK(moe) ?? moe) with { Capacity = null } : null, // places outside training are refused
        };
    }

    /// <summary>Adds what describes the architecture.</summary>
    /// <param name="entries">Metadata.</param>
    /// <param name="config">Architecture, which <see cref="InFile"/> has not refused.</param>
    /// <param name="name">Name of the model.</param>
    /// <param name="fileType">Number of the most frequent format.</param>
    public static void Add(GgufEntries entries, ModelConfig config, string name, uint fileType)
    {
        string a = Find(config).Architecture + ".";
        entries.Add("general.architecture", Find(config).Architecture);
        entries.Add("general.name", name);
        entries.Add("general.quantization_version", QuantizationVersion);
        entries.Add("general.file_type", fileType);
        entries.Add(a + "vocab_size", (uint)config.VocabSize);
        entries.Add(a + "context_length", (uint)config.MaxPositionEmbeddings);
        entries.Add(a + "embedding_length", (uint)config.HiddenSize);
        entries.Add(a + "block_count", (uint)config.NumHiddenLayers);
        entries.Add(a + "feed_forward_length", (uint)config.IntermediateSize);
        entries.Add(a + (config.UsesLayerNorm ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon"), config.RmsNormEps);
        AddAttention(entries, config, a);
        AddRope(entries, config.Rope, config.LatentAttention?.RopeHeadDim ?? config.HeadDim, config.LatentAttention is not null, a);
        if (config.Moe is { } moe)
        {
            AddExperts(entries, config, moe.Router.AsTopK(moe) ?? moe, a);
        }
    }

    private static (string ModelType, string Architecture, bool IsInterleaved) Find(ModelConfig config) =>
        Array.Find(s_architectures, row => row.ModelType == config.ModelType) is { ModelType: not null } found
            ? found
            : throw new ConfigurationException($"GGUF has no architecture for model_type '{config.ModelType}'; it has {string.Join(", ", s_architectures.Select(row => row.ModelType))}");

    private static void Refuse(ModelConfig config)
    {
        string? what = config.Moe switch
        {
            { } moe when moe.Router.AsTopK(moe) is null => $"a router of kind {moe.Router.Name}",
            { Capacity.EvaluationFactor: > 0 } => "places of experts outside training (moesharp.eval_capacity_factor)",
            { MoeLayerFreq: not 1 } => $"experts in every {config.Moe.MoeLayerFreq}th layer",
            { DenseLayers.Count: > 0 } => "single dense layers among those with experts",
            _ when config.AttentionExperts is not null => "attention experts",
            _ when config.ModelType == "deepseek" && config.BlockLayout == BlockLayout.ParallelExperts => "experts beside a dense feed-forward",
            _ when config.ModelType == "deepseek" && config.Moe is { SharedIntermediateSize: > 0 } => "a dense feed-forward beside the experts",
            _ when config.ModelType == "deepseek" && config.Moe is null => "a DeepSeekMoE without experts; set model_type to llama",
            _ when config.ModelType != "dbrx" && config.ClipQkv > 0 => "clamped queries and keys",
            _ when config.SlidingWindow > 0 && config.ModelType != "gpt_oss" => "sliding windows",
            _ when config.LatentAttention is not null && config.Rope.AttentionFactor != 1 => "YaRN whose mscale differs from mscale_all_dim",
            _ when config.Rope.Scaling is RopeScaling.Llama3 or RopeScaling.Divided && Find(config).Architecture != "llama" => "the rotary positions of Llama 3.1",
            _ when config.Rope.Scaling == RopeScaling.Dynamic => "dynamic rotary positions",
            _ => null,
        };
        if (what is not null)
        {
            throw new ConfigurationException($"GGUF cannot describe {what} for model_type '{config.ModelType}'");
        }
    }

    private static void AddAttention(GgufEntries entries, ModelConfig config, string a)
    {
        entries.Add(a + "attention.head_count", (uint)config.NumAttentionHeads);
        if (config.LatentAttention is { } latent)
        {
            entries.Add(a + "attention.head_count_kv", 1u); // the latent, which all heads share
            entries.Add(a + "attention.q_lora_rank", (uint)latent.QueryRank); // 0 for none: other programs insist on the key
            entries.Add(a + "attention.kv_lora_rank", (uint)latent.LatentRank);
            entries.Add(a + "attention.key_length", (uint)(latent.LatentRank + latent.RopeHeadDim));
            entries.Add(a + "attention.value_length", (uint)latent.LatentRank);
            entries.Add(a + "attention.key_length_mla", (uint)(latent.NopeHeadDim + latent.RopeHeadDim));
            entries.Add(a + "attention.value_length_mla", (uint)latent.ValueHeadDim);
            return;
        }

        entries.Add(a + "attention.head_count_kv", (uint)config.NumKeyValueHeads);
        entries.Add(a + "attention.key_length", (uint)config.HeadDim);
        entries.Add(a + "attention.value_length", (uint)config.HeadDim);
        if (config.ClipQkv > 0)
        {
            entries.Add(a + "attention.clamp_kqv", config.ClipQkv);
        }

        if (config.SlidingWindow > 0)
        {
            entries.Add(a + "attention.sliding_window", (uint)config.SlidingWindow);
        }

        if (config.ModelType == "grok-1")
        {
            entries.Add(a + "embedding_scale", config.EmbeddingScale);
            entries.Add(a + "logit_scale", config.LogitScale);
            entries.Add(a + "attention.output_scale", config.AttentionScale);
            entries.Add(a + "attn_logit_softcapping", config.AttentionScoreCap);
        }
    }

    private static void AddRope(GgufEntries entries, RopeConfig rope, int width, bool isLatent, string a)
    {
        entries.Add(a + "rope.dimension_count", (uint)(rope.RotaryDim > 0 ? rope.RotaryDim : width));
        entries.Add(a + "rope.freq_base", (float)rope.Theta);
        if (rope.Scaling is not (RopeScaling.Linear or RopeScaling.Yarn))
        {
            return;
        }

        entries.Add(a + "rope.scaling.type", rope.Scaling == RopeScaling.Yarn ? "yarn" : "linear");
        entries.Add(a + "rope.scaling.factor", (float)rope.Factor);
        if (rope.Scaling == RopeScaling.Yarn)
        {
            entries.Add(a + "rope.scaling.original_context_length", (uint)rope.OriginalMaxPositions);
            entries.Add(a + "rope.scaling.yarn_beta_fast", (float)rope.BetaFast);
            entries.Add(a + "rope.scaling.yarn_beta_slow", (float)rope.BetaSlow);
            if (isLatent)
            {
                entries.Add(a + "rope.scaling.yarn_log_multiplier", (float)(0.1 * rope.MscaleAllDim));
            }
            else
            {
                entries.Add(a + "rope.scaling.attn_factor", (float)(rope.AttentionFactor / RopeConfig.Magnitude(rope.Factor, 1))); // readers multiply it by this magnitude
            }
        }
    }

    private static void AddExperts(GgufEntries entries, ModelConfig config, MoeConfig moe, string a)
    {
        const uint Softmax = 1, Sigmoid = 2, SoftmaxOverChosen = 3;
        entries.Add(a + "expert_count", (uint)moe.NumExperts);
        entries.Add(a + "expert_used_count", (uint)moe.TopK);
        entries.Add(a + "expert_feed_forward_length", (uint)moe.IntermediateSize);
        entries.Add(a + "expert_weights_scale", moe.RoutedScalingFactor);
        entries.Add(a + "expert_weights_norm", moe.NormTopKProb);
        entries.Add(a + "expert_gating_func", moe.Scoring switch { RouterScoring.Sigmoid => Sigmoid, RouterScoring.SoftmaxOverChosen => SoftmaxOverChosen, _ => Softmax });
        if (config.ModelType is "deepseek" or "deepseek_v2" or "deepseek_v3")
        {
            entries.Add(a + "leading_dense_block_count", (uint)moe.FirstKDenseReplace);
            entries.Add(a + "expert_shared_count", (uint)moe.NumSharedExperts);
        }

        if (moe.SharedIntermediateSize > 0)
        {
            entries.Add(a + "expert_shared_feed_forward_length", (uint)moe.SharedIntermediateSize);
        }

        if (moe.NumGroups > 1)
        {
            entries.Add(a + "expert_group_count", (uint)moe.NumGroups);
            entries.Add(a + "expert_group_used_count", (uint)moe.TopKGroups);
        }
    }
}
