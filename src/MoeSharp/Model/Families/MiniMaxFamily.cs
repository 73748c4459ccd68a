using System.Text.Json;

namespace MoeSharp.Model.Families;

/// <summary>MiniMax-Text-01 (arXiv 2501.08313): most layers have lightning attention, the residual is the normed input. Two spellings: transformers' own and the release's.</summary>
internal static class MiniMaxFamily
{
    private const double AbsentTheta = 1e6;

    private static readonly DecoderDefaults s_defaults = new()
    {
        IntermediateSize = 14336,
        NumKeyValueHeads = 8,
        MaxPositionEmbeddings = 131072,
        RmsNormEps = 1e-5,
        Rope = new RopeConfig { Theta = AbsentTheta },
    };

    /// <summary>The spelling of transformers; the one that is written.</summary>
    public static ModelFamily Family { get; } = new("minimax", "MiniMaxForCausalLM", ReadNative, Write);

    /// <summary>The spelling of the release.</summary>
    public static ModelFamily Remote { get; } = new("minimax_text_01", "MiniMaxText01ForCausalLM", ReadRemote, Write);

    private static ModelConfig ReadNative(ConfigReader reader)
    {
        ModelConfig config = ReadShared(reader);
        reader.Ignore("block_size"); // of an implementation in blocks; the result is the same
        ResidualScales scales = ReadScales(reader, "full_attn_{0}_factor", "linear_attn_{0}_factor", "mlp_{0}_factor");
        if (reader.Int("sliding_window") is { } window)
        {
            reader.Problems.Add($"sliding_window {window} is not supported in this family; use null");
        }

        return LayerAttentionKeys.WithLayers(reader, config with { ResidualScales = scales }, layer => layer % 2 == 0 ? AttentionKind.Full : AttentionKind.Linear);
    }

    private static ModelConfig ReadRemote(ConfigReader reader)
    {
        ModelConfig config = ReadShared(reader);
        if (!reader.Switch("postnorm", false))
        {
            reader.Problems.Add("postnorm false is not supported: every release takes the normed input as the residual, with postnorm true");
        }

        reader.Require("shared_intermediate_size", 0, "no release has a shared expert");
        reader.Ignore("shared_moe_mode", "block", "block_size"); // the last two of an implementation in blocks; the result is the same
        ResidualScales scales = ReadScales(reader, "layernorm_full_attention_{0}", "layernorm_linear_attention_{0}", "layernorm_mlp_{0}");
        IReadOnlyList<int>? types = reader.Ints("attn_type_list");
        if (types is null || types.Count != config.NumHiddenLayers || types.Any(type => type is not (0 or 1)))
        {
            reader.Problems.Add($"attn_type_list must name each of the {config.NumHiddenLayers} layers: 0 for linear, 1 for full attention");
            return config;
        }

        return config with { ResidualScales = scales, LayerAttention = [.. types.Select(type => type == 0 ? AttentionKind.Linear : AttentionKind.Full)] };
    }

    private static ModelConfig ReadShared(ConfigReader reader)
    {
        ModelConfig config = DecoderKeys.Read(reader, "minimax", s_defaults);
        reader.Ignore("router_jitter_noise");
        int rotary = reader.Int("rotary_dim", 0);
        return config with
        {
            BlockLayout = BlockLayout.NormedResidual,
            Rope = rotary > 0 && rotary != config.HeadDim ? config.Rope with { RotaryDim = rotary } : config.Rope,
            Moe = new MoeConfig
            {
                NumExperts = reader.IntOfAny("num_local_experts", "num_experts") ?? 8,
                TopK = reader.Int("num_experts_per_tok", 2),
                IntermediateSize = config.IntermediateSize,
                NormTopKProb = true,
            },
        };
    }

    private static ResidualScales ReadScales(ConfigReader reader, string full, string linear, string feedForward)
    {
        float Scale(string pattern, string which) => (float)reader.Number(pattern.Replace("{0}", which, StringComparison.Ordinal), 1);

        return new ResidualScales
        {
            FullAttentionAlpha = Scale(full, "alpha"),
            FullAttentionBeta = Scale(full, "beta"),
            LinearAttentionAlpha = Scale(linear, "alpha"),
            LinearAttentionBeta = Scale(linear, "beta"),
            FeedForwardAlpha = Scale(feedForward, "alpha"),
            FeedForwardBeta = Scale(feedForward, "beta"),
        };
    }

    private static void Write(Utf8JsonWriter writer, ModelConfig config)
    {
        MoeConfig moe = DecoderKeys.Experts(config);
        DecoderKeys.Write(writer, config);
        LayerAttentionKeys.Write(writer, config);
        writer.WriteNumber("full_attn_alpha_factor", config.ResidualScales.FullAttentionAlpha);
        writer.WriteNumber("full_attn_beta_factor", config.ResidualScales.FullAttentionBeta);
        writer.WriteNumber("linear_attn_alpha_factor", config.ResidualScales.LinearAttentionAlpha);
        writer.WriteNumber("linear_attn_beta_factor", config.ResidualScales.LinearAttentionBeta);
        writer.WriteNumber("mlp_alpha_factor", config.ResidualScales.FeedForwardAlpha);
        writer.WriteNumber("mlp_beta_factor", config.ResidualScales.FeedForwardBeta);
        writer.WriteNumber("num_local_experts", moe.NumExperts);
        writer.WriteNumber("num_experts_per_tok", moe.TopK);
    }
}
