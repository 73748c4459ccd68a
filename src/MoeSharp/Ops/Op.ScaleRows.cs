using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

public static partial class Op
{
    /// <summary>Rows multiplied by one factor each.</summary>
    /// <param name="x">[tokens, hidden].</param>
    /// <param name="factors">[tokens, 1].</param>
    /// <param name="context">Context.</param>
    /// <returns>[tokens, hidden].</returns>
    public static Tensor ScaleRows(Tensor x, Tensor factors, ForwardContext context)
    {
        if (factors.Shape.Length != x.Rows)
        {
            ShapeException.Throw("ScaleRows", nameof(factors), $"[{x.Rows}, 1]", factors.Shape.ToString());
        }

        Tensor output = context.Pool.Rent(x.Shape);
        RowScale.Forward(context.Workers, x.Rows, x.Columns, x.Data, factors.Data, output.Data);
        if (context.Tape is { } tape)
        {
            ScaleRowsNode node = tape.Record<ScaleRowsNode>(output, context.Timer.Current);
            (node.X, node.Factors, node.Result) = (x, factors, output);
            node.Save(x);
            node.Save(factors);
        }

        return output;
    }

    private sealed class ScaleRowsNode : TapeNode
    {
        public Tensor X = null!;
        public Tensor Factors = null!;
        public Tensor Result = null!;

        public override void Backward(ForwardContext context)
        {
            (int rows, int columns) = (X.Rows, X.Columns);
            PooledBlock own = context.Pool.RentBlock(Math.Max(X.Shape.Length, rows));
            RowScale.FactorGradient(context.Workers, rows, columns, Result.Gradient, X.Data, own.Span);
            Add(own.Span[..rows], Factors, context);
            RowScale.Forward(context.Workers, rows, columns, Result.Gradient, Factors.Data, own.Span);
            Add(own.Span[..checked((int)X.Shape.Length)], X, context);
            own.Release();
        }

        private static void Add(Span<float> share, Tensor operand, ForwardContext context)
        {
            Span<float> gradient = operand.WriteGradient(out bool accumulate);
            if (accumulate)
            {
                Elementwise.Accumulate(context.Workers, share, gradient);
            }
            else
            {
                share.CopyTo(gradient);
            }
        }
    }
}
