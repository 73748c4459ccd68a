using System.Text.Json;

namespace MoeSharp.Model.Families;

/// <summary>DeepSeek-V2 and V2-Lite (arXiv 2405.04434): latent attention, experts chosen within groups.</summary>
internal static class DeepSeekV2Family
{
    private static readonly DecoderDefaults s_defaults = new() { VocabSize = 102400, NumHiddenLayers = 30 };

    public static ModelFamily Family { get; } = new("deepseek_v2", "DeepseekV2ForCausalLM", Read, Write);

    private static ModelConfig Read(ConfigReader reader)
    {
        ModelConfig config = LatentAttentionKeys.Read(reader, "deepseek_v2", s_defaults);
        reader.OneOf("scoring_func", "softmax", "softmax");
        bool isGrouped = reader.OneOf("topk_method", "greedy", "greedy", "group_limited_greedy") == "group_limited_greedy";
        int numGroups = reader.Int("n_group", 1);
        int topKGroups = reader.Int("topk_group", 1);
        int? numExperts = reader.IntOfAny("n_routed_experts", "num_experts", "num_local_experts");
        MoeConfig moe = new()
        {
            NumExperts = numExperts ?? 1,
            TopK = reader.Int("num_experts_per_tok", 0),
            IntermediateSize = reader.Int("moe_intermediate_size", 1407),
            NumSharedExperts = reader.Int("n_shared_experts", 0),
            NormTopKProb = reader.Switch("norm_topk_prob", false),
            ScalesNormalizedWeights = false,
            RoutedScalingFactor = (float)reader.Number("routed_scaling_factor", 1),
            NumGroups = isGrouped ? numGroups : 1,
            TopKGroups = isGrouped ? topKGroups : 1,
            FirstKDenseReplace = reader.Int("first_k_dense_replace", 0),
            MoeLayerFreq = reader.Int("moe_layer_freq", 1),
        };
        return numExperts is null ? config : config with { Moe = moe };
    }

    private static void Write(Utf8JsonWriter writer, ModelConfig config)
    {
        LatentAttentionKeys.Write(writer, config);
        if (config.Moe is not { } moe)
        {
            writer.WriteNull("n_routed_experts");
            return;
        }

        DeepSeekFamily.WriteExperts(writer, moe);
        writer.WriteString("scoring_func", "softmax");
        writer.WriteString("topk_method", moe.NumGroups > 1 ? "group_limited_greedy" : "greedy");
        writer.WriteNumber("n_group", moe.NumGroups);
        writer.WriteNumber("topk_group", moe.TopKGroups);
    }
}
