using MoeSharp.Execution;
using MoeSharp.Layers;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Model;

/// <summary>One pre-norm decoder layer: x += attention(norm(x)); x += feed_forward(norm(x)).</summary>
public sealed class DecoderBlock(RmsNormLayer attentionNorm, AttentionLayer attention, RmsNormLayer feedForwardNorm, IFeedForward feedForward)
{
    /// <summary>Runs the block; everything it needs only inside goes back to the pool.</summary>
    /// <param name="x">[tokens, hidden].</param>
    /// <param name="context">Context.</param>
    /// <returns>[tokens, hidden].</returns>
    public Tensor Forward(Tensor x, ForwardContext context)
    {
        int scope = context.Pool.OpenScope();
        Tensor attended = attention.Forward(attentionNorm.Forward(x, context), context); // [tokens, hidden]
        Tensor middle = Op.Add(x, attended, context); // [tokens, hidden]
        Tensor fed = feedForward.Forward(feedForwardNorm.Forward(middle, context), context); // [tokens, hidden]
        return context.Pool.CloseScope(scope, Op.Add(middle, fed, context)); // [tokens, hidden]
    }
}
