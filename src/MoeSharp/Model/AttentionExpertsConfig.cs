namespace MoeSharp.Model;

/// <summary>A mixture of experts inside attention.</summary>
public sealed record AttentionExpertsConfig
{
    /// <summary>Which projections are experts.</summary>
    public required AttentionExpertsKind Kind { get; init; }

    /// <summary>Experts to choose from (num_attention_experts); of <see cref="AttentionExpertsKind.SwitchHead"/> in every head.</summary>
    public required int NumExperts { get; init; }

    /// <summary>Experts that each token uses (attention_experts_per_tok).</summary>
    public required int TopK { get; init; }

    /// <summary>Whether the weights of the chosen experts are divided by their sum (norm_attention_topk_prob); for <see cref="AttentionExpertsKind.Mixture"/>.</summary>
    public bool NormTopKProb { get; init; }
}

/// <summary>Which projections of attention are experts.</summary>
public enum AttentionExpertsKind
{
    /// <summary>An expert has query heads and their output projection; keys and values are shared by all (MoA, arXiv 2210.05144; JetMoE, arXiv 2404.07413).</summary>
    Mixture,

    /// <summary>Every head has experts for its values and for its output, with sigmoid gates of their own; queries and keys are dense (SwitchHead, arXiv 2312.07987).</summary>
    SwitchHead,
}
