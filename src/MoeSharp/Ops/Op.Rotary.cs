using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

public static partial class Op
{
    /// <summary>Turns lanes of some heads of every row by its position, in place (arXiv 2104.09864, equation 34).</summary>
    /// <param name="x">Tensor and the column of the first lane that is turned; modified.</param>
    /// <param name="numHeads">Heads turned.</param>
    /// <param name="headStep">Columns from one head to the next.</param>
    /// <param name="table">Cosines and sines.</param>
    /// <param name="context">Context; its batch gives the positions.</param>
    /// <returns>The tensor.</returns>
    public static Tensor RotateInPlace(AttentionRows x, int numHeads, int headStep, RotaryTable table, ForwardContext context)
    {
        int last = 0;
        foreach (int position in context.Batch.Positions)
        {
            last = Math.Max(last, position);
        }

        table.Reserve(last + 1);
        RotaryHeads heads = new(numHeads, headStep, table.RotaryDim, table.IsInterleaved);
        Rotary.Apply(context.Workers, x.Tensor.Rows, heads, context.Batch.Positions, table.Cos, table.Sin, x.Data, x.Stride, false);
        if (context.Tape is { } tape)
        {
            RotaryNode node = tape.Record<RotaryNode>(null, context.Timer.Current);
            (node.X, node.Heads, node.Table) = (x, heads, table);
        }

        return x.Tensor;
    }

    private sealed class RotaryNode : TapeNode
    {
        public AttentionRows X;
        public RotaryHeads Heads;
        public RotaryTable Table = null!;

        public override void Backward(ForwardContext context) =>
            Rotary.Apply(context.Workers, X.Tensor.Rows, Heads, context.Batch.Positions, Table.Cos, Table.Sin, X.Tensor.WriteGradient(out _)[X.Column..], X.Stride, true);
    }
}
