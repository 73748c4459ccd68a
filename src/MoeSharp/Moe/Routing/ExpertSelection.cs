using MoeSharp.Execution;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Moe.Routing;

/// <summary>From scores to a plan: the choice of experts, perhaps limited to groups and corrected by a bias, and their weights.</summary>
/// <remarks>The bias shifts the choice alone, never the weights; a rule outside the gradient moves it (arXiv 2408.15664).</remarks>
/// <param name="choice">How many experts, and from which groups.</param>
/// <param name="weights">How scores become weights.</param>
/// <param name="selectionBias">[experts], or null.</param>
public sealed class ExpertSelection(ExpertChoice choice, WeightRule weights, Parameter? selectionBias)
{
    /// <summary>Chooses and weighs.</summary>
    /// <param name="scores">Scores of every expert.</param>
    /// <param name="context">Context.</param>
    /// <returns>The plan.</returns>
    public RoutingPlan Select(RouterScores scores, ForwardContext context)
    {
        int slots = scores.Logits.Rows * choice.TopK;
        int[] expertIds = context.Indices.Rent(slots);
        Op.ChooseExperts(scores.Scores, selectionBias, choice, expertIds.AsSpan(0, slots), context);
        Tensor routingWeights = Op.WeighChosen(scores.Scores, choice.TopK, expertIds.AsSpan(0, slots), weights, context); // [tokens, top_k]
        return new RoutingPlan(scores.Logits.Columns, expertIds, routingWeights, scores);
    }

    /// <summary>Chooses and weighs within limits.</summary>
    /// <param name="scores">Scores of every expert.</param>
    /// <param name="limits">The limits.</param>
    /// <param name="context">Context.</param>
    /// <returns>The plan; a slot for which no permitted expert remained in the kept groups is not dispatched.</returns>
    public RoutingPlan Select(RouterScores scores, ExpertLimits limits, ForwardContext context)
    {
        int slots = scores.Logits.Rows * limits.TopK;
        int[] rented = context.Indices.Rent(slots);
        Span<int> expertIds = rented.AsSpan(0, slots);
        Op.ChooseExperts(scores.Scores, selectionBias, limits.Penalty, choice with { TopK = limits.TopK }, expertIds, context);
        Tensor routingWeights = Op.WeighChosen(scores.Scores, limits.TopK, expertIds, weights, context); // [tokens, top_k]
        if (limits.TopK == 1 && choice.TopK > 1 && weights.NormOrder > 0)
        {
            ExpertLimits.GiveAllWeight(routingWeights, expertIds, weights.Scale);
        }

        return new RoutingPlan(scores.Logits.Columns, rented, routingWeights, scores);
    }
}
