using MoeSharp.Execution;
using MoeSharp.Layers;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Model.Blocks;

/// <summary>Factors of one half of a <see cref="NormedResidualBlock"/>.</summary>
/// <param name="Alpha">Factor on the normed input.</param>
/// <param name="Beta">Factor on what the part gives.</param>
public readonly record struct ResidualFactors(float Alpha, float Beta);

/// <summary>A layer whose residual is the normed input: h = norm(x); x = alpha h + beta attention(h); and the same with the feed-forward (MiniMax-01).</summary>
public sealed class NormedResidualBlock(
    INormLayer attentionNorm, IAttentionLayer attention, ResidualFactors attentionFactors, INormLayer feedForwardNorm, IFeedForward feedForward, ResidualFactors feedForwardFactors) : IDecoderBlock
{
    /// <inheritdoc/>
    public Tensor Forward(Tensor x, ForwardContext context)
    {
        int scope = context.Pool.OpenScope();
        Tensor normed = attentionNorm.Forward(x, context); // [tokens, hidden]
        Tensor attended = attention.Forward(normed, context); // [tokens, hidden]
        Tensor middle = Op.ScaledSum(normed, attentionFactors.Alpha, attended, attentionFactors.Beta, context); // [tokens, hidden]
        normed = feedForwardNorm.Forward(middle, context); // [tokens, hidden]
        Tensor fed = feedForward.Forward(normed, context); // [tokens, hidden]
        return context.Pool.CloseScope(scope, Op.ScaledSum(normed, feedForwardFactors.Alpha, fed, feedForwardFactors.Beta, context)); // [tokens, hidden]
    }
}
