using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

public static partial class Op
{
    /// <summary>Cross-entropy of a router's logits with choices that another router made; those are constants.</summary>
    /// <param name="logits">[tokens, experts]; receives the gradient.</param>
    /// <param name="expertIds">Choice of each row, [tokens]; rows of padding do not count.</param>
    /// <param name="factor">Factor on each row's gradient.</param>
    /// <param name="context">Context of a training pass.</param>
    /// <returns>Sum of the real rows' cross-entropies, nats, without the factor.</returns>
    public static double Distill(Tensor logits, ReadOnlySpan<int> expertIds, float factor, ForwardContext context)
    {
        Tensor slopes = context.Pool.Rent(logits.Shape); // [tokens, experts]
        Tensor losses = context.Pool.Rent(new Shape(logits.Rows));
        Span<int> targets = context.Indices.Rent(logits.Rows).AsSpan(0, logits.Rows);
        expertIds.CopyTo(targets);
        for (int row = 0; row < targets.Length && context.Batch.HasPadding; row++)
        {
            targets[row] = context.Batch.IsPadding[row] ? -1 : targets[row];
        }

        logits.Data.CopyTo(slopes.Data);
        CrossEntropy.ForwardBackward(context.Workers, logits.Rows, logits.Columns, slopes.Data, targets, factor, losses.Data);
        DistillNode node = context.Tape!.Record<DistillNode>(null, context.Timer.Current); // callers run it in training passes only
        (node.Logits, node.Slopes) = (logits, slopes);
        node.Save(slopes);
        return Sum(losses.Data);
    }

    private sealed class DistillNode : TapeNode
    {
        public Tensor Logits = null!;
        public Tensor Slopes = null!;

        public override void Backward(ForwardContext context) => Elementwise.Accumulate(context.Workers, Slopes.Data, GradientOf(Logits, context));
    }
}
