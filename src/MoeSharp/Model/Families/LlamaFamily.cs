using System.Text.Json;

namespace MoeSharp.Model.Families;

/// <summary>Dense decoders: LLaMA-2, Llama 3.1, DeepSeek LLM 7B and 67B.</summary>
internal static class LlamaFamily
{
    public static ModelFamily Family { get; } = new("llama", "LlamaForCausalLM", Read, Write);

    private static ModelConfig Read(ConfigReader reader)
    {
        reader.Require("mlp_bias", false, "feed-forward layers have no bias here");
        return DecoderKeys.Read(reader, "llama", new DecoderDefaults()) with { AttentionBias = reader.Switch("attention_bias", false) };
    }

    private static void Write(Utf8JsonWriter writer, ModelConfig config)
    {
        if (config.Moe is not null)
        {
            throw new ConfigurationException("model_type 'llama' has no experts; set model_type to 'deepseek' or leave the experts out");
        }

        DecoderKeys.Write(writer, config);
        writer.WriteBoolean("attention_bias", config.AttentionBias);
        writer.WriteBoolean("mlp_bias", false);
    }
}
