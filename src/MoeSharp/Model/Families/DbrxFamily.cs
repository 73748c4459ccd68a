using System.Text.Json;

namespace MoeSharp.Model.Families;

/// <summary>DBRX: LayerNorm, clamped projections; its file names its sizes in its own way and nests attention and experts.</summary>
internal static class DbrxFamily
{
    private const float LayerNormEps = 1e-5f; // not in the file: the default of the layer

    public static ModelFamily Family { get; } = new("dbrx", "DbrxForCausalLM", Read, Write);

    private static ModelConfig Read(ConfigReader reader)
    {
        DecoderKeys.ReadStorage(reader);
        reader.Ignore("emb_pdrop");
        ConfigReader attention = Section(reader, "attn_config");
        MoeConfig experts = ReadExperts(Section(reader, "ffn_config"));
        int hiddenSize = reader.Int("d_model", 2048);
        int numHeads = reader.Int("n_heads", 16);
        if (numHeads > 0 && hiddenSize % numHeads != 0)
        {
            reader.Problems.Add($"d_model {hiddenSize} is not divisible by n_heads {numHeads}; use a multiple");
        }

        return new ModelConfig
        {
            ModelType = "dbrx",
            VocabSize = reader.Int("vocab_size", 32000),
            HiddenSize = hiddenSize,
            IntermediateSize = experts.IntermediateSize,
            NumHiddenLayers = reader.Int("n_layers", 24),
            NumAttentionHeads = numHeads,
            NumKeyValueHeads = attention.Int("kv_n_heads", 1),
            HeadDim = numHeads > 0 ? hiddenSize / numHeads : 0,
            MaxPositionEmbeddings = reader.Int("max_seq_len", 2048),
            RmsNormEps = LayerNormEps,
            RopeTheta = attention.Number("rope_theta", 10000),
            ClipQkv = (float)attention.Number("clip_qkv", 0),
            UsesLayerNorm = true,
            TieWordEmbeddings = reader.Switch("tie_word_embeddings", false),
            InitializerRange = (float)reader.Number("initializer_range", 0.02),
            BosTokenId = reader.Token("bos_token_id"),
            EosTokenId = reader.Token("eos_token_id"),
            Moe = experts,
        };
    }

    private static ConfigReader Section(ConfigReader reader, string name)
    {
        ConfigReader section = reader.Section(name);
        section.Ignore("model_type", "attn_pdrop", "moe_jitter_eps", "moe_loss_weight", "transformers_version");
        return section;
    }

    private static MoeConfig ReadExperts(ConfigReader section)
    {
        section.Require("uniform_expert_assignment", false, "it replaces the router's choice for measurements");
        section.Section("ffn_act_fn").OneOf("name", "silu", "silu");
        double? normOrder = section.Has("moe_normalize_expert_weights") ? section.Number("moe_normalize_expert_weights") : 1;
        return new MoeConfig
        {
            NumExperts = section.Int("moe_num_experts", 4),
            TopK = section.Int("moe_top_k", 1),
            IntermediateSize = section.Int("ffn_hidden_size", 3584),
            NormTopKProb = normOrder is not null,
            NormOrder = (float)(normOrder ?? 1),
        };
    }

    private static void Write(Utf8JsonWriter writer, ModelConfig config)
    {
        MoeConfig moe = DecoderKeys.Experts(config);
        writer.WriteNumber("d_model", config.HiddenSize);
        writer.WriteNumber("n_heads", config.NumAttentionHeads);
        writer.WriteNumber("n_layers", config.NumHiddenLayers);
        writer.WriteNumber("max_seq_len", config.MaxPositionEmbeddings);
        writer.WriteNumber("vocab_size", config.VocabSize);
        writer.WriteNumber("initializer_range", config.InitializerRange);
        writer.WriteBoolean("tie_word_embeddings", config.TieWordEmbeddings);
        DecoderKeys.WriteTokens(writer, config);
        writer.WriteStartObject("attn_config");
        writer.WriteNumber("kv_n_heads", config.NumKeyValueHeads);
        writer.WriteNumber("rope_theta", config.RopeTheta);
        if (config.ClipQkv > 0)
        {
            writer.WriteNumber("clip_qkv", config.ClipQkv);
        }

        writer.WriteEndObject();
        writer.WriteStartObject("ffn_config");
        writer.WriteNumber("ffn_hidden_size", moe.IntermediateSize);
        writer.WriteNumber("moe_num_experts", moe.NumExperts);
        writer.WriteNumber("moe_top_k", moe.TopK);
        if (moe.NormTopKProb)
        {
            writer.WriteNumber("moe_normalize_expert_weights", moe.NormOrder);
        }
        else
        {
            writer.WriteNull("moe_normalize_expert_weights");
        }

        writer.WriteEndObject();
        writer.WriteBoolean("use_cache", true);
    }
}
