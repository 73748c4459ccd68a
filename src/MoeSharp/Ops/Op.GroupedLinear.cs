using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

public static partial class Op
{
    /// <summary>y = x W_g^T for the rows of every group, the product with one weight per group.</summary>
    /// <param name="rows">[routed, in], grouped by expert; has no other reader.</param>
    /// <param name="offsets">First row of each group, [groups + 1]; must stay unchanged until the pass ends.</param>
    /// <param name="weight">[groups, out, in].</param>
    /// <param name="context">Context.</param>
    /// <returns>[routed, out].</returns>
    public static Tensor GroupedLinear(Tensor rows, int[] offsets, Parameter weight, ForwardContext context)
    {
        context.ThrowIfGivenUp();
        (int groups, int outWidth, int width) = (weight.Shape[0], weight.Shape[1], weight.Shape[2]);
        if (rows.Columns != width)
        {
            ShapeException.Throw("GroupedLinear", nameof(rows), $"[routed, {width}]", rows.Shape.ToString());
        }

        int numRows = rows.Rows;
        Tensor output = context.Pool.Rent(new Shape(numRows, outWidth)); // [routed, out]
        MultiplyGroups(offsets.AsSpan(0, groups + 1), rows.Data, Index(rows.DataIndex, numRows), weight, 0, output.Data, context);
        if (context.Tape is { } tape)
        {
            GroupedLinearNode node = tape.Record<GroupedLinearNode>(output, context.Timer.Current);
            (node.Rows, node.Offsets, node.Weight, node.Result) = (rows, offsets, weight, output);
            node.Save(rows);
        }

        return output;
    }

    private sealed class GroupedLinearNode : TapeNode
    {
        public Tensor Rows = null!;
        public int[] Offsets = [];
        public Parameter Weight = null!;
        public Tensor Result = null!;

        public override void Backward(ForwardContext context)
        {
            (int groups, int outWidth, int width) = (Weight.Shape[0], Weight.Shape[1], Weight.Shape[2]);
            int numRows = Rows.Rows;
            ReadOnlySpan<int> offsets = Offsets.AsSpan(0, groups + 1);
            ReadOnlySpan<int> dyIndex = Index(Result.GradientIndex, numRows);
            Span<float> dWeight = Weight.WriteGradient(out bool accumulate);
            GroupedMatMul.TN(context.Workers, offsets, outWidth, width, Result.Gradient, outWidth, dyIndex, Rows.Data, width, Index(Rows.DataIndex, numRows), dWeight, accumulate);
            Span<float> dRows = Rows.WriteGradient(out _); // the dispatched rows have no other reader
            GroupedMatMul.NN(context.Workers, offsets, width, outWidth, Result.Gradient, outWidth, dyIndex, Weight.Value, dRows, width);
        }
    }
}
