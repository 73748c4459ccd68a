namespace MoeSharp.Model;

/// <summary>How a router chooses experts.</summary>
public enum RouterKind
{
    /// <summary>Learned softmax scores, the top k kept (DeepSeekMoE, GShard, Switch).</summary>
    TopK,

    /// <summary>A fixed random table from token id to expert (Hash Layers, arXiv 2106.04426); not trained.</summary>
    Hash,
}

/// <summary>The routed and shared experts of a model's MoE layers.</summary>
public sealed record MoeConfig
{
    /// <summary>Routed experts per layer (n_routed_experts).</summary>
    public required int NumExperts { get; init; }

    /// <summary>Routed experts that each token uses (num_experts_per_tok).</summary>
    public required int TopK { get; init; }

    /// <summary>Intermediate size of one expert (moe_intermediate_size).</summary>
    public required int IntermediateSize { get; init; }

    /// <summary>Experts that every token uses (n_shared_experts); they form one feed-forward of NumSharedExperts * IntermediateSize.</summary>
    public int NumSharedExperts { get; init; }

    /// <summary>Whether the chosen weights are divided by their sum (norm_topk_prob).</summary>
    public bool NormTopKProb { get; init; }

    /// <summary>Factor on the routing weights (routed_scaling_factor); 1 in DeepSeekMoE.</summary>
    public float RoutedScalingFactor { get; init; } = 1f;

    /// <summary>How experts are chosen.</summary>
    public RouterKind Router { get; init; } = RouterKind.TopK;

    /// <summary>Layers before this one are dense (first_k_dense_replace).</summary>
    public int FirstKDenseReplace { get; init; }

    /// <summary>Every n-th layer is MoE (moe_layer_freq).</summary>
    public int MoeLayerFreq { get; init; } = 1;
}

/// <summary>A decoder's architecture, as a Hugging Face config.json describes it.</summary>
public sealed record ModelConfig
{
    /// <summary>Family of the checkpoint: <c>deepseek</c>, later others.</summary>
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

    /// <summary>Width of a head.</summary>
    public required int HeadDim { get; init; }

    /// <summary>Longest sequence that the positions are meant for.</summary>
    public required int MaxPositionEmbeddings { get; init; }

    /// <summary>Epsilon of the norms.</summary>
    public float RmsNormEps { get; init; } = 1e-6f;

    /// <summary>Base of the rotary frequencies.</summary>
    public double RopeTheta { get; init; } = 10000;

    /// <summary>Whether the head shares the embedding's weights.</summary>
    public bool TieWordEmbeddings { get; init; }

    /// <summary>Whether q, k, v and o projections have a bias.</summary>
    public bool AttentionBias { get; init; }

    /// <summary>Standard deviation of new weights (initializer_range); the paper trains with 0.006.</summary>
    public float InitializerRange { get; init; } = 0.006f;

    /// <summary>Token that starts a text, or null.</summary>
    public int? BosTokenId { get; init; }

    /// <summary>Token that ends a text, or null.</summary>
    public int? EosTokenId { get; init; }

    /// <summary>The experts, or null in a dense model.</summary>
    public MoeConfig? Moe { get; init; }

    /// <summary>Whether layer <paramref name="layer"/> (from 0) has routed experts.</summary>
    public bool IsMoeLayer(int layer) => Moe is { } moe && layer >= moe.FirstKDenseReplace && layer % moe.MoeLayerFreq == 0;

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
