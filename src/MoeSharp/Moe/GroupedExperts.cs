using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Moe.Dispatch;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Moe;

/// <summary>All routed experts of a layer, computed together: each is a gated feed-forward over the rows sent to it.</summary>
public sealed class GroupedExperts
{
    private readonly ExpertWeights _weights;

    /// <summary>Builds SwiGLU experts without biases, with zero weights.</summary>
    /// <param name="name">Path of the experts.</param>
    /// <param name="numExperts">Routed experts.</param>
    /// <param name="hiddenSize">Width of the residual stream.</param>
    /// <param name="intermediateSize">Width of one expert.</param>
    /// <param name="parameters">Receives the weights.</param>
    public GroupedExperts(string name, int numExperts, int hiddenSize, int intermediateSize, ICollection<Parameter> parameters)
        : this(name, numExperts, hiddenSize, intermediateSize, default, false, parameters)
    {
    }

    /// <summary>Builds the experts with zero weights.</summary>
    /// <param name="name">Path of the experts.</param>
    /// <param name="numExperts">Routed experts.</param>
    /// <param name="hiddenSize">Width of the residual stream.</param>
    /// <param name="intermediateSize">Width of one expert.</param>
    /// <param name="activation">Function between gate and up.</param>
    /// <param name="hasBias">Whether the projections have biases.</param>
    /// <param name="parameters">Receives the weights.</param>
    public GroupedExperts(string name, int numExperts, int hiddenSize, int intermediateSize, GatedActivation activation, bool hasBias, ICollection<Parameter> parameters)
    {
        Parameter gateUp = Add(new Parameter($"{name}.gate_up_projection", new Shape(numExperts, 2 * intermediateSize, hiddenSize)), parameters);
        Parameter? gateUpBias = hasBias ? Add(new Parameter($"{name}.gate_up_bias", new Shape(checked(numExperts * 2 * intermediateSize))), parameters) : null;
        Parameter down = Add(new Parameter($"{name}.down_projection", new Shape(numExperts, hiddenSize, intermediateSize)), parameters);
        Parameter? downBias = hasBias ? Add(new Parameter($"{name}.down_bias", new Shape(checked(numExperts * hiddenSize))), parameters) : null;
        _weights = new ExpertWeights(gateUp, gateUpBias, down, downBias, activation);
    }

    /// <summary>Routed experts.</summary>
    public int NumExperts => _weights.GateUp.Shape[0];

    /// <summary>Runs every expert over its rows; each output row is already multiplied by its routing weight.</summary>
    /// <param name="rows">Rows grouped by expert.</param>
    /// <param name="context">Context.</param>
    /// <returns>[routed, hidden].</returns>
    public Tensor Forward(in DispatchedRows rows, ForwardContext context) =>
        Op.GroupedFeedForward(rows.Rows, rows.RowWeights, rows.Order.Offsets, _weights, context);

    private static Parameter Add(Parameter parameter, ICollection<Parameter> parameters)
    {
        parameters.Add(parameter);
        return parameter;
    }
}
