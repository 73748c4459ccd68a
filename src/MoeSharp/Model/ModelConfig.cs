using MoeSharp.Tensors;

namespace MoeSharp.Model;

/// <summary>A decoder's architecture, as a Hugging Face config.json describes it.</summary>
public sealed record ModelConfig
{
    private readonly bool? _attentionOutputBias;
    private readonly ValueList<AttentionKind> _layerAttention = ValueList<AttentionKind>.Empty;

    /// <summary>Family of the checkpoint, as config.json names it: <c>deepseek</c>, <c>mixtral</c>, <c>gpt_oss</c>, ...</summary>
    public string ModelType { get; init; } = "deepseek";

    /// <summary>Rows of the embedding.</summary>
    public required int VocabSize { get; init; }

    /// <summary>Width of the residual stream.</summary>
    public required int HiddenSize { get; init; }

    /// <summary>Width of a dense layer's feed-forward.</summary>
    public required int IntermediateSize { get; init; }

    /// <summary>Decoder layers.</summary>
    public required int NumHiddenLayers { get; init; }

    /// <summary>Query heads.</summary>
    public required int NumAttentionHeads { get; init; }

    /// <summary>Key and value heads; divides the query heads.</summary>
    public required int NumKeyValueHeads { get; init; }

    /// <summary>Width of a head's queries and keys; with <see cref="LatentAttention"/> the sum of its two parts.</summary>
    public required int HeadDim { get; init; }

    /// <summary>Longest sequence that the positions are meant for.</summary>
    public required int MaxPositionEmbeddings { get; init; }

    /// <summary>Epsilon of the norms.</summary>
    public float RmsNormEps { get; init; } = 1e-6f;

    /// <summary>Epsilon of the last norm where it has another one (JetMoE); 0 elsewhere.</summary>
    public float FinalNormEps { get; init; }

    /// <summary>Rotary positions.</summary>
    public RopeConfig Rope { get; init; } = new();

    /// <summary>Base of the rotary frequencies.</summary>
    public double RopeTheta
    {
        get => Rope.Theta;
        init => Rope = Rope with { Theta = value };
    }

    /// <summary>Whether the head shares the embedding's weights.</summary>
    public bool TieWordEmbeddings { get; init; }

    /// <summary>Whether q, k and v projections have a bias.</summary>
    public bool AttentionBias { get; init; }

    /// <summary>Whether the output projection of attention has a bias; the same as <see cref="AttentionBias"/> unless set.</summary>
    public bool AttentionOutputBias
    {
        get => _attentionOutputBias ?? AttentionBias;
        init => _attentionOutputBias = value;
    }

    /// <summary>Latent attention, or null for heads with their own keys and values.</summary>
    public LatentAttentionConfig? LatentAttention { get; init; }

    /// <summary>Experts inside attention, or null for none.</summary>
    public AttentionExpertsConfig? AttentionExperts { get; init; }

    /// <summary>Normalisation of queries and keys.</summary>
    public QueryKeyNorm QueryKeyNorm { get; init; }

    /// <summary>Queries, keys and values are clamped to plus and minus this (clip_qkv); 0 for no clamp.</summary>
    public float ClipQkv { get; init; }

    /// <summary>Factor on the attention scores; 0 for 1 / sqrt(head_dim) (times YaRN's, see <see cref="RopeConfig.MscaleAllDim"/>).</summary>
    public float AttentionScale { get; init; }

    /// <summary>Scores become cap * tanh(score / cap) (Grok-1: 30); 0 for none.</summary>
    public float AttentionScoreCap { get; init; }

    /// <summary>Whether every head has an extra logit in its softmax that takes no value (gpt-oss).</summary>
    public bool HasAttentionSinks { get; init; }

    /// <summary>Tokens seen by <see cref="AttentionKind.Sliding"/> layers.</summary>
    public int SlidingWindow { get; init; }

    /// <summary>Attention of each layer; empty when all are <see cref="AttentionKind.Full"/>.</summary>
    public IReadOnlyList<AttentionKind> LayerAttention
    {
        get => _layerAttention;
        init => _layerAttention = new ValueList<AttentionKind>(value);
    }

    /// <summary>How a block is put together.</summary>
    public BlockLayout BlockLayout { get; init; }

    /// <summary>Factors of the block layout that has some.</summary>
    public ResidualScales ResidualScales { get; init; } = new();

    /// <summary>Whether the norms subtract the mean (LayerNorm without bias, DBRX) instead of being RMS norms.</summary>
    public bool UsesLayerNorm { get; init; }

    /// <summary>Factor on the embedding's output (Grok-1).</summary>
    public float EmbeddingScale { get; init; } = 1f;

    /// <summary>Factor on the logits (Grok-1).</summary>
    public float LogitScale { get; init; } = 1f;

    /// <summary>Logits become cap * tanh(logit / cap); 0 for none.</summary>
    public float LogitCap { get; init; }

    /// <summary>Tokens that can be next, where these are only the first of the vocabulary (a generated language's symbols, not its tags); 0 for all.</summary>
    public int OutputTokens { get; init; }

    /// <summary>Tokens that can be next.</summary>
    public int NumNextTokens => OutputTokens > 0 ? OutputTokens : VocabSize;

    /// <summary>Standard deviation of new weights (initializer_range); the paper trains with 0.006.</summary>
    public float InitializerRange { get; init; } = 0.006f;

    /// <summary>Token that starts a text, or null.</summary>
    public int? BosTokenId { get; init; }

    /// <summary>Token that ends a text, or null.</summary>
    public int? EosTokenId { get; init; }

    /// <summary>The experts, or null in a dense model.</summary>
    public MoeConfig? Moe { get; init; }

    /// <summary>Whether layer <paramref name="layer"/> (from 0) has routed experts.</summary>
    public bool IsMoeLayer(int layer) => Moe is { } moe && layer >= moe.FirstKDenseReplace
        && (moe.MoeLayerEndsPeriod ? layer + 1 : layer) % moe.MoeLayerFreq == 0 && !moe.DenseLayers.Contains(layer);

    /// <summary>Attention of layer <paramref name="layer"/> (from 0).</summary>
    public AttentionKind AttentionOf(int layer) => layer < LayerAttention.Count ? LayerAttention[layer] : AttentionKind.Full;

    /// <summary>Factor on the attention scores, resolved: <see cref="AttentionScale"/>, or 1 / sqrt(head_dim) times the square of DeepSeek's YaRN factor.</summary>
    public double ScoreScale
    {
        get
        {
            double magnitude = Rope.Scaling == RopeScaling.Yarn && Rope.MscaleAllDim != 0 ? RopeConfig.Magnitude(Rope.Factor, Rope.MscaleAllDim) : 1;
            return AttentionScale != 0 ? AttentionScale : magnitude * magnitude / Math.Sqrt(HeadDim);
        }
    }

    /// <summary>Number of layers with routed experts.</summary>
    public int NumMoeLayers => Enumerable.Range(0, NumHiddenLayers).Count(IsMoeLayer);

    /// <summary>Checks that the numbers fit together; run once after loading.</summary>
    /// <param name="source">Where the configuration comes from, for the message: a file, a preset.</param>
    /// <exception cref="ConfigurationException">Something does not fit; the message lists every problem and how to fix it.</exception>
    public void Validate(string source = "model configuration")
    {
        List<string> problems = ModelConfigRules.Problems(this);
        if (problems.Count > 0)
        {
            throw new ConfigurationException($"{source}: {string.Join("; ", problems)}");
        }
    }
}
