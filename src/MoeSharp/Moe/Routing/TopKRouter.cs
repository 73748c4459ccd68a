using MoeSharp.Execution;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Moe.Routing;

/// <summary>Softmax over all routed experts, the k largest kept.</summary>
/// <remarks>
/// s = softmax(x W^T), g = s where chosen, 0 elsewhere, without renormalisation unless asked for
/// (DeepSeekMoE, arXiv 2401.06066, equations 3 to 5 and 9 to 11). With k = 1 it is Switch's choice, with k = 2 and normalised GShard's.
/// </remarks>
public sealed class TopKRouter : IRouter
{
    private readonly Parameter _weight; // [experts, hidden]
    private readonly int _topK;
    private readonly bool _isNormalized;
    private readonly float _scale;

    /// <summary>Builds the router with zero weights.</summary>
    /// <param name="name">Path of the router; also its weight's name.</param>
    /// <param name="hiddenSize">Width of the residual stream.</param>
    /// <param name="numExperts">Routed experts.</param>
    /// <param name="topK">Experts per token.</param>
    /// <param name="isNormalized">Whether the weights are divided by their sum.</param>
    /// <param name="scale">Factor on the weights.</param>
    /// <param name="parameters">Receives the weight.</param>
    public TopKRouter(string name, int hiddenSize, int numExperts, int topK, bool isNormalized, float scale, ICollection<Parameter> parameters)
    {
        _weight = new Parameter(name, new Shape(numExperts, hiddenSize));
        (_topK, _isNormalized, _scale) = (topK, isNormalized, scale);
        parameters.Add(_weight);
    }

    /// <inheritdoc/>
    public RoutingPlan Route(Tensor x, ForwardContext context)
    {
        Tensor logits = Op.Linear(x, _weight, context); // [tokens, experts]
        Tensor probs = Op.Softmax(logits, out Tensor logSumExp, context); // [tokens, experts]
        int[] expertIds = context.Indices.Rent(x.Rows * _topK);
        Tensor weights = Op.SelectTopK(probs, _topK, _isNormalized, _scale, expertIds.AsSpan(0, x.Rows * _topK), context); // [tokens, top_k]
        return new RoutingPlan(_weight.Shape[0], expertIds, weights, new RouterScores(logits, probs, logSumExp));
    }
}
