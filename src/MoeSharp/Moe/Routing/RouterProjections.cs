using MoeSharp.Execution;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Moe.Routing;

/// <summary>The learned part of a router: one logit per token and expert.</summary>
public interface IRouterProjection
{
    /// <summary>Routed experts.</summary>
    int NumExperts { get; }

    /// <summary>Logits of the rows.</summary>
    /// <param name="x">[tokens, hidden].</param>
    /// <param name="context">Context.</param>
    /// <returns>[tokens, experts].</returns>
    Tensor Forward(Tensor x, ForwardContext context);
}

/// <summary>Logits x W^T, plus a bias where the model has one.</summary>
public sealed class LinearRouterProjection : IRouterProjection
{
    private readonly Parameter _weight; // [experts, hidden]
    private readonly Parameter? _bias; // [experts]

    /// <summary>Builds the projection with zero weights.</summary>
    /// <param name="name">Name of the weight; the bias appends <c>_bias</c>.</param>
    /// <param name="hiddenSize">Width of the residual stream.</param>
    /// <param name="numExperts">Routed experts.</param>
    /// <param name="hasBias">Whether there is a bias.</param>
    /// <param name="parameters">Receives the weights.</param>
    public LinearRouterProjection(string name, int hiddenSize, int numExperts, bool hasBias, ICollection<Parameter> parameters)
    {
        parameters.Add(_weight = new Parameter(name, new Shape(numExperts, hiddenSize)));
        if (hasBias)
        {
            parameters.Add(_bias = new Parameter($"{name}_bias", new Shape(numExperts)));
        }
    }

    /// <inheritdoc/>
    public int NumExperts => _weight.Shape[0];

    /// <inheritdoc/>
    public Tensor Forward(Tensor x, ForwardContext context)
    {
        Tensor logits = Op.Linear(x, _weight, context); // [tokens, experts]
        return _bias is null ? logits : Op.AddBiasInPlace(logits, _bias, context);
    }
}

/// <summary>Logits tanh(x V^T) W^T: a router with a hidden layer as wide as the number of experts (LLaMA-MoE).</summary>
public sealed class NetworkRouterProjection : IRouterProjection
{
    private readonly Parameter _input; // [experts, hidden]
    private readonly Parameter _output; // [experts, experts]

    /// <summary>Builds the projection with zero weights.</summary>
    /// <param name="name">Name of the first weight; the second appends <c>_output</c>.</param>
    /// <param name="hiddenSize">Width of the residual stream.</param>
    /// <param name="numExperts">Routed experts.</param>
    /// <param name="parameters">Receives the weights.</param>
    public NetworkRouterProjection(string name, int hiddenSize, int numExperts, ICollection<Parameter> parameters)
    {
        parameters.Add(_input = new Parameter(name, new Shape(numExperts, hiddenSize)));
        parameters.Add(_output = new Parameter($"{name}_output", new Shape(numExperts, numExperts)));
    }

    /// <inheritdoc/>
    public int NumExperts => _output.Shape[0];

    /// <inheritdoc/>
    public Tensor Forward(Tensor x, ForwardContext context) =>
        Op.Linear(Op.Tanh(Op.Linear(x, _input, context), context), _output, context); // [tokens, experts]
}
