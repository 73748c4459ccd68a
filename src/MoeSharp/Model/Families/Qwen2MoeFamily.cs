using System.Text.Json;

namespace MoeSharp.Model.Families;

/// <summary>Qwen1.5-MoE-A2.7B and Qwen2-57B-A14B: biases on queries, keys and values, a gated shared expert.</summary>
internal static class Qwen2MoeFamily
{
    private const int AbsentWindow = 4096;
    private const int AbsentWindowLayers = 28;

    private static readonly DecoderDefaults s_defaults = new()
    {
        VocabSize = 151936,
        HiddenSize = 2048,
        IntermediateSize = 5632,
        NumHiddenLayers = 24,
        NumAttentionHeads = 16,
        NumKeyValueHeads = 16,
        MaxPositionEmbeddings = 32768,
    };

    public static ModelFamily Family { get; } = new("qwen2_moe", "Qwen2MoeForCausalLM", Read, Write);

    private static ModelConfig Read(ConfigReader reader)
    {
        ModelConfig config = DecoderKeys.Read(reader, "qwen2_moe", s_defaults) with { AttentionBias = reader.Switch("qkv_bias", true), AttentionOutputBias = false };
        int windowLayers = reader.Int("max_window_layers", AbsentWindowLayers);
        config = LayerAttentionKeys.ReadSwitched(reader, config, AbsentWindow, layer => layer < windowLayers && layer % 2 == 0 ? AttentionKind.Sliding : AttentionKind.Full);
        return config with
        {
            Moe = new MoeConfig
            {
                NumExperts = reader.IntOfAny("num_experts", "num_local_experts") ?? 60,
                TopK = reader.Int("num_experts_per_tok", 4),
                IntermediateSize = reader.Int("moe_intermediate_size", 1408),
                SharedIntermediateSize = reader.Int("shared_expert_intermediate_size", 5632),
                HasSharedExpertGate = true,
                NormTopKProb = reader.Switch("norm_topk_prob", false),
                MoeLayerFreq = reader.Int("decoder_sparse_step", 1),
                MoeLayerEndsPeriod = true,
                DenseLayers = reader.Ints("mlp_only_layers") ?? [],
            },
        };
    }

    private static void Write(Utf8JsonWriter writer, ModelConfig config)
    {
        MoeConfig moe = DecoderKeys.Experts(config);
        DecoderKeys.Write(writer, config);
        writer.WriteBoolean("qkv_bias", config.AttentionBias);
        WriteExperts(writer, config, moe);
        writer.WriteNumber("shared_expert_intermediate_size", moe.SharedIntermediateSize);
    }

    /// <summary>Writes the keys that both Qwen families share.</summary>
    internal static void WriteExperts(Utf8JsonWriter writer, ModelConfig config, MoeConfig moe)
    {
        writer.WriteBoolean("use_sliding_window", config.SlidingWindow > 0);
        LayerAttentionKeys.Write(writer, config);
        writer.WriteNumber("num_experts", moe.NumExperts);
        writer.WriteNumber("num_experts_per_tok", moe.TopK);
        writer.WriteNumber("moe_intermediate_size", moe.IntermediateSize);
        writer.WriteBoolean("norm_topk_prob", moe.NormTopKProb);
        writer.WriteNumber("decoder_sparse_step", moe.MoeLayerFreq);
        writer.WriteStartArray("mlp_only_layers");
        foreach (int layer in moe.DenseLayers)
        {
            writer.WriteNumberValue(layer);
        }

        writer.WriteEndArray();
    }
}
