using MoeSharp.Execution;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Moe.Routing;

/// <summary>Logits of inputs that are multiplied by random factors while training: the exploration of Switch.</summary>
/// <remarks>
/// logits = (x * U(1 - width, 1 + width)) W^T with a factor for every value of x (Switch, arXiv 2101.03961, "input jitter"). The experts themselves see x.
/// Passes without gradients have no jitter.
/// </remarks>
/// <param name="inner">Gives the logits.</param>
/// <param name="width">Half the range of the factors.</param>
/// <param name="noise">Gives the factors.</param>
public sealed class JitteredProjection(IRouterProjection inner, float width, IRouterNoise noise) : IRouterProjection
{
    /// <inheritdoc/>
    public int NumExperts => inner.NumExperts;

    /// <inheritdoc/>
    public Tensor Forward(Tensor x, ForwardContext context) =>
        inner.Forward(context.Tape is null ? x : Op.Jitter(x, noise.Uniform(x.Shape, context), width, context), context); // [tokens, experts]
}
