using MoeSharp.Execution;
using MoeSharp.Moe.Dispatch;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Moe;

/// <summary>All routed experts of a layer, computed together: each is a SwiGLU feed-forward over the rows sent to it.</summary>
public sealed class GroupedExperts
{
    private readonly Parameter _gateUpProjection; // [experts, 2 intermediate, hidden]
    private readonly Parameter _downProjection; // [experts, hidden, intermediate]

    /// <summary>Builds the experts with zero weights.</summary>
    /// <param name="name">Path of the experts.</param>
    /// <param name="numExperts">Routed experts.</param>
    /// <param name="hiddenSize">Width of the residual stream.</param>
    /// <param name="intermediateSize">Width of one expert.</param>
    /// <param name="parameters">Receives the weights.</param>
    public GroupedExperts(string name, int numExperts, int hiddenSize, int intermediateSize, ICollection<Parameter> parameters)
    {
        _gateUpProjection = new Parameter($"{name}.gate_up_projection", new Shape(numExperts, 2 * intermediateSize, hiddenSize));
        _downProjection = new Parameter($"{name}.down_projection", new Shape(numExperts, hiddenSize, intermediateSize));
        parameters.Add(_gateUpProjection);
        parameters.Add(_downProjection);
    }

    /// <summary>Runs every expert over its rows; each output row is already multiplied by its routing weight.</summary>
    /// <param name="rows">Rows grouped by expert.</param>
    /// <param name="context">Context.</param>
    /// <returns>[routed, hidden].</returns>
    public Tensor Forward(in DispatchedRows rows, ForwardContext context) =>
        Op.GroupedFeedForward(rows.Rows, rows.RowWeights, rows.Order.Offsets, _gateUpProjection, _downProjection, context);
}
