using System.Text.Json;

namespace MoeSharp.Model.Families;

/// <summary>JetMoE-8B (arXiv 2404.07413): experts in attention and in the feed-forward, as many of each and chosen alike.</summary>
internal static class JetMoeFamily
{
    private const float LayerNormEps = 1e-6f; // of the released code: rms_norm_eps is for the last norm alone

    private static readonly DecoderDefaults s_defaults = new()
    {
        VocabSize = 32000,
        HiddenSize = 2048,
        IntermediateSize = 5632,
        NumHiddenLayers = 12,
        NumAttentionHeads = 32,
        NumKeyValueHeads = 16,
        HeadDim = 128,
        MaxPositionEmbeddings = 4096,
    };

    public static ModelFamily Family { get; } = new("jetmoe", "JetMoeForCausalLM", Read, Write);

    private static ModelConfig Read(ConfigReader reader)
    {
        reader.OneOf("activation_function", "silu", "silu");
        reader.Ignore("aux_loss_coef");
        int channels = reader.Int("kv_channels", 128);
        ModelConfig config = DecoderKeys.Read(reader, "jetmoe", s_defaults with { HeadDim = channels });
        int topK = reader.Int("num_experts_per_tok", 2);
        int numExperts = reader.IntOfAny("num_local_experts", "num_experts") ?? 8;
        if (topK == 1)
        {
            reader.Problems.Add("num_experts_per_tok 1 is not supported: the family divides the weights of the chosen by their sum, so that one alone always weighs 1 and its router means nothing");
        }

        if (reader.Int("num_attention_heads") is { } heads && heads != (long)topK * config.NumKeyValueHeads)
        {
            reader.Problems.Add($"num_attention_heads {heads} is not num_key_value_heads {config.NumKeyValueHeads} times num_experts_per_tok {topK}; every expert has as many query heads as there are keys and values");
        }

        return config with
        {
            HeadDim = channels,
            NumAttentionHeads = config.NumKeyValueHeads, // of one expert
            RmsNormEps = LayerNormEps,
            FinalNormEps = config.RmsNormEps == LayerNormEps ? 0 : config.RmsNormEps,
            TieWordEmbeddings = reader.Switch("tie_word_embeddings", true),
            AttentionOutputBias = true,
            AttentionExperts = new AttentionExpertsConfig { Kind = AttentionExpertsKind.Mixture, NumExperts = numExperts, TopK = topK, NormTopKProb = true },
            Moe = new MoeConfig
            {
                NumExperts = numExperts,
                TopK = topK,
                IntermediateSize = config.IntermediateSize,
                NormTopKProb = true,
                HasOutputBias = true,
            },
        };
    }

    private static void Write(Utf8JsonWriter writer, ModelConfig config)
    {
        MoeConfig moe = DecoderKeys.Experts(config);
        DecoderKeys.Write(writer, config with
        {
            NumAttentionHeads = config.NumKeyValueHeads * moe.TopK,
            RmsNormEps = config.FinalNormEps > 0 ? config.FinalNormEps : config.RmsNormEps,
        });
        writer.WriteString("activation_function", "silu");
        writer.WriteNumber("kv_channels", config.HeadDim);
        writer.WriteNumber("num_local_experts", moe.NumExperts);
        writer.WriteNumber("num_experts_per_tok", moe.TopK);
    }
}
