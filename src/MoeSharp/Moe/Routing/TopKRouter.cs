using MoeSharp.Execution;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Moe.Routing;

/// <summary>Softmax over all routed experts, the k largest kept.</summary>
/// <remarks>
/// s = softmax(logits), g = s where chosen, 0 elsewhere, without renormalisation unless asked for
/// (DeepSeekMoE, arXiv 2401.06066, equations 3 to 5 and 9 to 11). With k = 1 it is Switch's choice, with k = 2 and normalised GShard's.
/// </remarks>
public sealed class TopKRouter : IScoredRouter
{
    private readonly IRouterProjection _projection;
    private readonly ExpertSelection _selection;

    /// <summary>Builds a router without bias, groups or networks, with zero weights.</summary>
    /// <param name="name">Path of the router; also its weight's name.</param>
    /// <param name="hiddenSize">Width of the residual stream.</param>
    /// <param name="numExperts">Routed experts.</param>
    /// <param name="topK">Experts per token.</param>
    /// <param name="isNormalized">Whether the weights are divided by their sum.</param>
    /// <param name="scale">Factor on the weights.</param>
    /// <param name="parameters">Receives the weight.</param>
    public TopKRouter(string name, int hiddenSize, int numExperts, int topK, bool isNormalized, float scale, ICollection<Parameter> parameters)
        : this(new LinearRouterProjection(name, hiddenSize, numExperts, false, parameters), new ExpertSelection(new ExpertChoice(topK), new WeightRule(isNormalized ? 1f : 0f, scale), null))
    {
    }

    /// <summary>Puts a router together from its parts.</summary>
    /// <param name="projection">Gives the logits.</param>
    /// <param name="selection">Chooses and weighs.</param>
    public TopKRouter(IRouterProjection projection, ExpertSelection selection) => (_projection, _selection) = (projection, selection);

    /// <inheritdoc/>
    public RoutingPlan Route(Tensor x, ForwardContext context)
    {
        Tensor logits = _projection.Forward(x, context); // [tokens, experts]
        Tensor probs = Op.Softmax(logits, out Tensor logSumExp, context); // [tokens, experts]
        return _selection.Select(new RouterScores(logits, probs, probs, logSumExp), context);
    }

    /// <inheritdoc/>
    public RoutingPlan Choose(in RouterScores scores, in ExpertLimits limits, ForwardContext context) => _selection.Select(scores, limits, context);
}
