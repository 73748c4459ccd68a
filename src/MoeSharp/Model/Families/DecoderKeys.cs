using System.Text.Json;

namespace MoeSharp.Model.Families;

/// <summary>What a family's configuration class assumes where a key is absent.</summary>
internal sealed record DecoderDefaults
{
    public int VocabSize { get; init; } = 32000;

    public int HiddenSize { get; init; } = 4096;

    public int IntermediateSize { get; init; } = 11008;

    public int NumHiddenLayers { get; init; } = 32;

    public int NumAttentionHeads { get; init; } = 32;

    /// <summary>Null: as many as query heads.</summary>
    public int? NumKeyValueHeads { get; init; }

    /// <summary>Null: hidden size over heads.</summary>
    public int? HeadDim { get; init; }

    public int MaxPositionEmbeddings { get; init; } = 2048;

    public double RmsNormEps { get; init; } = 1e-6;

    public RopeConfig Rope { get; init; } = new();
}

/// <summary>The keys that nearly every family shares.</summary>
internal static class DecoderKeys
{
    /// <summary>Reads sizes, positions, norms and tokens. The head width of latent attention is its family's to set.</summary>
    public static ModelConfig Read(ConfigReader reader, string modelType, DecoderDefaults defaults, string activation = "silu")
    {
        if (activation == "silu")
        {
            reader.OneOf("hidden_act", "silu", "silu", "swish");
        }

        ReadStorage(reader);
        int hiddenSize = reader.Int("hidden_size", defaults.HiddenSize);
        int numHeads = reader.Int("num_attention_heads", defaults.NumAttentionHeads);
        int headDim = ReadHeadDim(reader, defaults.HeadDim, hiddenSize, numHeads);
        int positions = reader.Int("max_position_embeddings", defaults.MaxPositionEmbeddings);
        return new ModelConfig
        {
            ModelType = modelType,
            VocabSize = reader.Int("vocab_size", defaults.VocabSize),
            HiddenSize = hiddenSize,
            IntermediateSize = reader.Int("intermediate_size", defaults.IntermediateSize),
            NumHiddenLayers = reader.Int("num_hidden_layers", defaults.NumHiddenLayers),
            NumAttentionHeads = numHeads,
            NumKeyValueHeads = ReadKeyValueHeads(reader, defaults.NumKeyValueHeads, numHeads),
            HeadDim = headDim,
            MaxPositionEmbeddings = positions,
            RmsNormEps = (float)reader.Number("rms_norm_eps", defaults.RmsNormEps),
            Rope = RopeKeys.Read(reader, defaults.Rope, headDim, positions),
            TieWordEmbeddings = reader.Switch("tie_word_embeddings", false),
            InitializerRange = (float)reader.Number("initializer_range", 0.02),
            BosTokenId = reader.Token("bos_token_id"),
            EosTokenId = reader.Token("eos_token_id"),
        };
    }

    /// <summary>Checks how the weights are stored; the reader of the weights decides tensor by tensor, so only methods that it cannot undo are refused.</summary>
    public static void ReadStorage(ConfigReader reader)
    {
        reader.OneOf(reader.Value("dtype") is null ? "torch_dtype" : "dtype", "float32", "float32", "bfloat16", "float16", "float64");
        if (reader.Value("quantization_config") is null)
        {
            return;
        }

        ConfigReader storage = reader.Section("quantization_config");
        if (storage.OneOf("quant_method", "", "fp8", "mxfp4") == "fp8")
        {
            storage.OneOf("fmt", "e4m3", "e4m3", "float8_e4m3fn");
            storage.OneOf("activation_scheme", "dynamic", "dynamic");
            IReadOnlyList<int>? block = storage.Ints("weight_block_size");
            if (block is null || block.Count != 2 || block.Min() < 1)
            {
                storage.Problems.Add($"{storage.Place("weight_block_size")} must be two positive numbers; weights with one scale per tensor or channel are not supported");
            }
        }

        storage.Ignore("modules_to_not_convert", "ignored_layers", "scale_fmt", "dequantize", "kv_cache_scheme");
    }

    /// <summary>Writes what <see cref="Read"/> reads.</summary>
    public static void Write(Utf8JsonWriter writer, ModelConfig config, string activation = "silu")
    {
        writer.WriteNumber("vocab_size", config.VocabSize);
        writer.WriteNumber("hidden_size", config.HiddenSize);
        writer.WriteNumber("intermediate_size", config.IntermediateSize);
        writer.WriteNumber("num_hidden_layers", config.NumHiddenLayers);
        writer.WriteNumber("num_attention_heads", config.NumAttentionHeads);
        writer.WriteNumber("num_key_value_heads", config.NumKeyValueHeads);
        if (config.LatentAttention is null && (long)config.HeadDim * config.NumAttentionHeads != config.HiddenSize)
        {
            writer.WriteNumber("head_dim", config.HeadDim);
        }

        writer.WriteString("hidden_act", activation);
        writer.WriteNumber("max_position_embeddings", config.MaxPositionEmbeddings);
        writer.WriteNumber("initializer_range", config.InitializerRange);
        writer.WriteNumber("rms_norm_eps", config.RmsNormEps);
        RopeKeys.Write(writer, config);
        writer.WriteNumber("attention_dropout", 0.0);
        writer.WriteBoolean("tie_word_embeddings", config.TieWordEmbeddings);
        WriteTokens(writer, config);
        writer.WriteBoolean("use_cache", true);
    }

    /// <summary>Writes the first and the last token of a text.</summary>
    public static void WriteTokens(Utf8JsonWriter writer, ModelConfig config)
    {
        WriteOptional(writer, "bos_token_id", config.BosTokenId);
        WriteOptional(writer, "eos_token_id", config.EosTokenId);
    }

    /// <summary>Writes a number, or null.</summary>
    public static void WriteOptional(Utf8JsonWriter writer, string key, int? value)
    {
        if (value is { } number)
        {
            writer.WriteNumber(key, number);
        }
        else
        {
            writer.WriteNull(key);
        }
    }

    /// <summary>The experts of a model whose family has no dense form.</summary>
    /// <exception cref="ConfigurationException">There are none.</exception>
    public static MoeConfig Experts(ModelConfig config) => config.Moe
        ?? throw new ConfigurationException($"model_type '{config.ModelType}' has experts, this model has none; set model_type to 'deepseek' or 'llama'");

    /// <summary>The value that a key takes when absent; an explicit null means something else than absence.</summary>
    public static int? IntOrAbsent(ConfigReader reader, string key, int? absent) => reader.Has(key) ? reader.Int(key) : absent;

    private static int ReadKeyValueHeads(ConfigReader reader, int? absent, int numHeads) =>
        IntOrAbsent(reader, "num_key_value_heads", absent) ?? numHeads;

    private static int ReadHeadDim(ConfigReader reader, int? absent, int hiddenSize, int numHeads)
    {
        if ((reader.Int("head_dim") ?? absent) is { } headDim)
        {
            return headDim;
        }

        if (numHeads < 1 || hiddenSize < numHeads)
        {
            return 2; // the sizes are wrong themselves and are reported as such
        }

        if (hiddenSize % numHeads != 0)
        {
            reader.Problems.Add($"hidden_size {hiddenSize} is not divisible by num_attention_heads {numHeads}; use a multiple of {numHeads} or set head_dim");
        }

        return hiddenSize / numHeads;
    }
}
