using System.Text.Json;

namespace MoeSharp.Model.Families;

/// <summary>Mixtral 8x7B and 8x22B (arXiv 2401.04088), WizardLM-2 8x22B.</summary>
internal static class MixtralFamily
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

    public static ModelFamily Family { get; } = new("mixtral", "MixtralForCausalLM", Read, Write);

    private static ModelConfig Read(ConfigReader reader)
    {
        ModelConfig config = LayerAttentionKeys.ReadEverywhere(reader, DecoderKeys.Read(reader, "mixtral", s_defaults));
        reader.Ignore("router_jitter_noise"); // of training
        return config with
        {
            Moe = new MoeConfig
            {
                NumExperts = reader.IntOfAny("num_local_experts", "num_experts") ?? 8,
                TopK = reader.Int("num_experts_per_tok", 2),
                IntermediateSize = config.IntermediateSize,
                NormTopKProb = true,
            },
        };
    }

    private static void Write(Utf8JsonWriter writer, ModelConfig config)
    {
        MoeConfig moe = DecoderKeys.Experts(config);
        DecoderKeys.Write(writer, config);
        LayerAttentionKeys.Write(writer, config);
        writer.WriteNumber("num_local_experts", moe.NumExperts);
        writer.WriteNumber("num_experts_per_tok", moe.TopK);
    }
}
