using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

public static partial class Op
{
    /// <summary>x *= factor, in place.</summary>
    public static Tensor ScaleInPlace(Tensor x, float factor, ForwardContext context)
    {
        Elementwise.Scale(context.Workers, x.Data, factor);
        if (context.Tape is { } tape)
        {
            ScaleNode node = tape.Record<ScaleNode>(null, context.Timer.Current);
            (node.X, node.Factor) = (x, factor);
        }

        return x;
    }

    /// <summary>alpha a + beta b, element by element.</summary>
    public static Tensor ScaledSum(Tensor a, float alpha, Tensor b, float beta, ForwardContext context)
    {
        if (a.Shape != b.Shape)
        {
            ShapeException.Throw("ScaledSum", nameof(b), a.Shape.ToString(), b.Shape.ToString());
        }

        Tensor output = context.Pool.Rent(a.Shape);
        Elementwise.ScaledSum(context.Workers, a.Data, alpha, b.Data, beta, output.Data);
        if (context.Tape is { } tape)
        {
            ScaledSumNode node = tape.Record<ScaledSumNode>(output, context.Timer.Current);
            (node.A, node.Alpha, node.B, node.Beta, node.Result) = (a, alpha, b, beta, output);
        }

        return output;
    }

    private sealed class ScaleNode : TapeNode
    {
        public Tensor X = null!;
        public float Factor;

        public override void Backward(ForwardContext context) => Elementwise.Scale(context.Workers, X.WriteGradient(out _), Factor);
    }

    private sealed class ScaledSumNode : TapeNode
    {
        public Tensor A = null!;
        public float Alpha;
        public Tensor B = null!;
        public float Beta;
        public Tensor Result = null!;

        public override void Backward(ForwardContext context)
        {
            Pass(A, Alpha, context);
            Pass(B, Beta, context);
        }

        private void Pass(Tensor operand, float factor, ForwardContext context)
        {
            Span<float> gradient = GradientOf(operand, context);

            Elementwise.ScaledSum(context.Workers, Result.Gradient, factor, gradient, 1f, gradient);
        }
    }
}
