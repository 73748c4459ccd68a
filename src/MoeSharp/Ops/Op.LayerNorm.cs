using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

public static partial class Op
{
    /// <summary>Layer norm of rows without a bias: the root-mean-square norm of the rows less their mean (arXiv 1607.06450, equation 4).</summary>
    /// <param name="x">[tokens, hidden].</param>
    /// <param name="weight">[hidden].</param>
    /// <param name="epsilon">Added to the variance.</param>
    /// <param name="context">Context.</param>
    /// <returns>[tokens, hidden].</returns>
    public static Tensor LayerNorm(Tensor x, Parameter weight, float epsilon, ForwardContext context) => RmsNorm(Center(x, context), weight, epsilon, context);

    private static Tensor Center(Tensor x, ForwardContext context)
    {
        Tensor output = context.Pool.Rent(x.Shape);
        Elementwise.Center(context.Workers, x.Rows, x.Columns, x.Data, output.Data, false);
        if (context.Tape is { } tape)
        {
            CenterNode node = tape.Record<CenterNode>(output, context.Timer.Current);
            (node.X, node.Result) = (x, output);
        }

        return output;
    }

    private sealed class CenterNode : TapeNode
    {
        public Tensor X = null!;
        public Tensor Result = null!;

        public override void Backward(ForwardContext context)
        {
            Span<float> dx = X.WriteGradient(out bool accumulate);
            Elementwise.Center(context.Workers, X.Rows, X.Columns, Result.Gradient, dx, accumulate);
        }
    }
}
