using MoeSharp.Model.Routers;
using MoeSharp.Moe.Dispatch;
using MoeSharp.Tensors;

namespace MoeSharp.Model;

/// <summary>The routed and shared experts of a model's MoE layers.</summary>
public sealed record MoeConfig
{
    private readonly ValueList<int> _denseLayers = ValueList<int>.Empty;
    private readonly ValueList<float> _layerScalingFactors = ValueList<float>.Empty;

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

    /// <summary>How logits become scores.</summary>
    public RouterScoring Scoring { get; init; } = RouterScoring.Softmax;

    /// <summary>Exponent of the norm that <see cref="NormTopKProb"/> divides by: 1 is the sum (moe_normalize_expert_weights of DBRX).</summary>
    public float NormOrder { get; init; } = 1f;

    /// <summary>Whether normalised weights are multiplied by <see cref="RoutedScalingFactor"/> as well: in DeepSeek-V3, not in V2.</summary>
    public bool ScalesNormalizedWeights { get; init; } = true;

    /// <summary>Groups of consecutive experts for group-limited choice (n_group); 1 means no groups.</summary>
    public int NumGroups { get; init; } = 1;

    /// <summary>Groups that a token may choose from (topk_group).</summary>
    public int TopKGroups { get; init; } = 1;

    /// <summary>How a group is scored.</summary>
    public GroupScoring GroupScoring { get; init; } = GroupScoring.Max;

    /// <summary>Whether a bias per expert is added to the scores for the choice alone (e_score_correction_bias, arXiv 2408.15664).</summary>
    public bool HasSelectionBias { get; init; }

    /// <summary>Whether the router's logits have a bias (gpt-oss).</summary>
    public bool HasRouterBias { get; init; }

    /// <summary>Whether the router is Linear, tanh, Linear instead of one Linear (LLaMA-MoE's gate_network "mlp").</summary>
    public bool HasRouterNetwork { get; init; }

    /// <summary>Function between gate and up.</summary>
    public ExpertActivation Activation { get; init; } = ExpertActivation.SwiGlu;

    /// <summary>Limit of <see cref="ExpertActivation.ClampedSwiGlu"/> (swiglu_limit).</summary>
    public float ActivationLimit { get; init; } = 7f;

    /// <summary>Whether the experts' projections have biases (gpt-oss).</summary>
    public bool HasExpertBias { get; init; }

    /// <summary>Whether a bias is added to the sum of the experts (JetMoE).</summary>
    public bool HasOutputBias { get; init; }

    /// <summary>Width of the shared feed-forward where it is not NumSharedExperts * IntermediateSize (shared_expert_intermediate_size); 0 elsewhere.</summary>
    public int SharedIntermediateSize { get; init; }

    /// <summary>Whether the shared feed-forward is multiplied by the sigmoid of a linear gate (Qwen-MoE).</summary>
    public bool HasSharedExpertGate { get; init; }

    /// <summary>Factor on the routing weights (routed_scaling_factor); 1 in DeepSeekMoE.</summary>
    public float RoutedScalingFactor { get; init; } = 1f;

    /// <summary>Factor on the routing weights of each layer in place of <see cref="RoutedScalingFactor"/> (score_scale_factor of LLaMA-MoE as a list); empty elsewhere.</summary>
    public IReadOnlyList<float> LayerScalingFactors
    {
        get => _layerScalingFactors;
        init => _layerScalingFactors = new ValueList<float>(value);
    }

    /// <summary>How experts are chosen.</summary>
    public RouterConfig Router { get; init; } = new TopKRouterConfig();

    /// <summary>How many tokens an expert takes; null for no limit: no token is ever dropped.</summary>
    public CapacityRule? Capacity { get; init; }

    /// <summary>Layers before this one are dense (first_k_dense_replace).</summary>
    public int FirstKDenseReplace { get; init; }

    /// <summary>Every n-th layer is MoE (moe_layer_freq).</summary>
    public int MoeLayerFreq { get; init; } = 1;

    /// <summary>Whether the period of <see cref="MoeLayerFreq"/> ends with the MoE layer, (layer + 1) % n == 0, instead of beginning with it.</summary>
    public bool MoeLayerEndsPeriod { get; init; }

    /// <summary>Layers that are dense whatever the period says (mlp_only_layers).</summary>
    public IReadOnlyList<int> DenseLayers
    {
        get => _denseLayers;
        init => _denseLayers = new ValueList<int>(value);
    }

    /// <summary>Width of the shared feed-forward; 0 when there is none.</summary>
    public int SharedWidth => SharedIntermediateSize > 0 ? SharedIntermediateSize : NumSharedExperts * IntermediateSize;

    /// <summary>Factor on the routing weights of layer <paramref name="layer"/> (from 0).</summary>
    public float ScalingOf(int layer) => layer < LayerScalingFactors.Count ? LayerScalingFactors[layer] : RoutedScalingFactor;
}

/// <summary>How router logits become scores.</summary>
public enum RouterScoring
{
    /// <summary>Softmax over all experts, then the choice.</summary>
    Softmax,

    /// <summary>Sigmoid of each logit, then the choice (DeepSeek-V3).</summary>
    Sigmoid,

    /// <summary>The choice by logits, then softmax over the chosen (gpt-oss, LLaMA-MoE).</summary>
    SoftmaxOverChosen,
}

/// <summary>How a group of experts is scored in group-limited choice.</summary>
public enum GroupScoring
{
    /// <summary>Its best expert (DeepSeek-V2, group_limited_greedy).</summary>
    Max,

    /// <summary>The sum of its two best experts (DeepSeek-V3, noaux_tc).</summary>
    TopTwoSum,
}

/// <summary>The function of an expert between its gate and up projections.</summary>
public enum ExpertActivation
{
    /// <summary>silu(gate) * up.</summary>
    SwiGlu,

    /// <summary>gelu(gate) * up with the tanh approximation (Grok-1).</summary>
    GeGlu,

    /// <summary>(up + 1) * gate * sigmoid(1.702 gate) with gate at most, up within the limit (gpt-oss).</summary>
    ClampedSwiGlu,
}
