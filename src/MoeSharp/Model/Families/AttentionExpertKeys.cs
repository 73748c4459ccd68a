using System.Text.Json;

namespace MoeSharp.Model.Families;

/// <summary>The keys of attention experts in the section <c>moesharp</c> of a config.json.</summary>
internal static class AttentionExpertKeys
{
    private const string Mixture = "mixture";
    private const string SwitchHead = "switch_head";

    /// <summary>Reads them; null where attention has no experts.</summary>
    public static AttentionExpertsConfig? Read(ConfigReader section)
    {
        string kind = section.OneOf("attention", "dense", "dense", Mixture, SwitchHead);
        if (kind == "dense")
        {
            return null;
        }

        int topK = section.Int("attention_experts_per_tok", 0);
        return new AttentionExpertsConfig
        {
            Kind = kind == Mixture ? AttentionExpertsKind.Mixture : AttentionExpertsKind.SwitchHead,
            NumExperts = section.Int("num_attention_experts", 0),
            TopK = topK,
            NormTopKProb = kind == Mixture && section.Switch("norm_attention_topk_prob", topK > 1),
        };
    }

    /// <summary>Writes what <see cref="Read"/> reads.</summary>
    public static void Write(Utf8JsonWriter writer, AttentionExpertsConfig experts)
    {
        bool isMixture = experts.Kind == AttentionExpertsKind.Mixture;
        writer.WriteString("attention", isMixture ? Mixture : SwitchHead);
        writer.WriteNumber("num_attention_experts", experts.NumExperts);
        writer.WriteNumber("attention_experts_per_tok", experts.TopK);
        if (isMixture)
        {
            writer.WriteBoolean("norm_attention_topk_prob", experts.NormTopKProb);
        }
    }

    /// <summary>Adds what is wrong with them, alone and together with the rest of attention.</summary>
    public static void AddProblems(ModelConfig config, List<string> problems)
    {
        if (config.AttentionExperts is not { } experts)
        {
            return;
        }

        if (experts.NumExperts is < 1 or > ModelConfigRules.LargestSize)
        {
            problems.Add($"num_attention_experts {experts.NumExperts} is outside 1..{ModelConfigRules.LargestSize}");
        }
        else if (experts.TopK < 1 || experts.TopK > experts.NumExperts)
        {
            problems.Add($"attention_experts_per_tok {experts.TopK} is outside 1..{experts.NumExperts} (num_attention_experts); a token uses at least one expert and each at most once");
        }

        if (experts is { NormTopKProb: true, TopK: 1 })
        {
            problems.Add("norm_attention_topk_prob with attention_experts_per_tok 1 gives every token the weight 1, so that the router got no gradient; set it to false");
        }

        double width = (double)config.NumAttentionHeads * config.HeadDim * experts.NumExperts;
        if (width > ModelConfigRules.LargestSize)
        {
            problems.Add($"num_attention_experts {experts.NumExperts} times num_attention_heads {config.NumAttentionHeads} times head_dim {config.HeadDim} is above {ModelConfigRules.LargestSize}; use fewer experts, fewer or narrower heads");
        }

        foreach (string part in Others(config))
        {
            problems.Add($"attention experts (moesharp.attention) do not go with {part}; leave one of them out");
        }
    }

    private static IEnumerable<string> Others(ModelConfig config)
    {
        (bool IsThere, string Name)[] parts =
        [
            (config.LatentAttention is not null, "latent attention"),
            (config.LayerAttention.Count > 0, "layer_types"),
            (config.AttentionBias, "attention_bias"),
            (config.QueryKeyNorm != QueryKeyNorm.None, "norms of queries and keys"),
            (config.ClipQkv > 0, "clip_qkv"),
            (config.HasAttentionSinks, "attention sinks"),
            (config.AttentionScoreCap > 0, "capped attention scores"),
        ];
        return parts.Where(part => part.IsThere).Select(part => part.Name);
    }
}
