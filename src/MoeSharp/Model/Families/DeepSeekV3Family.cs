using System.Text.Json;

namespace MoeSharp.Model.Families;

/// <summary>DeepSeek-V3 and R1 (arXiv 2412.19437): as V2 with sigmoid scores and a bias per expert for the choice.</summary>
internal static class DeepSeekV3Family
{
    private static readonly DecoderDefaults s_defaults = new()
    {
        VocabSize = 129280,
        HiddenSize = 7168,
        IntermediateSize = 18432,
        NumHiddenLayers = 61,
        NumAttentionHeads = 128,
        MaxPositionEmbeddings = 4096,
    };

    public static ModelFamily Family { get; } = new("deepseek_v3", "DeepseekV3ForCausalLM", Read, Write);

    private static ModelConfig Read(ConfigReader reader)
    {
        ModelConfig config = LatentAttentionKeys.Read(reader, "deepseek_v3", s_defaults);
        reader.OneOf("scoring_func", "sigmoid", "sigmoid");
        reader.OneOf("topk_method", "noaux_tc", "noaux_tc");
        reader.Ignore("num_nextn_predict_layers"); // layers after the last, for drafting tokens: the model's own logits do not see them
        int? numExperts = reader.Has("n_routed_experts") ? reader.Int("n_routed_experts") : reader.IntOfAny("num_experts", "num_local_experts") ?? 256;
        MoeConfig moe = new()
        {
            NumExperts = numExperts ?? 1,
            TopK = reader.Int("num_experts_per_tok", 8),
            IntermediateSize = reader.Int("moe_intermediate_size", 2048),
            NumSharedExperts = DecoderKeys.IntOrAbsent(reader, "n_shared_experts", 1) ?? 0,
            Scoring = RouterScoring.Sigmoid,
            HasSelectionBias = true,
            NormTopKProb = reader.Switch("norm_topk_prob", true),
            RoutedScalingFactor = (float)reader.Number("routed_scaling_factor", 2.5),
            NumGroups = reader.Int("n_group", 8),
            TopKGroups = reader.Int("topk_group", 4),
            GroupScoring = GroupScoring.TopTwoSum,
            FirstKDenseReplace = reader.Int("first_k_dense_replace", 3),
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
        if (moe.RoutedScalingFactor == 1f)
        {
            writer.WriteNumber("routed_scaling_factor", 1.0); // absent means 2.5 here
        }

        writer.WriteString("scoring_func", "sigmoid");
        writer.WriteString("topk_method", "noaux_tc");
        writer.WriteNumber("n_group", moe.NumGroups);
        writer.WriteNumber("topk_group", moe.TopKGroups);
        writer.WriteNumber("num_nextn_predict_layers", 0);
    }
}
