using System.Text.Json;

namespace MoeSharp.Model.Families;

/// <summary>gpt-oss: attention sinks, every other layer with a window, biases everywhere, clamped SwiGLU experts.</summary>
internal static class GptOssFamily
{
    private const int AbsentWindow = 128;

    private static readonly DecoderDefaults s_defaults = new()
    {
        VocabSize = 201088,
        HiddenSize = 2880,
        IntermediateSize = 2880,
        NumHiddenLayers = 36,
        NumAttentionHeads = 64,
        NumKeyValueHeads = 8,
        HeadDim = 64,
        MaxPositionEmbeddings = 131072,
        RmsNormEps = 1e-5,
        Rope = new RopeConfig
        {
            Theta = 150000,
            Scaling = RopeScaling.Yarn,
            Factor = 32,
            OriginalMaxPositions = 4096,
            Truncates = false,
            AttentionFactor = RopeConfig.Magnitude(32, 1),
        },
    };

    public static ModelFamily Family { get; } = new("gpt_oss", "GptOssForCausalLM", Read, Write);

    private static ModelConfig Read(ConfigReader reader)
    {
        ModelConfig config = DecoderKeys.Read(reader, "gpt_oss", s_defaults);
        reader.Ignore("initial_context_length"); // the same number stands in rope_scaling
        int? window = DecoderKeys.IntOrAbsent(reader, "sliding_window", AbsentWindow);
        config = LayerAttentionKeys.WithWindow(reader, config, window, layer => layer % 2 == 0 ? AttentionKind.Sliding : AttentionKind.Full);
        return config with
        {
            AttentionBias = reader.Switch("attention_bias", true),
            HasAttentionSinks = true,
            Moe = new MoeConfig
            {
                NumExperts = reader.IntOfAny("num_local_experts", "num_experts") ?? 128,
                TopK = reader.IntOfAny("num_experts_per_tok", "experts_per_token") ?? 4,
                IntermediateSize = config.IntermediateSize,
                Scoring = RouterScoring.SoftmaxOverChosen,
                HasRouterBias = true,
                HasExpertBias = true,
                Activation = ExpertActivation.ClampedSwiGlu,
                ActivationLimit = (float)reader.Number("swiglu_limit", 7),
            },
        };
    }

    private static void Write(Utf8JsonWriter writer, ModelConfig config)
    {
        MoeConfig moe = DecoderKeys.Experts(config);
        DecoderKeys.Write(writer, config);
        if ((long)config.HeadDim * config.NumAttentionHeads == config.HiddenSize)
        {
            writer.WriteNumber("head_dim", config.HeadDim); // absent means 64 here
        }

        writer.WriteBoolean("attention_bias", config.AttentionBias);
        LayerAttentionKeys.Write(writer, config);
        writer.WriteNumber("num_local_experts", moe.NumExperts);
        writer.WriteNumber("num_experts_per_tok", moe.TopK);
        writer.WriteNumber("experts_per_token", moe.TopK);
        writer.WriteNumber("swiglu_limit", moe.ActivationLimit);
    }
}
