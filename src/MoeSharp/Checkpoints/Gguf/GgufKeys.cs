using MoeSharp.Kernels.Formats;
using MoeSharp.Model;

namespace MoeSharp.Checkpoints.Gguf;

/// <summary>The metadata of one architecture, <c>{architecture}.key</c>, with what every architecture shares already understood.</summary>
internal sealed class GgufKeys
{
    private readonly GgufFile _file;
    private readonly string _prefix;

    public GgufKeys(GgufFile file, string architecture)
    {
        _file = file;
        _prefix = architecture + ".";
        NumPredictingLayers = Int("nextn_predict_layers", 0);
        NumLayers = Int("block_count") - NumPredictingLayers;
        if (NumLayers < 1)
        {
            throw new FileFormatException($"{file.Path}: of {_prefix}block_count {NumLayers + (long)NumPredictingLayers} blocks {NumPredictingLayers} predict later tokens; none is left");
        }

        NumHeads = Int("attention.head_count");
        HiddenSize = Int("embedding_length");
        NumExperts = Int("expert_count", 0);
    }

    /// <summary>Decoder layers without those that predict later tokens.</summary>
    public int NumLayers { get; }

    /// <summary>Blocks that predict later tokens; they come last.</summary>
    public int NumPredictingLayers { get; }

    /// <summary>Query heads.</summary>
    public int NumHeads { get; }

    /// <summary>Width of the residual stream.</summary>
    public int HiddenSize { get; }

    /// <summary>Routed experts, 0 in a dense model.</summary>
    public int NumExperts { get; }

    public bool Has(string key) => _file.Metadata.Contains(_prefix + key);

    public bool HasTensor(string name) => _file.Contains(name);

    /// <summary>A number that must be there; an array must have one value for all layers.</summary>
    public int Int(string key)
    {
        string name = _prefix + key;
        long value = _file.Metadata.Find(name)?.Type == GgufValueType.Array ? Uniform(name) : _file.Metadata.GetInteger(name);
        return value is >= 0 and <= int.MaxValue ? (int)value : throw new FileFormatException($"{_file.Path}: {name} is {value}; a number from 0 to {int.MaxValue} is expected");
    }

    public int Int(string key, int fallback) => Has(key) ? Int(key) : fallback;

    public double Float(string key, double fallback) => _file.Metadata.GetFloat(_prefix + key, fallback);

    public bool Bool(string key, bool fallback) => _file.Metadata.GetBool(_prefix + key, fallback);

    public ConfigurationException NotSupported(string key, object value, string supported) =>
        new($"{_file.Path}: {_prefix}{key} {value} is not supported; {supported}");

    /// <summary>The part that every decoder has.</summary>
    /// <param name="modelType">Family.</param>
    /// <param name="epsilonKey">Where the norms' epsilon is.</param>
    public ModelConfig Decoder(string modelType, string epsilonKey = "attention.layer_norm_rms_epsilon")
    {
        int headDim = Int("attention.key_length", NumHeads > 0 ? HiddenSize / NumHeads : 0);
        return new ModelConfig
        {
            ModelType = modelType,
            VocabSize = Int("vocab_size", Tokens),
            HiddenSize = HiddenSize,
            IntermediateSize = Int("feed_forward_length"),
            NumHiddenLayers = NumLayers,
            NumAttentionHeads = NumHeads,
            NumKeyValueHeads = Int("attention.head_count_kv", NumHeads),
            HeadDim = headDim,
            MaxPositionEmbeddings = Int("context_length"),
            RmsNormEps = (float)Float(epsilonKey, 1e-5),
            Rope = Rope(headDim),
            TieWordEmbeddings = !HasTensor("output.weight"),
            InitializerRange = 0.02f,
            BosTokenId = Token("tokenizer.ggml.bos_token_id"),
            EosTokenId = Token("tokenizer.ggml.eos_token_id"),
        };
    }

