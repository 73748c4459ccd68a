using MoeSharp.Execution;
using MoeSharp.Tensors;

namespace MoeSharp.Layers;

/// <summary>The first half of a decoder block: rows look at the rows before them.</summary>
public interface IAttentionLayer
{
    /// <summary>Attends within the batch's segments, or over the cache when the context has one.</summary>
    /// <param name="x">Rows of the residual stream, already normed, [tokens, hidden].</param>
    /// <param name="context">Context.</param>
    /// <returns>[tokens, hidden].</returns>
    Tensor Forward(Tensor x, ForwardContext context);
}

/// <summary>Where an attention layer stands.</summary>
/// <param name="Name">Path, for example <c>layers.3.attention</c>.</param>
/// <param name="Layer">Index of the decoder layer, for the cache.</param>
/// <param name="HiddenSize">Width of the residual stream.</param>
/// <param name="Parameters">Receives the weights.</param>
public readonly record struct AttentionPlace(string Name, int Layer, int HiddenSize, ICollection<Parameter> Parameters)
{
    /// <summary>Makes a weight with zeros, which the model fills later.</summary>
    /// <param name="name">Name within the layer.</param>
    /// <param name="shape">Dimensions.</param>
    internal Parameter Add(string name, Shape shape)
    {
        Parameter parameter = new($"{Name}.{name}", shape);
        Parameters.Add(parameter);
        return parameter;
    }
}
