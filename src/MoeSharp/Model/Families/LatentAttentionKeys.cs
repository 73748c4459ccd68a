using System.Text.Json;

namespace MoeSharp.Model.Families;

/// <summary>The keys of multi-head latent attention, shared by DeepSeek-V2 and V3.</summary>
internal static class LatentAttentionKeys
{
    private const int AbsentQueryRank = 1536;
    private const int AbsentLatentRank = 512;
    private const int AbsentNopeHeadDim = 128;
    private const int AbsentRopeHeadDim = 64;

    /// <summary>Reads a decoder with latent attention.</summary>
    public static ModelConfig Read(ConfigReader reader, string modelType, DecoderDefaults defaults)
    {
        LatentAttentionConfig latent = new()
        {
            QueryRank = DecoderKeys.IntOrAbsent(reader, "q_lora_rank", AbsentQueryRank) ?? 0,
            LatentRank = reader.Int("kv_lora_rank", AbsentLatentRank),
            NopeHeadDim = reader.Int("qk_nope_head_dim", AbsentNopeHeadDim),
            RopeHeadDim = reader.Int("qk_rope_head_dim", AbsentRopeHeadDim),
            ValueHeadDim = reader.Int("v_head_dim", AbsentNopeHeadDim),
        };
        reader.Require("rope_interleave", true, "released checkpoints rotate neighbouring pairs");
        reader.Ignore("qk_head_dim"); // derived
        int headDim = latent.NopeHeadDim + latent.RopeHeadDim;

        // head_dim of a re-saved file is the rotary width and says nothing new.
        ModelConfig config = DecoderKeys.Read(reader, modelType, defaults with { HeadDim = headDim, Rope = defaults.Rope with { IsInterleaved = true } });
        return config with
        {
            HeadDim = headDim,
            NumKeyValueHeads = config.NumAttentionHeads,
            AttentionBias = reader.Switch("attention_bias", false),
            LatentAttention = latent,
            Rope = RopeKeys.WithDeepSeekMagnitude(reader, config.Rope),
        };
    }

    /// <summary>Writes what <see cref="Read"/> reads.</summary>
    public static void Write(Utf8JsonWriter writer, ModelConfig config)
    {
        LatentAttentionConfig latent = config.LatentAttention
            ?? throw new ConfigurationException($"model_type '{config.ModelType}' has latent attention, this model has none; set model_type to 'deepseek'");
        DecoderKeys.Write(writer, config);
        writer.WriteBoolean("attention_bias", config.AttentionBias);
        DecoderKeys.WriteOptional(writer, "q_lora_rank", latent.QueryRank > 0 ? latent.QueryRank : null);
        writer.WriteNumber("kv_lora_rank", latent.LatentRank);
        writer.WriteNumber("qk_nope_head_dim", latent.NopeHeadDim);
        writer.WriteNumber("qk_rope_head_dim", latent.RopeHeadDim);
        writer.WriteNumber("v_head_dim", latent.ValueHeadDim);
    }
}