    /// <summary>The part that all routed experts share.</summary>
    /// <param name="width">Width of an expert.</param>
    /// <param name="normalizes">Whether the architecture divides the chosen weights by their sum.</param>
    public MoeConfig Experts(int width, bool normalizes) => new()
    {
        NumExperts = NumExperts,
        TopK = Int("expert_used_count"),
        IntermediateSize = width,
        NormTopKProb = normalizes,
        RoutedScalingFactor = Float("expert_weights_scale", 0) is var scale and not 0 ? (float)scale : 1f, // old files write 0 for none
    };

    /// <summary>Refuses attention whose values are not as wide as its keys.</summary>
    public ModelConfig WithEqualHeads(ModelConfig config) =>
        Int("attention.value_length", config.HeadDim) is var width && width == config.HeadDim
            ? config
            : throw NotSupported("attention.value_length", width, $"this architecture has values as wide as its keys, {config.HeadDim}");

    private int Tokens => checked((int)Math.Min(_file.Metadata.Find("tokenizer.ggml.tokens")?.Count ?? 0, int.MaxValue));

    private int? Token(string key) => _file.Metadata.GetInteger(key, -1) is >= 0 and <= int.MaxValue and var token ? (int)token : null;

    private RopeConfig Rope(int headDim)
    {
        RopeConfig rope = Scaling(headDim);
        if (!HasTensor(GgufNames.RotaryDivisors))
        {
            return rope;
        }

        GgufTensor tensor = _file.Tensor(GgufNames.RotaryDivisors);
        int pairs = Int("rope.dimension_count", headDim) / 2;
        if (tensor.Format != WeightFormat.F32 || tensor.Shape.Count != 1 || tensor.Length != pairs)
        {
            throw new FileFormatException($"{_file.Path}: {tensor.Name} is {tensor.Format.Name()} [{string.Join(", ", tensor.Shape)}]; f32 [{pairs}] is expected, one for each rotary pair");
        }

        float[] divisors = new float[pairs];
        _file.ReadFloats(tensor.Name, divisors);
        return rope.Scaling == RopeScaling.None
            ? rope with { Scaling = RopeScaling.Divided, FrequencyDivisors = divisors }
            : throw NotSupported("rope.scaling.type", rope.Scaling.ToString().ToLowerInvariant(), $"with {tensor.Name} it is 'none'");
    }

    private RopeConfig Scaling(int headDim)
    {
        int rotary = Int("rope.dimension_count", headDim);
        string type = _file.Metadata.GetString(_prefix + "rope.scaling.type", Has("rope.scale_linear") ? "linear" : "none");
        RopeConfig plain = new() { Theta = Float("rope.freq_base", 10000), RotaryDim = rotary == headDim ? 0 : rotary };
        double factor = Float("rope.scaling.factor", Float("rope.scale_linear", 1));
        return type switch
        {
            _ when factor is 0 or 1 => plain,
            "none" => plain,
            "linear" => plain with { Scaling = RopeScaling.Linear, Factor = factor },
            "yarn" => plain with
            {
                Scaling = RopeScaling.Yarn,
                Factor = factor,
                OriginalMaxPositions = Int("rope.scaling.original_context_length", Int("context_length")),
                BetaFast = Float("rope.scaling.yarn_beta_fast", 32),
                BetaSlow = Float("rope.scaling.yarn_beta_slow", 1),
                AttentionFactor = Float("rope.scaling.attn_factor", 1) * RopeConfig.Magnitude(factor, 1),
            },
            _ => throw NotSupported("rope.scaling.type", type, "'none', 'linear' and 'yarn' are"),
        };
    }

    private long Uniform(string name)
    {
        long[] values = [.. _file.Metadata.GetIntegers(name).Distinct()];
        return values.Length == 1 ? values[0] : throw new ConfigurationException($"{_file.Path}: {name} differs between layers ({string.Join(", ", values.Take(4))}, ...); models with the same shape in every layer are supported");
    }
}
