using MoeSharp.Execution;
using MoeSharp.Tensors;

namespace MoeSharp.Layers;

/// <summary>The second half of a decoder block: a dense feed-forward or a mixture of experts.</summary>
public interface IFeedForward
{
    /// <summary>Maps rows of the residual stream, already normed.</summary>
    /// <param name="x">[tokens, hidden].</param>
    /// <param name="context">Context.</param>
    /// <returns>[tokens, hidden].</returns>
    Tensor Forward(Tensor x, ForwardContext context);
}
