using System.Text.Json;

namespace MoeSharp.Model;

/// <summary>One family of checkpoints: how its <c>config.json</c> maps to a <see cref="ModelConfig"/> and back.</summary>
/// <remarks>A new family is one more row of <see cref="s_families"/>: what it shares with the others comes from <see cref="ReadDecoder"/> and <see cref="WriteDecoder"/>.</remarks>
internal sealed record ModelFamily(string ModelType, string Architecture, Func<ConfigReader, ModelConfig> Read, Action<Utf8JsonWriter, ModelConfig> Write)
{
    private static readonly ModelFamily[] s_families =
    [
        new("deepseek", "DeepseekForCausalLM", ReadDeepSeek, WriteDeepSeek),
        new("llama", "LlamaForCausalLM", ReadLlama, WriteLlama),
    ];

    /// <summary>The family of a file, by its architecture and, failing that, its model_type.</summary>
    /// <exception cref="ConfigurationException">The family is not supported.</exception>
    public static ModelFamily Of(ConfigReader reader, string source)
    {
        string? architecture = reader.Value("architectures") is { ValueKind: JsonValueKind.Array } names && names.GetArrayLength() > 0 && names[0].ValueKind == JsonValueKind.String
            ? names[0].GetString()
            : null;
        string? modelType = reader.Text("model_type");
        return Array.Find(s_families, family => family.Architecture == architecture)
            ?? Array.Find(s_families, family => family.ModelType == modelType)
            ?? throw new ConfigurationException($"{source}: model_type '{modelType ?? "(absent)"}' is not supported; this version reads {SupportedTypes}");
    }

    /// <summary>The family with a model_type.</summary>
    /// <exception cref="ConfigurationException">The family is not supported.</exception>
    public static ModelFamily Of(string modelType) =>
        Array.Find(s_families, family => family.ModelType == modelType)
            ?? throw new ConfigurationException($"model_type '{modelType}' is not supported; use {SupportedTypes}");

    private static string SupportedTypes => string.Join(" or ", s_families.Select(family => $"'{family.ModelType}'"));

    // Defaults where a key is absent are those of each family's configuration class.
    private static ModelConfig ReadDeepSeek(ConfigReader reader)
    {
        reader.OneOf("scoring_func", "softmax", "softmax");
        reader.OneOf("topk_method", "greedy", "greedy");
        RequireOne(reader, "n_group");
        RequireOne(reader, "topk_group");
        ModelConfig decoder = ReadDecoder(reader, "deepseek", vocabSize: 102400, numHiddenLayers: 30, initializerRange: 0.02);
        int? numExperts = reader.IntOfAny("n_routed_experts", "num_experts", "num_local_experts", "moe_num_experts");
        MoeConfig moe = new()
        {
            NumExperts = numExperts ?? 1,
            TopK = reader.Int("num_experts_per_tok", 0),
            IntermediateSize = reader.Int("moe_intermediate_size", 1407),
            NumSharedExperts = reader.Int("n_shared_experts", 0),
            NormTopKProb = reader.Switch("norm_topk_prob", false),
            RoutedScalingFactor = (float)reader.Number("routed_scaling_factor", 1),
            FirstKDenseReplace = reader.Int("first_k_dense_replace", 0),
            MoeLayerFreq = reader.Int("moe_layer_freq", 1),
            Router = reader.OneOf("moesharp_router", "top_k", "top_k", "hash") == "hash" ? RouterKind.Hash : RouterKind.TopK,
        };
        return numExperts is null ? decoder : decoder with { Moe = moe };
    }

    private static ModelConfig ReadLlama(ConfigReader reader)
    {
        if (reader.Switch("mlp_bias", false))
        {
            reader.Problems.Add("mlp_bias true is not supported; feed-forward layers have no bias here");
        }

        return ReadDecoder(reader, "llama", vocabSize: 32000, numHiddenLayers: 32, initializerRange: 0.02);
    }

    private static ModelConfig ReadDecoder(ConfigReader reader, string modelType, int vocabSize, int numHiddenLayers, double initializerRange)
    {
        reader.OneOf("hidden_act", "silu", "silu", "swish");
        reader.OneOf(reader.Value("dtype") is null ? "torch_dtype" : "dtype", "float32", "float32", "bfloat16", "float16", "float64");
        if (reader.Value("quantization_config") is { } quantization)
        {
            reader.Problems.Add($"quantization_config {ConfigReader.Shown(quantization)} is not supported; use the unquantised checkpoint");
        }

        int hiddenSize = reader.Int("hidden_size", 4096);
        int numHeads = reader.Int("num_attention_heads", 32);
        return new ModelConfig
        {
            ModelType = modelType,
            VocabSize = reader.Int("vocab_size", vocabSize),
            HiddenSize = hiddenSize,
            IntermediateSize = reader.Int("intermediate_size", 11008),
            NumHiddenLayers = reader.Int("num_hidden_layers", numHiddenLayers),
            NumAttentionHeads = numHeads,
            NumKeyValueHeads = reader.Int("num_key_value_heads", numHeads),
            HeadDim = ReadHeadDim(reader, hiddenSize, numHeads),
            MaxPositionEmbeddings = reader.Int("max_position_embeddings", 2048),
            RmsNormEps = (float)reader.Number("rms_norm_eps", 1e-6),
            RopeTheta = ReadRopeTheta(reader),
            TieWordEmbeddings = reader.Switch("tie_word_embeddings", false),
            AttentionBias = reader.Switch("attention_bias", false),
            InitializerRange = (float)reader.Number("initializer_range", initializerRange),
            BosTokenId = reader.Token("bos_token_id"),
            EosTokenId = reader.Token("eos_token_id"),
        };
    }

