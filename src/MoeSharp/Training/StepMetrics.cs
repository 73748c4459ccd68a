using MoeSharp.Execution;

namespace MoeSharp.Training;

/// <summary>What one optimiser step computed and how fast.</summary>
public readonly record struct StepMetrics
{
    /// <summary>Makes metrics whose routing is not measured.</summary>
    public StepMetrics()
    {
    }

    /// <summary>Number of the step, from 1.</summary>
    public required long Step { get; init; }

    /// <summary>Training tokens seen, this step included.</summary>
    public required long Tokens { get; init; }

    /// <summary>Language-model loss, nats per target; no auxiliary loss in it.</summary>
    public required double Loss { get; init; }

    /// <summary>Auxiliary losses without their factors, mean over the layers' routers, in feed-forward and attention; 0 where one is off.</summary>
    public required AuxiliaryLosses Losses { get; init; }

    /// <summary>Share of slots that found no place at their expert, over all MoE layers; 0 without capacity.</summary>
    public double DropRate { get; init; }

    /// <summary>Global gradient norm before clipping.</summary>
    public required double GradientNorm { get; init; }

    /// <summary>Learning rate of the update.</summary>
    public required float LearningRate { get; init; }

    /// <summary>Largest load of an expert over the mean of its layer; the worst layer. 0 in a dense model.</summary>
    public required double LoadMaxOverMean { get; init; }

    /// <summary>Experts that got no token, over all layers.</summary>
    public required int NumDeadExperts { get; init; }

    /// <summary>Routing in a handful of numbers; measured in steps that are logged, else <see cref="RoutingBrief.Empty"/>.</summary>
    public RoutingBrief Routing { get; init; } = RoutingBrief.Empty;

    /// <summary>Largest load of an attention expert over the mean of its layer; the worst layer. 0 where attention has no router that is balanced.</summary>
    public double AttentionLoadMaxOverMean { get; init; }

    /// <summary>Attention experts that got no token, over all layers.</summary>
    public int NumDeadAttentionExperts { get; init; }

    /// <summary>Wall time of the step.</summary>
    public required double Seconds { get; init; }

    /// <summary>Training tokens per second.</summary>
    public required double TokensPerSecond { get; init; }

    /// <summary>Arithmetic of the model (forward and backward) in GFLOP per second.</summary>
    public required double Gflops { get; init; }

    /// <summary>Share of the run that is done, this step included.</summary>
    public double Progress { get; init; }

    /// <summary>Whether every number that training depends on is finite.</summary>
    public bool IsFinite => double.IsFinite(Loss) && double.IsFinite(GradientNorm);
}

/// <summary>A measurement on held-out text.</summary>
/// <param name="Step">Steps trained.</param>
/// <param name="Tokens">Training tokens seen.</param>
/// <param name="Loss">Mean cross-entropy, nats per token.</param>
/// <param name="BitsPerByte">Cross-entropy per byte of text, in bits: comparable between tokenizers. A symbol of a generated language counts as a byte.</param>
/// <param name="NumTokens">Held-out tokens measured.</param>
public readonly record struct ValidationResult(long Step, long Tokens, double Loss, double BitsPerByte, long NumTokens)
{
    /// <summary>Mean divergence KL(truth || model), nats per symbol: the loss without what nobody can know. Null where the truth is not known.</summary>
    public double? Regret { get; init; }

    /// <summary>Share of the targets where the model's favourite is the true favourite. Null where the truth is not known.</summary>
    public double? Recall { get; init; }

    /// <summary>How the held-out tokens were spread over the experts. Null for a model without experts.</summary>
    public LoadSummary? Load { get; init; }
}

/// <summary>Loads of the experts over a text, in three numbers.</summary>
/// <param name="MaxOverMean">Largest load over the mean; the worst layer.</param>
/// <param name="NumIdle">Experts with less than a hundredth of an even load, over all layers.</param>
/// <param name="NumCollapsedLayers">Layers that have collapsed; see <see cref="MoeSharp.Moe.Balance.LoadCollapse"/>.</param>
public readonly record struct LoadSummary(double MaxOverMean, int NumIdle, int NumCollapsedLayers)
{
    /// <summary>Sums up a table; null for one without layers.</summary>
    /// <param name="load">Loads.</param>
    /// <param name="topK">Experts per token.</param>
    public static LoadSummary? Of(LoadTable load, int topK) => load.NumLayers == 0 ? null : new LoadSummary(load.MaxOverMean(), load.NumIdle(), load.Collapsed(topK).Count);
}
