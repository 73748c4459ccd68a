using System.Text.Json;

namespace MoeSharp.Model.Families;

/// <summary>Dense decoders with biases on queries, keys and values: Qwen1.5, Qwen2, Qwen2.5.</summary>
internal static class Qwen2Family
{
    private const int AbsentWindow = 4096;
    private const int AbsentWindowLayers = 28;

    public static ModelFamily Family { get; } = new("qwen2", "Qwen2ForCausalLM", Read, Write);

    private static ModelConfig Read(ConfigReader reader)
    {
        ModelConfig config = DecoderKeys.Read(reader, "qwen2", new DecoderDefaults { VocabSize = 151936, IntermediateSize = 22016, NumKeyValueHeads = 32, MaxPositionEmbeddings = 32768 });
        int fullLayers = reader.Int("max_window_layers", AbsentWindowLayers);
        config = config with { AttentionBias = true, AttentionOutputBias = false };
        return LayerAttentionKeys.ReadSwitched(reader, config, AbsentWindow, layer => layer >= fullLayers ? AttentionKind.Sliding : AttentionKind.Full);
    }

    private static void Write(Utf8JsonWriter writer, ModelConfig config)
    {
        DecoderKeys.Write(writer, config);
        writer.WriteBoolean("use_sliding_window", config.SlidingWindow > 0);
        LayerAttentionKeys.Write(writer, config);
    }
}
