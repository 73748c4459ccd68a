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
}
