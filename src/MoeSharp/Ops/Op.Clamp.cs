using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

public static partial class Op
{
    /// <summary>Clamps columns of every row to plus and minus a limit, in place; no gradient passes where a value was cut.</summary>
    /// <param name="x">Tensor and first column; modified.</param>
    /// <param name="columns">Columns clamped.</param>
    /// <param name="limit">Limit; positive.</param>
    /// <param name="context">Context.</param>
    public static void ClampInPlace(AttentionRows x, int columns, float limit, ForwardContext context)
    {
        int rows = x.Tensor.Rows;
        if (context.Tape is not { } tape)
        {
            Elementwise.Clamp(context.Workers, rows, columns, x.Data, x.Stride, limit, []);
            return;
        }

        Tensor mask = context.Pool.Rent(new Shape(rows, columns)); // [tokens, columns]
        Elementwise.Clamp(context.Workers, rows, columns, x.Data, x.Stride, limit, mask.Data);
        ClampNode node = tape.Record<ClampNode>(null, context.Timer.Current);
        (node.X, node.Mask) = (x, mask);
        node.Save(mask);
    }

    private sealed class ClampNode : TapeNode
    {
        public AttentionRows X;
        public Tensor Mask = null!;

        public override void Backward(ForwardContext context) =>
            Elementwise.MultiplyBy(context.Workers, Mask.Rows, Mask.Columns, X.Tensor.WriteGradient(out _)[X.Column..], X.Stride, Mask.Data);
    }
}
