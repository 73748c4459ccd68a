using System.Text.Json;

namespace MoeSharp.Model.Families;

/// <summary>DeepSeekMoE (arXiv 2401.06066); without experts a dense decoder.</summary>
internal static class DeepSeekFamily
{
    private static readonly DecoderDefaults s_defaults = new() { VocabSize = 102400, NumHiddenLayers = 30 };

    public static ModelFamily Family { get; } = new("deepseek", "DeepseekForCausalLM", Read, Write);

    private static ModelConfig Read(ConfigReader reader)
    {
        reader.OneOf("scoring_func", "softmax", "softmax");
        reader.OneOf("topk_method", "greedy", "greedy");
        reader.Require("n_group", 1, "the family has no expert groups; use 1 or null");
        reader.Require("topk_group", 1, "the family has no expert groups; use 1 or null");
        ModelConfig decoder = DecoderKeys.Read(reader, "deepseek", s_defaults) with
        {
            AttentionBias = reader.Switch("attention_bias", false),
            AttentionExperts = MoeSharpKeys.ReadAttention(reader),
        };
        int? numExperts = reader.IntOfAny("n_routed_experts", "num_experts", "num_local_experts", "moe_num_experts");
        MoeConfig moe = new()
        {
            NumExperts = numExperts ?? 1,
            TopK = reader.Int("num_experts_per_tok", 0),
            IntermediateSize = reader.Int("moe_intermediate_size", 1407),
            NumSharedExperts = reader.Int("n_shared_experts", 0),
            NormTopKProb = reader.Switch("norm_topk_prob", false),
            RoutedScalingFactor = (float)reader.Number("routed_scaling_factor", 1),
            FirstKDenseReplace = reader.Int("first_k_dense_replace", 0),
            MoeLayerFreq = reader.Int("moe_layer_freq", 1),
        };
        return numExperts is null ? decoder : MoeSharpKeys.Read(reader, decoder, moe);
    }

    private static void Write(Utf8JsonWriter writer, ModelConfig config)
    {
        DecoderKeys.Write(writer, config);
        writer.WriteBoolean("attention_bias", config.AttentionBias);
        if (config.Moe is not { } moe)
        {
            writer.WriteNull("n_routed_experts");
            MoeSharpKeys.Write(writer, config);
            return;
        }

        WriteExperts(writer, moe);
        writer.WriteString("scoring_func", "softmax");
        MoeSharpKeys.Write(writer, config);
    }

    /// <summary>Writes the expert keys that all three DeepSeek families share.</summary>
    internal static void WriteExperts(Utf8JsonWriter writer, MoeConfig moe)
    {
        writer.WriteNumber("n_routed_experts", moe.NumExperts);
        writer.WriteNumber("num_experts_per_tok", moe.TopK);
        DecoderKeys.WriteOptional(writer, "n_shared_experts", moe.NumSharedExperts > 0 ? moe.NumSharedExperts : null); // the released code builds shared experts for any number, also 0
        writer.WriteNumber("moe_intermediate_size", moe.IntermediateSize);
        writer.WriteNumber("first_k_dense_replace", moe.FirstKDenseReplace);
        writer.WriteNumber("moe_layer_freq", moe.MoeLayerFreq);
        writer.WriteBoolean("norm_topk_prob", moe.NormTopKProb);
        if (moe.RoutedScalingFactor != 1f)
        {
            writer.WriteNumber("routed_scaling_factor", moe.RoutedScalingFactor);
        }
    }
}
