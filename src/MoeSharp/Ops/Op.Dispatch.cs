using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

/// <summary>Where every slot went: rows are slots sorted by expert. A slot is one (token, k) pair, numbered token * TopK + k.</summary>
/// <param name="NumTokens">Tokens.</param>
/// <param name="TopK">Slots per token.</param>
/// <param name="NumRows">Rows: slots that were not dropped.</param>
/// <param name="Offsets">First row of each expert, [experts + 1].</param>
/// <param name="RowTokens">Token of each row.</param>
/// <param name="RowSlots">Slot of each row.</param>
/// <param name="SlotRows">Row of each slot, -1 where dropped.</param>
public readonly record struct SlotOrder(int NumTokens, int TopK, int NumRows, int[] Offsets, int[] RowTokens, int[] RowSlots, int[] SlotRows);

public static partial class Op
{
    /// <summary>The rows of x in expert order. No copy is made: experts read through the index.</summary>
    /// <param name="x">[tokens, hidden].</param>
    /// <param name="order">Order of the slots.</param>
    /// <param name="context">Context.</param>
    /// <returns>[routed, hidden].</returns>
    public static Tensor DispatchRows(Tensor x, in SlotOrder order, ForwardContext context)
    {
        Tensor rows = context.Pool.Gather(x, order.RowTokens, order.NumRows); // [routed, hidden]
        if (context.Tape is { } tape)
        {
            DispatchNode node = tape.Record<DispatchNode>(rows, context.Timer.Current);
            (node.X, node.Order, node.Result) = (x, order, rows);
        }

        return rows;
    }

    /// <summary>The routing weights in expert order.</summary>
    /// <param name="weights">[tokens, top_k].</param>
    /// <param name="order">Order of the slots.</param>
    /// <param name="context">Context.</param>
    /// <returns>[routed].</returns>
    public static Tensor DispatchWeights(Tensor weights, in SlotOrder order, ForwardContext context)
    {
        Tensor rowWeights = context.Pool.Rent(new Shape(order.NumRows)); // [routed]
        Span<float> source = weights.Data;
        Span<float> target = rowWeights.Data;
        for (int row = 0; row < order.NumRows; row++)
        {
            target[row] = source[order.RowSlots[row]];
        }

        if (context.Tape is { } tape)
        {
            DispatchWeightsNode node = tape.Record<DispatchWeightsNode>(rowWeights, context.Timer.Current);
            (node.Weights, node.Order, node.Result) = (weights, order, rowWeights);
        }

        return rowWeights;
    }

    /// <summary>Sums each token's rows in slot order, so that the result does not depend on where the rows lie.</summary>
    /// <param name="rows">[routed, hidden], already weighted.</param>
    /// <param name="order">Order of the slots.</param>
    /// <param name="context">Context.</param>
    /// <returns>[tokens, hidden].</returns>
    public static Tensor CombineRows(Tensor rows, in SlotOrder order, ForwardContext context)
    {
        Tensor output = context.Pool.Rent(new Shape(order.NumTokens, rows.Columns)); // [tokens, hidden]
        Permutation.SumSlots(context.Workers, order.NumTokens, order.TopK, rows.Columns, order.SlotRows, rows.Data, output.Data, false);
        if (context.Tape is { } tape)
        {
            CombineNode node = tape.Record<CombineNode>(output, context.Timer.Current);
            (node.Rows, node.Order, node.Result) = (rows, order, output);
        }

        return output;
    }

    private sealed class DispatchNode : TapeNode
    {
        public Tensor X = null!;
        public SlotOrder Order;
        public Tensor Result = null!;

        public override void Backward(ForwardContext context)
        {
            Span<float> dx = X.WriteGradient(out bool accumulate);
            Permutation.SumSlots(context.Workers, Order.NumTokens, Order.TopK, X.Columns, Order.SlotRows, Result.Gradient, dx, accumulate);
        }
    }

    private sealed class DispatchWeightsNode : TapeNode
    {
        public Tensor Weights = null!;
        public SlotOrder Order;
        public Tensor Result = null!;

        public override void Backward(ForwardContext context)
        {
            Span<float> dWeights = Weights.WriteGradient(out bool accumulate);
            Span<float> dRows = Result.Gradient;
            for (int slot = 0; slot < dWeights.Length; slot++)
            {
                float value = Order.SlotRows[slot] < 0 ? 0f : dRows[Order.SlotRows[slot]];
                dWeights[slot] = accumulate ? dWeights[slot] + value : value;
            }
        }
    }

    private sealed class CombineNode : TapeNode
    {
        public Tensor Rows = null!;
        public SlotOrder Order;
        public Tensor Result = null!;

        // Every row's gradient is its token's: the experts read it through the index instead of from a copy.
        public override void Backward(ForwardContext context) => Rows.ShareGradientOf(Result, Order.RowTokens);
    }
}
