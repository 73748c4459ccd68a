using MoeSharp.Execution;
using MoeSharp.Tensors;

namespace MoeSharp.Model.Blocks;

/// <summary>One decoder layer: attention and feed-forward, joined with the residual stream.</summary>
public interface IDecoderBlock
{
    /// <summary>Runs the block; everything it needs only inside goes back to the pool.</summary>
    /// <param name="x">[tokens, hidden].</param>
    /// <param name="context">Context.</param>
    /// <returns>[tokens, hidden].</returns>
    Tensor Forward(Tensor x, ForwardContext context);
}
