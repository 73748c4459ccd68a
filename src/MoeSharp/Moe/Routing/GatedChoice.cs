using MoeSharp.Execution;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Moe.Routing;

/// <summary>Weighs chosen experts by their scores where something else than these scores made the choice.</summary>
/// <param name="topK">Experts per token.</param>
/// <param name="weights">How scores become weights.</param>
public sealed class GatedChoice(int topK, WeightRule weights)
{
    /// <summary>Experts per token.</summary>
    public int TopK => topK;

    /// <summary>Takes the experts for which a criterion is largest, the lowest of equals.</summary>
    /// <param name="criterion">[tokens, experts].</param>
    /// <param name="scores">Scores that weigh.</param>
    /// <param name="context">Context.</param>
    public RoutingPlan Best(Tensor criterion, in RouterScores scores, ForwardContext context)
    {
        int slots = criterion.Rows * topK;
        int[] expertIds = context.Indices.Rent(slots);
        Op.ChooseExperts(criterion, null, new ExpertChoice(topK), expertIds.AsSpan(0, slots), context);
        return Weigh(expertIds, topK, scores, context);
    }

    /// <summary>The same within limits.</summary>
    /// <param name="criterion">[tokens, experts].</param>
    /// <param name="limits">The limits.</param>
    /// <param name="scores">Scores that weigh.</param>
    /// <param name="context">Context.</param>
    public RoutingPlan Best(Tensor criterion, in ExpertLimits limits, in RouterScores scores, ForwardContext context)
    {
        int slots = criterion.Rows * limits.TopK;
        int[] expertIds = context.Indices.Rent(slots);
        Op.ChooseExperts(criterion, null, limits.Penalty, new ExpertChoice(limits.TopK), expertIds.AsSpan(0, slots), context);
        RoutingPlan plan = Weigh(expertIds, limits.TopK, scores, context);
        if (limits.TopK == 1 && topK > 1 && weights.NormOrder > 0)
        {
            ExpertLimits.GiveAllWeight(plan.RoutingWeights, plan.ExpertIds, weights.Scale);
        }

        return plan;
    }

    /// <summary>Takes one given expert per token.</summary>
    /// <param name="expertIds">Expert of each token, -1 for none; at least [tokens] entries, valid until the pass ends.</param>
    /// <param name="scores">Scores that weigh.</param>
    /// <param name="context">Context.</param>
    public RoutingPlan Given(int[] expertIds, in RouterScores scores, ForwardContext context) => Weigh(expertIds, 1, scores, context);

    private RoutingPlan Weigh(int[] expertIds, int slotsPerToken, in RouterScores scores, ForwardContext context)
    {
        Tensor routingWeights = Op.WeighChosen(scores.Scores, slotsPerToken, expertIds.AsSpan(0, scores.Scores.Rows * slotsPerToken), weights, context); // [tokens, top_k]
        return new RoutingPlan(scores.Scores.Columns, expertIds, routingWeights, scores);
    }
}
