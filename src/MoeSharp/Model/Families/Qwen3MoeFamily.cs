using System.Text.Json;

namespace MoeSharp.Model.Families;

/// <summary>Qwen3-30B-A3B and 235B-A22B: queries and keys normed per head, no shared expert.</summary>
internal static class Qwen3MoeFamily
{
    private const int AbsentWindow = 4096;

    private static readonly DecoderDefaults s_defaults = new()
    {
        VocabSize = 151936,
        HiddenSize = 2048,
        IntermediateSize = 6144,
        NumHiddenLayers = 24,
        NumKeyValueHeads = 4,
        MaxPositionEmbeddings = 32768,
    };

    public static ModelFamily Family { get; } = new("qwen3_moe", "Qwen3MoeForCausalLM", Read, Write);

    private static ModelConfig Read(ConfigReader reader)
    {
        ModelConfig config = DecoderKeys.Read(reader, "qwen3_moe", s_defaults) with { AttentionBias = reader.Switch("attention_bias", false), QueryKeyNorm = QueryKeyNorm.PerHead };
        config = LayerAttentionKeys.ReadSwitched(reader, config, AbsentWindow, _ => AttentionKind.Sliding);
        return config with
        {
            Moe = new MoeConfig
            {
                NumExperts = reader.IntOfAny("num_experts", "num_local_experts") ?? 128,
                TopK = reader.Int("num_experts_per_tok", 8),
                IntermediateSize = reader.Int("moe_intermediate_size", 768),
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
        writer.WriteBoolean("attention_bias", config.AttentionBias);
        Qwen2MoeFamily.WriteExperts(writer, config, moe);
    }
}
