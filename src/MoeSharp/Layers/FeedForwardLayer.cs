using MoeSharp.Execution;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Layers;

/// <summary>A dense SwiGLU feed-forward; several shared experts are one of these, as wide as all of them.</summary>
public sealed class FeedForwardLayer : IFeedForward
{
    private readonly Parameter _gateUpProjection; // [2 intermediate, hidden]
    private readonly Parameter _downProjection; // [hidden, intermediate]

    /// <summary>Builds the layer with zero weights.</summary>
    /// <param name="name">Path of the layer.</param>
    /// <param name="hiddenSize">Width of the residual stream.</param>
    /// <param name="intermediateSize">Width inside.</param>
    /// <param name="parameters">Receives the weights.</param>
    public FeedForwardLayer(string name, int hiddenSize, int intermediateSize, ICollection<Parameter> parameters)
    {
        _gateUpProjection = new Parameter($"{name}.gate_up_projection", new Shape(2 * intermediateSize, hiddenSize));
        _downProjection = new Parameter($"{name}.down_projection", new Shape(hiddenSize, intermediateSize));
        parameters.Add(_gateUpProjection);
        parameters.Add(_downProjection);
    }

    /// <inheritdoc/>
    public Tensor Forward(Tensor x, ForwardContext context)
    {
        StepPart before = context.Timer.Switch(StepPart.FeedForward);
        Tensor output = Op.FeedForward(x, _gateUpProjection, _downProjection, context); // [tokens, hidden]
        context.Timer.Switch(before);
        return output;
    }
}
