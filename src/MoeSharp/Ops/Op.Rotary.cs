using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

public static partial class Op
{
    /// <summary>Rotates the first heads of every row by its position, in place (arXiv 2104.09864, equation 34, half layout).</summary>
    /// <param name="x">[tokens, at least numHeads * headDim]; modified.</param>
    /// <param name="numHeads">Heads rotated, from column 0.</param>
    /// <param name="table">Cosines and sines.</param>
    /// <param name="context">Context; its batch gives the positions.</param>
    /// <returns><paramref name="x"/>.</returns>
    public static Tensor RotateInPlace(Tensor x, int numHeads, RotaryTable table, ForwardContext context)
    {
        int last = 0;
        foreach (int position in context.Batch.Positions)
        {
            last = Math.Max(last, position);
        }

        table.Reserve(last + 1);
        Rotary.Apply(context.Workers, x.Rows, numHeads, table.HeadDim, context.Batch.Positions, table.Cos, table.Sin, x.Data, x.Columns, false);
        if (context.Tape is { } tape)
        {
            RotaryNode node = tape.Record<RotaryNode>(null, context.Timer.Current);
            (node.X, node.NumHeads, node.Table) = (x, numHeads, table);
        }

        return x;
    }

    private sealed class RotaryNode : TapeNode
    {
        public Tensor X = null!;
        public int NumHeads;
        public RotaryTable Table = null!;

        public override void Backward(ForwardContext context) =>
            Rotary.Apply(context.Workers, X.Rows, NumHeads, Table.HeadDim, context.Batch.Positions, Table.Cos, Table.Sin, X.WriteGradient(out _), X.Columns, true);
    }
}