    private static int ReadHeadDim(ConfigReader reader, int hiddenSize, int numHeads)
    {
        if (reader.Int("head_dim") is { } headDim)
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

    // Two spellings exist: rope_theta with rope_scaling, and everything inside rope_parameters.
    private static double ReadRopeTheta(ConfigReader reader)
    {
        double theta = reader.Number("rope_theta", 10000);
        foreach (string key in (ReadOnlySpan<string>)["rope_scaling", "rope_parameters"])
        {
            if (reader.Value(key) is not { } value)
            {
                continue;
            }

            if (value.ValueKind != JsonValueKind.Object)
            {
                reader.Problems.Add($"{key} is {ConfigReader.Shown(value)}; write an object or null");
                continue;
            }

            ConfigReader rope = new(value);
            string type = rope.Text("rope_type") ?? rope.Text("type") ?? "default";
            if (type != "default")
            {
                reader.Problems.Add($"{key} of type '{type}' is not supported; only plain rotary positions are ('default', or {key} null)");
            }

            theta = rope.Number("rope_theta", theta);
            reader.Problems.AddRange(rope.Problems);
        }

        return theta;
    }

    private static void RequireOne(ConfigReader reader, string key)
    {
        if (reader.Int(key, 1) is not 1 and var value)
        {
            reader.Problems.Add($"{key} {value} is not supported; group-limited routing needs a later model family, use 1 or null");
        }
    }

    private static void WriteDeepSeek(Utf8JsonWriter writer, ModelConfig config)
    {
        WriteDecoder(writer, config);
        if (config.Moe is not { } moe)
        {
            writer.WriteNull("n_routed_experts");
            return;
        }

        writer.WriteNumber("n_routed_experts", moe.NumExperts);
        writer.WriteNumber("num_experts_per_tok", moe.TopK);
        if (moe.NumSharedExperts > 0)
        {
            writer.WriteNumber("n_shared_experts", moe.NumSharedExperts);
        }
        else
        {
            writer.WriteNull("n_shared_experts"); // the released code builds shared experts for any number, also 0
        }

        writer.WriteNumber("moe_intermediate_size", moe.IntermediateSize);
        writer.WriteNumber("first_k_dense_replace", moe.FirstKDenseReplace);
        writer.WriteNumber("moe_layer_freq", moe.MoeLayerFreq);
        writer.WriteBoolean("norm_topk_prob", moe.NormTopKProb);
        writer.WriteString("scoring_func", "softmax");
        if (moe.RoutedScalingFactor != 1f)
        {
            writer.WriteNumber("routed_scaling_factor", moe.RoutedScalingFactor);
        }

        if (moe.Router == RouterKind.Hash)
        {
            writer.WriteString("moesharp_router", "hash");
        }
    }

    private static void WriteLlama(Utf8JsonWriter writer, ModelConfig config)
    {
        if (config.Moe is not null)
        {
            throw new ConfigurationException("model_type 'llama' has no experts; set model_type to 'deepseek' or leave the experts out");
        }

        WriteDecoder(writer, config);
        writer.WriteBoolean("mlp_bias", false);
    }

    private static void WriteDecoder(Utf8JsonWriter writer, ModelConfig config)
    {
        writer.WriteNumber("vocab_size", config.VocabSize);
        writer.WriteNumber("hidden_size", config.HiddenSize);
        writer.WriteNumber("intermediate_size", config.IntermediateSize);
        writer.WriteNumber("num_hidden_layers", config.NumHiddenLayers);
        writer.WriteNumber("num_attention_heads", config.NumAttentionHeads);
        writer.WriteNumber("num_key_value_heads", config.NumKeyValueHeads);
        if ((long)config.HeadDim * config.NumAttentionHeads != config.HiddenSize)
        {
            writer.WriteNumber("head_dim", config.HeadDim);
        }

        writer.WriteString("hidden_act", "silu");
        writer.WriteNumber("max_position_embeddings", config.MaxPositionEmbeddings);
        writer.WriteNumber("initializer_range", config.InitializerRange);
        writer.WriteNumber("rms_norm_eps", config.RmsNormEps);
        writer.WriteNumber("rope_theta", config.RopeTheta);
        writer.WriteNull("rope_scaling");
        writer.WriteBoolean("attention_bias", config.AttentionBias);
        writer.WriteNumber("attention_dropout", 0.0);
        writer.WriteBoolean("tie_word_embeddings", config.TieWordEmbeddings);
        WriteToken(writer, "bos_token_id", config.BosTokenId);
        WriteToken(writer, "eos_token_id", config.EosTokenId);
        writer.WriteBoolean("use_cache", true);
    }

    private static void WriteToken(Utf8JsonWriter writer, string key, int? token)
    {
        if (token is { } id)
        {
            writer.WriteNumber(key, id);
        }
        else
        {
            writer.WriteNull(key);
        }
    }
}
