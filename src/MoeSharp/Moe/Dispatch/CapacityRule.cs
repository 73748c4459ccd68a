namespace MoeSharp.Moe.Dispatch;

/// <summary>Who keeps a place when an expert is asked for more than it has.</summary>
public enum DropPolicy
{
    /// <summary>Those who come first: every first choice before any second choice, in order of tokens (GShard).</summary>
    SlotMajor,

    /// <summary>Those who come first: token by token, its choices one after another.</summary>
    TokenMajor,

    /// <summary>Those with the largest routing weights; where equal, the earlier token.</summary>
    Probability,

    /// <summary>Tokens in order of their largest routing weight, every first choice before any second choice (batch-prioritised routing, arXiv 2106.05974).</summary>
    BatchPrioritized,

    /// <summary>Those who come first; whoever finds no place goes to the next best expert, and so on (no token left behind, Switch, arXiv 2101.03961, appendix B). For one expert per token.</summary>
    Reroute,
}

/// <summary>How many tokens an expert takes, and what happens to the others. Without such a rule no token is ever dropped.</summary>
/// <remarks>
/// capacity = factor * k * tokens / experts, rounded, at least the minimum, rounded up to the multiple (Switch, arXiv 2101.03961, equation 3; GShard, arXiv
/// 2006.16668, section 2.2). Places are shared by the tokens of a group, so that a token's experts depend on its neighbours.
/// </remarks>
public sealed record CapacityRule
{
    private const double RoundingTolerance = 1e-9; // so that 1.1 * 10 is 11 and not a little more

    /// <summary>Factor while training; 0 for no limit.</summary>
    public double TrainingFactor { get; init; }

    /// <summary>Factor in all other passes; 0 for no limit.</summary>
    public double EvaluationFactor { get; init; }

    /// <summary>Least places of an expert.</summary>
    public int Minimum { get; init; }

    /// <summary>Places are rounded up to a multiple of this.</summary>
    public int Multiple { get; init; } = 1;

    /// <summary>Whether the product is rounded up; otherwise down.</summary>
    public bool RoundsUp { get; init; } = true;

    /// <summary>Whether k is a factor; otherwise capacity is that of one choice per token.</summary>
    public bool CountsSlots { get; init; } = true;

    /// <summary>Whether padding enlarges the capacity, as with shapes that are fixed beforehand; it takes no place in either case.</summary>
    public bool CountsPadding { get; init; }

    /// <summary>Who keeps a place.</summary>
    public DropPolicy Policy { get; init; }

    /// <summary>Consecutive tokens that share places, the last group perhaps smaller; 0 for all of a pass.</summary>
    public int GroupTokens { get; init; }

    /// <summary>Whether the weights that are left of a token are divided by their sum, so that they are 1 together.</summary>
    public bool RenormalizesAfterDrop { get; init; }

    /// <summary>Experts that <see cref="DropPolicy.Reroute"/> offers a token to at most; 0 for all.</summary>
    public int MaxRounds { get; init; }

    /// <summary>Devices of equally many neighbouring experts that have a budget together; 0 for none (token dropping of DeepSeek-V2, arXiv 2405.04434, section 2.2.4).</summary>
    public int NumDevices { get; init; }

    /// <summary>Factor of a device's budget while training; there is none in other passes.</summary>
    public double DeviceFactor { get; init; } = 1;

    /// <summary>Share of sequences whose tokens a device never drops, drawn anew in every pass.</summary>
    public double ProtectedShare { get; init; }

    /// <summary>Places of one expert.</summary>
    /// <param name="factor">Capacity factor.</param>
    /// <param name="numTokens">Tokens that share the places.</param>
    /// <param name="numExperts">Experts.</param>
    /// <param name="topK">Experts per token.</param>
    public int PlacesOf(double factor, int numTokens, int numExperts, int topK)
    {
        double exact = factor * (CountsSlots ? topK : 1) * numTokens / numExperts;
        double rounded = RoundsUp ? Math.Ceiling(exact - RoundingTolerance) : Math.Floor(exact + RoundingTolerance);
        long places = (long)Math.Min(int.MaxValue / 2, Math.Max(Minimum, rounded));
        return (int)Math.Min(int.MaxValue, (places + Multiple - 1) / Multiple * Multiple);
    }

    /// <summary>Slots that one device computes.</summary>
    /// <param name="factor">Capacity factor.</param>
    /// <param name="numTokens">Tokens that share the budget.</param>
    /// <param name="numDevices">Devices.</param>
    /// <param name="topK">Experts per token.</param>
    public static int BudgetOf(double factor, int numTokens, int numDevices, int topK) => (int)Math.Ceiling((factor * numTokens * topK / numDevices) - RoundingTolerance);
}
