using System.Text.Json;

namespace MoeSharp.Model.Families;

/// <summary>Snowflake Arctic: a dense feed-forward after attention, and experts that read the layer's input beside both.</summary>
internal static class ArcticFamily
{
    private const double AbsentTheta = 1e6;

    private static readonly DecoderDefaults s_defaults = new()
    {
        IntermediateSize = 14336,
        MaxPositionEmbeddings = 4096,
        RmsNormEps = 1e-5,
        Rope = new RopeConfig { Theta = AbsentTheta },
    };

    public static ModelFamily Family { get; } = new("arctic", "ArcticForCausalLM", Read, Write);

    private static ModelConfig Read(ConfigReader reader)
    {
        ModelConfig config = LayerAttentionKeys.ReadEverywhere(reader, DecoderKeys.Read(reader, "arctic", s_defaults));
        reader.Ignore(
            "use_residual", "moe_train_capacity_factor", "moe_eval_capacity_factor", "moe_min_capacity", "moe_token_dropping", "enable_expert_tensor_parallelism",
            "enable_capacity_factor", "router_jitter_noise", "quantization"); // of its training code; no token is dropped here
        return config with
        {
            BlockLayout = reader.Switch("parallel_attn_mlp_res", false) ? BlockLayout.ParallelExperts : BlockLayout.PreNorm,
            Moe = new MoeConfig
            {
                NumExperts = reader.IntOfAny("num_local_experts", "num_experts") ?? 8,
                TopK = reader.Int("num_experts_per_tok", 1),
                IntermediateSize = config.IntermediateSize,
                NormTopKProb = true,
                MoeLayerFreq = reader.Int("moe_layer_frequency", 2),
                MoeLayerEndsPeriod = true,
            },
        };
    }

    private static void Write(Utf8JsonWriter writer, ModelConfig config)
    {
        MoeConfig moe = DecoderKeys.Experts(config);
        DecoderKeys.Write(writer, config);
        LayerAttentionKeys.Write(writer, config);
        writer.WriteBoolean("parallel_attn_mlp_res", config.BlockLayout == BlockLayout.ParallelExperts);
        writer.WriteBoolean("use_residual", config.BlockLayout == BlockLayout.ParallelExperts);
        writer.WriteNumber("num_local_experts", moe.NumExperts);
        writer.WriteNumber("num_experts_per_tok", moe.TopK);
        writer.WriteNumber("moe_layer_frequency", moe.MoeLayerFreq);
    }
}
