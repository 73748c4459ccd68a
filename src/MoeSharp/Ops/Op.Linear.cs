using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

public static partial class Op
{
    /// <summary>y = x W^T, the product with weights stored [out, in].</summary>
    /// <param name="x">[tokens, in].</param>
    /// <param name="weight">[out, in].</param>
    /// <param name="context">Context.</param>
    /// <returns>[tokens, out].</returns>
    public static Tensor Linear(Tensor x, Parameter weight, ForwardContext context)
    {
        (int rows, int width, int outWidth) = (x.Rows, weight.Shape[1], weight.Shape[0]);
        if (x.Columns != width)
        {
            ShapeException.Throw("Linear", nameof(x), $"[tokens, {width}]", x.Shape.ToString());
        }

        Tensor output = context.Pool.Rent(new Shape(rows, outWidth)); // [tokens, out]
        Multiply(rows, x.Data, weight, output.Data, context);
        if (context.Tape is { } tape)
        {
            LinearNode node = tape.Record<LinearNode>(output, context.Timer.Current);
            (node.X, node.Weight, node.Result) = (x, weight, output);
            node.Save(x);
        }

        return output;
    }

    /// <summary>Adds a bias to every row, in place.</summary>
    /// <param name="x">[tokens, width]; modified.</param>
    /// <param name="bias">[width].</param>
    /// <param name="context">Context.</param>
    /// <returns><paramref name="x"/>.</returns>
    public static Tensor AddBiasInPlace(Tensor x, Parameter bias, ForwardContext context)
    {
        Elementwise.AddBias(context.Workers, x.Rows, x.Columns, bias.Value, x.Data);
        if (context.Tape is { } tape)
        {
            BiasNode node = tape.Record<BiasNode>(null, context.Timer.Current);
            (node.X, node.Bias) = (x, bias);
        }

        return x;
    }

    private sealed class LinearNode : TapeNode
    {
        public Tensor X = null!;
        public Parameter Weight = null!;
        public Tensor Result = null!;

        public override void Backward(ForwardContext context)
        {
            (int rows, int width, int outWidth) = (X.Rows, X.Columns, Result.Columns);
            Span<float> dWeight = Weight.WriteGradient(out bool accumulateWeight);
            MatMul.TN(context.Workers, outWidth, width, rows, Result.Gradient, outWidth, X.Data, width, dWeight, width, accumulateWeight);
            Span<float> dx = X.WriteGradient(out bool accumulate);
            MatMul.NN(context.Workers, rows, width, outWidth, Result.Gradient, outWidth, Weight.Value, width, dx, width, accumulate);
        }
    }

    private sealed class BiasNode : TapeNode
    {
        public Tensor X = null!;
        public Parameter Bias = null!;

        public override void Backward(ForwardContext context) =>
            Elementwise.SumRows(context.Workers, X.Rows, X.Columns, X.Gradient, Bias.AddToGradient());
    }
}
