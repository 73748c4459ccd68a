using MoeSharp.Execution;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

public static partial class Op
{
    /// <summary>x (1 - width + 2 width u), element by element: noise that is proportional to the values.</summary>
    /// <param name="x">[tokens, hidden].</param>
    /// <param name="uniform">u, from 0 to 1, without gradient, [tokens, hidden].</param>
    /// <param name="width">Half the range of the factors.</param>
    /// <param name="context">Context.</param>
    /// <returns>[tokens, hidden].</returns>
    public static Tensor Jitter(Tensor x, Tensor uniform, float width, ForwardContext context)
    {
        Tensor output = context.Pool.Rent(x.Shape);
        Kernels.Jitter.Apply(context.Workers, x.Data, uniform.Data, width, output.Data, false);
        if (context.Tape is { } tape)
        {
            JitterNode node = tape.Record<JitterNode>(output, context.Timer.Current);
            (node.X, node.Uniform, node.Width, node.Result) = (x, uniform, width, output);
            node.Save(uniform);
        }

        return output;
    }

    private sealed class JitterNode : TapeNode
    {
        public Tensor X = null!;
        public Tensor Uniform = null!;
        public float Width;
        public Tensor Result = null!;

        public override void Backward(ForwardContext context)
        {
            Span<float> dx = X.WriteGradient(out bool accumulate);
            Kernels.Jitter.Apply(context.Workers, Result.Gradient, Uniform.Data, Width, dx, accumulate);
        }
    }
}
