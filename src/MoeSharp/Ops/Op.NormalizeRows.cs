using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

public static partial class Op
{
    private const float LeastSum = 1e-30f; // of sigmoids around -70; what is added to larger sums would let a router lower its balance losses by lowering all scores alike

    /// <summary>Rows divided by their sums.</summary>
    /// <param name="x">[tokens, experts], positive.</param>
    /// <param name="context">Context.</param>
    /// <returns>[tokens, experts]; every row sums to 1, however small its values are, down to sums of 1e-30.</returns>
    public static Tensor NormalizeRows(Tensor x, ForwardContext context)
    {
        Tensor output = context.Pool.Rent(x.Shape);
        Tensor sums = context.Pool.Rent(new Shape(x.Rows));
        RowShares.Forward(context.Workers, x.Rows, x.Columns, x.Data, LeastSum, sums.Data, output.Data);
        if (context.Tape is { } tape)
        {
            NormalizeNode node = tape.Record<NormalizeNode>(output, context.Timer.Current);
            (node.X, node.Sums, node.Result) = (x, sums, output);
            node.Save(sums);
            node.Save(output);
        }

        return output;
    }

    private sealed class NormalizeNode : TapeNode
    {
        public Tensor X = null!;
        public Tensor Sums = null!;
        public Tensor Result = null!;

        // y = x / S  =>  dx_j = (dy_j - sum_i dy_i y_i) / S
        public override void Backward(ForwardContext context)
        {
            Span<float> dx = X.WriteGradient(out bool accumulate);
            RowShares.Backward(context.Workers, X.Rows, X.Columns, Result.Gradient, Result.Data, Sums.Data, dx, accumulate);
        }
    }
}
