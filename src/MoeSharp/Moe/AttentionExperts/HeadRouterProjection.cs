using MoeSharp.Execution;
using MoeSharp.Moe.Routing;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Moe.AttentionExperts;

/// <summary>One logit per token, head and expert of that head: to a router every head of a token is a row of its own.</summary>
public sealed class HeadRouterProjection : IRouterProjection
{
    private readonly Parameter _weight; // [heads * experts, hidden]

    /// <summary>Builds the projection with zero weights.</summary>
    /// <param name="name">Name of the weight.</param>
    /// <param name="hiddenSize">Width of the residual stream.</param>
    /// <param name="numHeads">Heads.</param>
    /// <param name="numExperts">Experts of a head.</param>
    /// <param name="parameters">Receives the weight.</param>
    public HeadRouterProjection(string name, int hiddenSize, int numHeads, int numExperts, ICollection<Parameter> parameters)
    {
        NumExperts = numExperts;
        parameters.Add(_weight = new Parameter(name, new Shape(numHeads * numExperts, hiddenSize)));
    }

    /// <inheritdoc/>
    public int NumExperts { get; }

    /// <inheritdoc/>
    public Tensor Forward(Tensor x, ForwardContext context)
    {
        Tensor logits = Op.Linear(x, _weight, context); // [tokens, heads * experts]
        return Op.View(logits, new Shape(logits.Rows * (logits.Columns / NumExperts), NumExperts), context); // [tokens * heads, experts]
    }
}
