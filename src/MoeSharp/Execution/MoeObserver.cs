namespace MoeSharp.Execution;

/// <summary>Which experts of a decoder layer are meant.</summary>
public enum ExpertPart
{
    /// <summary>The feed-forward experts.</summary>
    FeedForward,

    /// <summary>Attention experts with query heads and an output projection.</summary>
    Attention,

    /// <summary>Value projections of the key and value heads, head by head.</summary>
    AttentionValues,

    /// <summary>Output projections of the query heads, head by head.</summary>
    AttentionOutputs,
}

/// <summary>Sees what every MoE layer did, on the calling thread, while the pass's memory is alive.</summary>
/// <param name="view">Choices, scores and outputs of one layer; valid during the call.</param>
public delegate void MoeObserver(in MoeView view);

/// <summary>One MoE layer's work in one pass, without copies.</summary>
public readonly ref struct MoeView
{
    /// <summary>Index of the decoder layer.</summary>
    public required int Layer { get; init; }

    /// <summary>Whose experts they are.</summary>
    public ExpertPart Part { get; init; }

    /// <summary>Routed experts; of all heads, where every head has its own: expert e of head h is h * experts + e.</summary>
    public required int NumExperts { get; init; }

    /// <summary>Slots per token.</summary>
    public required int TopK { get; init; }

    /// <summary>Slots of the pass that asked for a place where capacity is limited; 0 where it is not.</summary>
    public long AskedSlots { get; init; }

    /// <summary>Slots among them that found none.</summary>
    public long DroppedSlots { get; init; }

    /// <summary>Chosen experts, [tokens * top_k]; negative where a slot has no expert.</summary>
    public required ReadOnlySpan<int> ExpertIds { get; init; }

    /// <summary>Weights that combine multiplies, [tokens, top_k].</summary>
    public required ReadOnlySpan<float> RoutingWeights { get; init; }

    /// <summary>Router logits, [tokens, experts]; empty for a router without scores.</summary>
    public ReadOnlySpan<float> Logits { get; init; }

    /// <summary>Probabilities, every row sums to 1, [tokens, experts]; empty for a router without scores.</summary>
    public ReadOnlySpan<float> Probs { get; init; }

    /// <summary>Log of each row's sum of exponentials, [tokens]; empty for a router without a softmax.</summary>
    public ReadOnlySpan<float> LogSumExp { get; init; }

    /// <summary>Sum of the routed experts' weighted outputs, [tokens, hidden]; empty for experts within attention.</summary>
    public required ReadOnlySpan<float> Routed { get; init; }

    /// <summary>Output of the shared experts, [tokens, hidden]; empty where there are none.</summary>
    public ReadOnlySpan<float> Shared { get; init; }
}
