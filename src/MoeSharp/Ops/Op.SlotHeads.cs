using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

/// <summary>How the rows of attention experts and the heads of tokens belong together.</summary>
/// <param name="Order">Where every slot went.</param>
/// <param name="Columns">Where a slot's heads lie in its token's row.</param>
public readonly record struct SlotHeadOrder(SlotOrder Order, SlotColumns Columns)
{
    internal int NumTokens => Order.NumTokens * Order.TopK / Columns.SlotsPerToken;

    internal ReadOnlySpan<int> SlotRows => Order.SlotRows.AsSpan(0, Order.NumTokens * Order.TopK);
}

public static partial class Op
{
    /// <summary>The heads that experts computed for a token's slots, side by side in the token's row.</summary>
    /// <param name="rows">[routed, heads of a slot], grouped by expert.</param>
    /// <param name="heads">Where they belong.</param>
    /// <param name="context">Context.</param>
    /// <returns>[tokens, heads of all slots].</returns>
    public static Tensor SlotsToHeads(Tensor rows, in SlotHeadOrder heads, ForwardContext context) => Collect(rows, null, heads, context);

    /// <summary>The heads that experts computed for a token's slots, multiplied by the slots' weights, those of one place summed.</summary>
    /// <param name="rows">[routed, heads of a slot], grouped by expert.</param>
    /// <param name="weights">One per slot.</param>
    /// <param name="heads">Where they belong.</param>
    /// <param name="context">Context.</param>
    /// <returns>[tokens, heads].</returns>
    public static Tensor WeighSlotsToHeads(Tensor rows, Tensor weights, in SlotHeadOrder heads, ForwardContext context) => Collect(rows, weights, heads, context);

    /// <summary>What the experts of a token's slots read of its heads, multiplied by the slots' weights.</summary>
    /// <param name="x">[tokens, heads].</param>
    /// <param name="weights">One per slot.</param>
    /// <param name="heads">Where they belong.</param>
    /// <param name="context">Context.</param>
    /// <returns>[routed, heads of a slot], grouped by expert.</returns>
    public static Tensor WeighHeadsToSlots(Tensor x, Tensor weights, in SlotHeadOrder heads, ForwardContext context)
    {
        Tensor rows = context.Pool.Rent(new Shape(heads.Order.NumRows, heads.Columns.SlotWidth)); // [routed, heads of a slot]
        SlotHeads.Spread(context.Workers, heads.Columns, heads.NumTokens, heads.SlotRows, weights.Data, x.Data, rows.Data);
        if (context.Tape is { } tape)
        {
            SpreadNode node = tape.Record<SpreadNode>(rows, context.Timer.Current);
            (node.X, node.Weights, node.Heads, node.Result) = (x, weights, heads, rows);
            node.Save(x);
            node.Save(weights);
        }

        return rows;
    }

    private static Tensor Collect(Tensor rows, Tensor? weights, in SlotHeadOrder heads, ForwardContext context)
    {
        Tensor output = context.Pool.Rent(new Shape(heads.NumTokens, heads.Columns.TokenWidth)); // [tokens, heads]
        SlotHeads.Collect(context.Workers, heads.Columns, heads.NumTokens, heads.SlotRows, weights is null ? [] : weights.Data, rows.Data, output.Data);
        if (context.Tape is { } tape)
        {
            CollectNode node = tape.Record<CollectNode>(output, context.Timer.Current);
            (node.Rows, node.Weights, node.Heads, node.Result) = (rows, weights, heads, output);
            if (weights is not null)
            {
                node.Save(rows);
                node.Save(weights);
            }
        }

        return output;
    }

    private sealed class CollectNode : TapeNode
    {
        public Tensor Rows = null!;
        public Tensor? Weights;
        public SlotHeadOrder Heads;
        public Tensor Result = null!;

        public override void Backward(ForwardContext context)
        {
            if (Weights is not null)
            {
                Span<float> dWeights = Weights.WriteGradient(out bool accumulate);
                SlotHeads.Dot(context.Workers, Heads.Columns, Heads.NumTokens, Heads.SlotRows, Result.Gradient, Rows.Data, dWeights, accumulate);
            }

            Span<float> dRows = Rows.WriteGradient(out _); // the experts' rows have no other reader
            SlotHeads.Spread(context.Workers, Heads.Columns, Heads.NumTokens, Heads.SlotRows, Weights is null ? [] : Weights.Data, Result.Gradient, dRows);
        }
    }

    private sealed class SpreadNode : TapeNode
    {
        public Tensor X = null!;
        public Tensor Weights = null!;
        public SlotHeadOrder Heads;
        public Tensor Result = null!;

        public override void Backward(ForwardContext context)
        {
            Span<float> dWeights = Weights.WriteGradient(out bool accumulate);
            SlotHeads.Dot(context.Workers, Heads.Columns, Heads.NumTokens, Heads.SlotRows, X.Data, Result.Gradient, dWeights, accumulate);
            Span<float> dx = X.WriteGradient(out _); // attention's output has no other reader
            SlotHeads.Collect(context.Workers, Heads.Columns, Heads.NumTokens, Heads.SlotRows, Weights.Data, Result.Gradient, dx);
        }
    }
}
