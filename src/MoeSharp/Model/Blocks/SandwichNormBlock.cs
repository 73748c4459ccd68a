using MoeSharp.Execution;
using MoeSharp.Layers;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Model.Blocks;

/// <summary>A layer that norms what its parts read and what they give: x += norm(attention(norm(x))); x += norm(feed_forward(norm(x))) (Grok-1).</summary>
public sealed class SandwichNormBlock(
    INormLayer attentionNorm, IAttentionLayer attention, INormLayer attentionOutputNorm, INormLayer feedForwardNorm, IFeedForward feedForward, INormLayer feedForwardOutputNorm) : IDecoderBlock
{
    /// <inheritdoc/>
    public Tensor Forward(Tensor x, ForwardContext context)
    {
        int scope = context.Pool.OpenScope();
        Tensor attended = attention.Forward(attentionNorm.Forward(x, context), context); // [tokens, hidden]
        Tensor middle = Op.Add(x, attentionOutputNorm.Forward(attended, context), context); // [tokens, hidden]
        Tensor fed = feedForward.Forward(feedForwardNorm.Forward(middle, context), context); // [tokens, hidden]
        return context.Pool.CloseScope(scope, Op.Add(middle, feedForwardOutputNorm.Forward(fed, context), context)); // [tokens, hidden]
    }
}
