namespace MoeSharp.Moe.Balance;

/// <summary>How a group of tokens uses the experts: what the losses over mean scores are made of.</summary>
/// <remarks>Such a loss is linear in the mean scores P; loads are counts and carry no gradient.</remarks>
public readonly ref struct GroupUse
{
    /// <summary>Real tokens that the mean scores are taken over; at least 1.</summary>
    public required int NumTokens { get; init; }

    /// <summary>Experts per token.</summary>
    public required int TopK { get; init; }

    /// <summary>Chosen experts of the group's real tokens, [tokens * topK], in order of selection; negative where a slot is not used.</summary>
    public required ReadOnlySpan<int> ExpertIds { get; init; }

    /// <summary>Share of each expert in the slots times the number of experts, f of DeepSeekMoE: 1 when balanced, [experts].</summary>
    public required ReadOnlySpan<double> Loads { get; init; }

    /// <summary>Share of tokens whose first choice each expert is, times the number of experts: 1 when balanced, [experts].</summary>
    public required ReadOnlySpan<double> FirstLoads { get; init; }

    /// <summary>Mean score of each expert, P, [experts].</summary>
    public required ReadOnlySpan<double> MeanScores { get; init; }
}
