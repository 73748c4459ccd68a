using MoeSharp.Execution;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Moe.Routing;

/// <summary>The sigmoid of each logit, the k largest kept; experts do not compete for probability (DeepSeek-V3, arXiv 2412.19437, equations 13 to 16).</summary>
/// <remarks>Balance losses average s / sum(s), equations 17 to 20.</remarks>
public sealed class SigmoidRouter(IRouterProjection projection, ExpertSelection selection) : IScoredRouter
{
    /// <inheritdoc/>
    public RoutingPlan Route(Tensor x, ForwardContext context)
    {
        Tensor logits = projection.Forward(x, context); // [tokens, experts]
        Tensor scores = Op.Sigmoid(logits, context); // [tokens, experts]
        return selection.Select(new RouterScores(logits, scores, Op.NormalizeRows(scores, context), null), context);
    }

    /// <inheritdoc/>
    public RoutingPlan Choose(in RouterScores scores, in ExpertLimits limits, ForwardContext context) => selection.Select(scores, limits, context);
}
