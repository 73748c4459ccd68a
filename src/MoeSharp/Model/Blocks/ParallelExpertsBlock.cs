using MoeSharp.Execution;
using MoeSharp.Layers;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Model.Blocks;

/// <summary>A layer whose experts read its input beside attention and a dense feed-forward: a = x + attention(norm(x)); a + dense(norm(a)) + experts(norm(x)) (Arctic).</summary>
public sealed class ParallelExpertsBlock(
    INormLayer attentionNorm, IAttentionLayer attention, INormLayer residualNorm, IFeedForward residual, INormLayer expertsNorm, IFeedForward experts) : IDecoderBlock
{
    /// <inheritdoc/>
    public Tensor Forward(Tensor x, ForwardContext context)
    {
        int scope = context.Pool.OpenScope();
        Tensor attended = attention.Forward(attentionNorm.Forward(x, context), context); // [tokens, hidden]
        Tensor middle = Op.Add(x, attended, context); // [tokens, hidden]
        Tensor dense = residual.Forward(residualNorm.Forward(middle, context), context); // [tokens, hidden]
        Tensor routed = experts.Forward(expertsNorm.Forward(x, context), context); // [tokens, hidden]
        return context.Pool.CloseScope(scope, Op.Add(Op.Add(middle, dense, context), routed, context)); // [tokens, hidden]
    }
}
