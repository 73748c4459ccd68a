using MoeSharp.Execution;
using MoeSharp.Layers;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Model.Blocks;

/// <summary>The usual layer: x += attention(norm(x)); x += feed_forward(norm(x)).</summary>
public sealed class PreNormBlock(INormLayer attentionNorm, IAttentionLayer attention, INormLayer feedForwardNorm, IFeedForward feedForward) : IDecoderBlock
{
    /// <inheritdoc/>
    public Tensor Forward(Tensor x, ForwardContext context)
    {
        int scope = context.Pool.OpenScope();
        Tensor attended = attention.Forward(attentionNorm.Forward(x, context), context); // [tokens, hidden]
        Tensor middle = Op.Add(x, attended, context); // [tokens, hidden]
        Tensor fed = feedForward.Forward(feedForwardNorm.Forward(middle, context), context); // [tokens, hidden]
        return context.Pool.CloseScope(scope, Op.Add(middle, fed, context)); // [tokens, hidden]
    }
}
