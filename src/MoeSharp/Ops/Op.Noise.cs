using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

public static partial class Op
{
    /// <summary>log(1 + e^x) + shift: a positive number from any.</summary>
    public static Tensor Softplus(Tensor x, float shift, ForwardContext context)
    {
        Tensor output = context.Pool.Rent(x.Shape);
        Kernels.Softplus.Forward(context.Workers, x.Data, shift, output.Data);
        if (context.Tape is { } tape)
        {
            SoftplusNode node = tape.Record<SoftplusNode>(output, context.Timer.Current);
            (node.X, node.Result) = (x, output);
            node.Save(x);
        }

        return output;
    }

    /// <summary>clean + noise * deviation: noise whose size is learned.</summary>
    /// <param name="clean">[tokens, experts].</param>
    /// <param name="deviation">[tokens, experts].</param>
    /// <param name="noise">Standard normal numbers, without gradient, [tokens, experts].</param>
    /// <param name="context">Context.</param>
    /// <returns>[tokens, experts].</returns>
    public static Tensor AddNoise(Tensor clean, Tensor deviation, Tensor noise, ForwardContext context)
    {
        Tensor output = context.Pool.Rent(clean.Shape);
        ProductSum.Add(context.Workers, clean.Data, deviation.Data, noise.Data, output.Data);
        if (context.Tape is { } tape)
        {
            AddNoiseNode node = tape.Record<AddNoiseNode>(output, context.Timer.Current);
            (node.Clean, node.Deviation, node.Noise, node.Result) = (clean, deviation, noise, output);
            node.Save(noise);
        }

        return output;
    }

    private sealed class SoftplusNode : TapeNode
    {
        public Tensor X = null!;
        public Tensor Result = null!;

        public override void Backward(ForwardContext context)
        {
            Span<float> dx = X.WriteGradient(out bool accumulate);
            Kernels.Softplus.Backward(context.Workers, Result.Gradient, X.Data, dx, accumulate);
        }
    }

    private sealed class AddNoiseNode : TapeNode
    {
        public Tensor Clean = null!;
        public Tensor Deviation = null!;
        public Tensor Noise = null!;
        public Tensor Result = null!;

        public override void Backward(ForwardContext context)
        {
            Elementwise.Accumulate(context.Workers, Result.Gradient, GradientOf(Clean, context));
            Span<float> dDeviation = GradientOf(Deviation, context);
            ProductSum.Add(context.Workers, dDeviation, Result.Gradient, Noise.Data, dDeviation);
        }
    }
}
