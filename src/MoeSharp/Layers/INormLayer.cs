using MoeSharp.Execution;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Layers;

/// <summary>A norm of rows with a learned scale.</summary>
public interface INormLayer
{
    /// <summary>Normalises rows.</summary>
    /// <param name="x">[tokens, hidden].</param>
    /// <param name="context">Context.</param>
    /// <returns>[tokens, hidden].</returns>
    Tensor Forward(Tensor x, ForwardContext context);
}

/// <summary>Root-mean-square norm.</summary>
/// <param name="weight">Scale, [hidden].</param>
/// <param name="epsilon">Added to the mean square.</param>
public sealed class RmsNormLayer(Parameter weight, float epsilon) : INormLayer
{
    /// <inheritdoc/>
    public Tensor Forward(Tensor x, ForwardContext context) => Op.RmsNorm(x, weight, epsilon, context);
}

/// <summary>Layer norm without a bias: the mean is subtracted first.</summary>
/// <param name="weight">Scale, [hidden].</param>
/// <param name="epsilon">Added to the variance.</param>
public sealed class CenteredNormLayer(Parameter weight, float epsilon) : INormLayer
{
    /// <inheritdoc/>
    public Tensor Forward(Tensor x, ForwardContext context) => Op.LayerNorm(x, weight, epsilon, context);
}
