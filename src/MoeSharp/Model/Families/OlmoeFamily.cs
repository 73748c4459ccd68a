using System.Text.Json;

namespace MoeSharp.Model.Families;

/// <summary>OLMoE-1B-7B (arXiv 2409.02060): queries and keys normed over the whole projection.</summary>
internal static class OlmoeFamily
{
    private static readonly DecoderDefaults s_defaults = new()
    {
        VocabSize = 50304,
        HiddenSize = 2048,
        IntermediateSize = 2048,
        NumHiddenLayers = 16,
        NumAttentionHeads = 16,
        MaxPositionEmbeddings = 4096,
        RmsNormEps = 1e-5,
    };

    public static ModelFamily Family { get; } = new("olmoe", "OlmoeForCausalLM", Read, Write);

    private static ModelConfig Read(ConfigReader reader)
    {
        ModelConfig config = DecoderKeys.Read(reader, "olmoe", s_defaults);
        return config with
        {
            AttentionBias = reader.Switch("attention_bias", false),
            QueryKeyNorm = QueryKeyNorm.WholeProjection,
            ClipQkv = (float)reader.Number("clip_qkv", 0),
            Moe = new MoeConfig
            {
                NumExperts = reader.IntOfAny("num_experts", "num_local_experts") ?? 64,
                TopK = reader.Int("num_experts_per_tok", 8),
                IntermediateSize = config.IntermediateSize,
                NormTopKProb = reader.Switch("norm_topk_prob", false),
            },
        };
    }

    private static void Write(Utf8JsonWriter writer, ModelConfig config)
    {
        MoeConfig moe = DecoderKeys.Experts(config);
        DecoderKeys.Write(writer, config);
        writer.WriteBoolean("attention_bias", config.AttentionBias);
        if (config.ClipQkv > 0)
        {
            writer.WriteNumber("clip_qkv", config.ClipQkv);
        }
        else
        {
            writer.WriteNull("clip_qkv");
        }

        writer.WriteNumber("num_experts", moe.NumExperts);
        writer.WriteNumber("num_experts_per_tok", moe.TopK);
        writer.WriteBoolean("norm_topk_prob", moe.NormTopKProb);
    }
}
