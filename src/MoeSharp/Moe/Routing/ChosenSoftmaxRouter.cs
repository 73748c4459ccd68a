using MoeSharp.Execution;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Moe.Routing;

/// <summary>The k largest logits, then a softmax over these alone (gpt-oss, LLaMA-MoE). Weights sum to the scale.</summary>
/// <remarks>Balance losses average the softmax over all experts.</remarks>
/// <param name="projection">Gives the logits.</param>
/// <param name="topK">Experts per token.</param>
/// <param name="scale">Factor on the weights.</param>
public sealed class ChosenSoftmaxRouter(IRouterProjection projection, int topK, float scale) : IScoredRouter
{
    /// <inheritdoc/>
    public RoutingPlan Route(Tensor x, ForwardContext context)
    {
        Tensor logits = projection.Forward(x, context); // [tokens, experts]
        Tensor probs = Op.Softmax(logits, out Tensor logSumExp, context); // [tokens, experts]
        int[] expertIds = context.Indices.Rent(x.Rows * topK);
        Op.ChooseExperts(logits, null, new ExpertChoice(topK), expertIds.AsSpan(0, x.Rows * topK), context);
        Tensor weights = Op.SoftmaxChosen(logits, topK, expertIds.AsSpan(0, x.Rows * topK), scale, context); // [tokens, top_k]
        return new RoutingPlan(projection.NumExperts, expertIds, weights, new RouterScores(logits, logits, probs, logSumExp));
    }

    /// <inheritdoc/>
    public RoutingPlan Choose(in RouterScores scores, in ExpertLimits limits, ForwardContext context)
    {
        int slots = scores.Logits.Rows * limits.TopK;
        int[] expertIds = context.Indices.Rent(slots);
        Op.ChooseExperts(scores.Logits, null, limits.Penalty, new ExpertChoice(limits.TopK), expertIds.AsSpan(0, slots), context);
        Tensor weights = Op.SoftmaxChosen(scores.Logits, limits.TopK, expertIds.AsSpan(0, slots), scale, context); // [tokens, top_k]
        return new RoutingPlan(projection.NumExperts, expertIds, weights, scores);
    }
}
