using MoeSharp.Execution;
using MoeSharp.Tensors;

namespace MoeSharp.Moe.Routing;

/// <summary>A router's decision for every token of a pass.</summary>
public readonly record struct RoutingPlan
{
    private readonly int[] _expertIds;

    /// <summary>Makes a plan.</summary>
    /// <param name="numExperts">Experts to choose from.</param>
    /// <param name="expertIds">Chosen experts, at least tokens * top_k entries.</param>
    /// <param name="routingWeights">[tokens, top_k].</param>
    /// <param name="scores">What the choice was made from, or null for a router without scores.</param>
    public RoutingPlan(int numExperts, int[] expertIds, Tensor routingWeights, RouterScores? scores)
    {
        (NumExperts, _expertIds, RoutingWeights, Scores) = (numExperts, expertIds, routingWeights, scores);
    }

    /// <summary>Experts to choose from.</summary>
    public int NumExperts { get; }

    /// <summary>Tokens routed.</summary>
    public int NumTokens => RoutingWeights.Rows;

    /// <summary>Experts per token.</summary>
    public int TopK => RoutingWeights.Columns;

    /// <summary>Expert of each slot, [tokens * top_k]; slot token * top_k + k. Negative where the slot is not dispatched; its weight is 0.</summary>
    public Span<int> ExpertIds => _expertIds.AsSpan(0, NumTokens * TopK);

    /// <summary>The same before full experts refused tokens: what losses over choices count. Negative where the router itself wants no expert.</summary>
    public ReadOnlySpan<int> RequestedIds => (Requests ?? _expertIds).AsSpan(0, NumTokens * TopK);

    /// <summary>Behind <see cref="RequestedIds"/>, at least tokens * top_k entries; null where no expert can be full.</summary>
    public int[]? Requests { get; init; }

    /// <summary>What combine multiplies each slot by, [tokens, top_k].</summary>
    public Tensor RoutingWeights { get; }

    /// <summary>Logits and scores, or null when the router has none.</summary>
    public RouterScores? Scores { get; }

    /// <summary>Chance of each expert to be chosen by each token when the noise is drawn anew, with a gradient, [tokens, experts]; null for routers without noise.</summary>
    public Tensor? ChoiceChances { get; init; }

    /// <summary>The plan as observers see it, without the experts' outputs.</summary>
    /// <param name="layer">Decoder layer.</param>
    internal MoeView View(int layer) => new()
    {
        Layer = layer,
        NumExperts = NumExperts,
        TopK = TopK,
        ExpertIds = ExpertIds,
        RoutingWeights = RoutingWeights.Data,
        Logits = Scores is { } scores ? scores.Logits.Data : [],
        Probs = Scores is { } same ? same.Probs.Data : [],
        LogSumExp = Scores is { LogSumExp: { } sums } ? sums.Data : [],
        Routed = [],
    };

    /// <summary>Adds up the routing weights that each expert has from real tokens: its importance (Shazeer et al., arXiv 1701.06538, equation 6).</summary>
    /// <param name="isPadding">Rows that do not count; empty for none.</param>
    /// <param name="importance">= sums, [experts].</param>
    public void SumImportance(ReadOnlySpan<bool> isPadding, Span<double> importance)
    {
        importance.Clear();
        ReadOnlySpan<float> weights = RoutingWeights.Data;
        ReadOnlySpan<int> expertIds = ExpertIds;
        int topK = TopK;
        for (int slot = 0; slot < weights.Length; slot++)
        {
            if (expertIds[slot] >= 0 && (isPadding.Length == 0 || !isPadding[slot / topK]))
            {
                importance[expertIds[slot]] += weights[slot];
            }
        }
    }
}

/// <summary>What a learned router computed before it chose.</summary>
/// <param name="Logits">[tokens, experts].</param>
/// <param name="Scores">What the choice is made from: softmax, sigmoid or the logits themselves, [tokens, experts].</param>
/// <param name="Probs">What balance losses average: positive, every row sums to 1, [tokens, experts].</param>
/// <param name="LogSumExp">Log of each row's sum of exponentials, [tokens]; null for a router without softmax.</param>
public readonly record struct RouterScores(Tensor Logits, Tensor Scores, Tensor Probs, Tensor? LogSumExp);

/// <summary>Decides which experts each token uses and with which weights.</summary>
public interface IRouter
{
    /// <summary>Routes the rows of a pass.</summary>
    /// <param name="x">[tokens, hidden].</param>
    /// <param name="context">Context.</param>
    /// <returns>The plan; its tensors live until the pass ends.</returns>
    RoutingPlan Route(Tensor x, ForwardContext context);
}
