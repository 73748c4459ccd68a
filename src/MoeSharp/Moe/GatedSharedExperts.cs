using MoeSharp.Execution;
using MoeSharp.Layers;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Moe;

/// <summary>Shared experts whose output every token weighs for itself: sigmoid(u g^T) FFN(u) (Qwen-MoE).</summary>
public sealed class GatedSharedExperts : IFeedForward
{
    private readonly IFeedForward _experts;
    private readonly Parameter _weight; // [1, hidden]

    /// <summary>Puts a gate before shared experts, with zero weights.</summary>
    /// <param name="name">Name of the gate's weight.</param>
    /// <param name="hiddenSize">Width of the residual stream.</param>
    /// <param name="experts">The shared experts.</param>
    /// <param name="parameters">Receives the weight.</param>
    public GatedSharedExperts(string name, int hiddenSize, IFeedForward experts, ICollection<Parameter> parameters)
    {
        _experts = experts;
        _weight = new Parameter(name, new Shape(1, hiddenSize));
        parameters.Add(_weight);
    }

    /// <inheritdoc/>
    public Tensor Forward(Tensor x, ForwardContext context)
    {
        Tensor factors = Op.Sigmoid(Op.Linear(x, _weight, context), context); // [tokens, 1]
        return Op.ScaleRows(_experts.Forward(x, context), factors, context); // [tokens, hidden]
    }
}
