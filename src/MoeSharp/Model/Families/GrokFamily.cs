using System.Text.Json;

namespace MoeSharp.Model.Families;

/// <summary>Grok-1: norms before and after each part, capped scores, GELU experts, scaled embedding and logits.</summary>
/// <remarks>There is no official release in this format; the keys are those of the ports. GGUF files describe the same model.</remarks>
internal static class GrokFamily
{
    private static readonly DecoderDefaults s_defaults = new()
    {
        VocabSize = 131072,
        HiddenSize = 6144,
        IntermediateSize = 32768,
        NumHiddenLayers = 64,
        NumAttentionHeads = 48,
        NumKeyValueHeads = 8,
        MaxPositionEmbeddings = 8192,
        RmsNormEps = 1e-5,
    };

    public static ModelFamily Family { get; } = new("grok-1", "Grok1ModelForCausalLM", Read, Write);

    private static ModelConfig Read(ConfigReader reader)
    {
        reader.OneOf("hidden_act", "gelu", "gelu", "gelu_pytorch_tanh", "gelu_new");
        ModelConfig config = DecoderKeys.Read(reader, "grok-1", s_defaults, "gelu");
        return config with
        {
            TieWordEmbeddings = reader.Switch("tie_word_embeddings", true),
            BlockLayout = BlockLayout.SandwichNorm,
            EmbeddingScale = (float)reader.Number("embedding_multiplier_scale", 78.38367176906169),
            LogitScale = (float)reader.Number("output_multiplier_scale", 0.5773502691896257),
            AttentionScale = (float)reader.Number("attn_output_multiplier", 0.08838834764831845),
            AttentionScoreCap = (float)reader.Number("max_attn_value", 30),
            Moe = new MoeConfig
            {
                NumExperts = reader.IntOfAny("num_experts", "num_local_experts") ?? 8,
                TopK = reader.Int("num_experts_per_tok", 2),
                IntermediateSize = config.IntermediateSize,
                Activation = ExpertActivation.GeGlu,
            },
        };
    }

    private static void Write(Utf8JsonWriter writer, ModelConfig config)
    {
        MoeConfig moe = DecoderKeys.Experts(config);
        DecoderKeys.Write(writer, config, "gelu");
        writer.WriteNumber("embedding_multiplier_scale", config.EmbeddingScale);
        writer.WriteNumber("output_multiplier_scale", config.LogitScale);
        writer.WriteNumber("attn_output_multiplier", config.AttentionScale);
        writer.WriteNumber("max_attn_value", config.AttentionScoreCap);
        writer.WriteNumber("num_experts", moe.NumExperts);
        writer.WriteNumber("num_experts_per_tok", moe.TopK);
    }
}
