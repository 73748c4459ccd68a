using MoeSharp.Execution;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Layers;

/// <summary>Root-mean-square norm with a learned scale.</summary>
public sealed class RmsNormLayer
{
    private readonly Parameter _weight; // [hidden]
    private readonly float _epsilon;

    /// <summary>Builds the layer with a zero scale.</summary>
    /// <param name="name">Path of the layer; also the scale's name.</param>
    /// <param name="hiddenSize">Width.</param>
    /// <param name="epsilon">Added to the mean square.</param>
    /// <param name="parameters">Receives the scale.</param>
    public RmsNormLayer(string name, int hiddenSize, float epsilon, ICollection<Parameter> parameters)
    {
        _weight = new Parameter(name, new Shape(hiddenSize));
        _epsilon = epsilon;
        parameters.Add(_weight);
    }

    /// <summary>Normalises rows.</summary>
    /// <param name="x">[tokens, hidden].</param>
    /// <param name="context">Context.</param>
    /// <returns>[tokens, hidden].</returns>
    public Tensor Forward(Tensor x, ForwardContext context) => Op.RmsNorm(x, _weight, _epsilon, context);
}
