using MoeSharp.Execution;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

public static partial class Op
{
    /// <summary>Root-mean-square norm of rows, scaled by <paramref name="weight"/> (arXiv 1910.07467, equation 4).</summary>
    /// <param name="x">[tokens, hidden].</param>
    /// <param name="weight">[hidden].</param>
    /// <param name="epsilon">Added to the mean square.</param>
    /// <param name="context">Context.</param>
    /// <returns>[tokens, hidden].</returns>
    public static Tensor RmsNorm(Tensor x, Parameter weight, float epsilon, ForwardContext context)
    {
        if (x.Columns != weight.Shape[0])
        {
            ShapeException.Throw("RmsNorm", nameof(x), $"[tokens, {weight.Shape[0]}]", x.Shape.ToString());
        }

        Tensor output = context.Pool.Rent(x.Shape);
        Tensor inverseRms = context.Pool.Rent(new Shape(x.Rows));
        Kernels.RmsNorm.Forward(context.Workers, x.Rows, x.Columns, x.Data, weight.Value, epsilon, output.Data, inverseRms.Data);
        if (context.Tape is { } tape)
        {
            RmsNormNode node = tape.Record<RmsNormNode>(output, context.Timer.Current);
            (node.X, node.Weight, node.InverseRms, node.Result) = (x, weight, inverseRms, output);
            node.Save(x);
            node.Save(inverseRms);
        }

        return output;
    }

    private sealed class RmsNormNode : TapeNode
    {
        public Tensor X = null!;
        public Parameter Weight = null!;
        public Tensor InverseRms = null!;
        public Tensor Result = null!;

        public override void Backward(ForwardContext context)
        {
            Span<float> dx = X.WriteGradient(out bool accumulate);
            Kernels.RmsNorm.Backward(context.Workers, X.Rows, X.Columns, Result.Gradient, X.Data, Weight.Value, InverseRms.Data, dx, Weight.AddToGradient(), accumulate);
        }
    }
}
