using MoeSharp.Execution;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

public static partial class Op
{
    /// <summary>1 / (1 + e^-x), element by element.</summary>
    public static Tensor Sigmoid(Tensor x, ForwardContext context)
    {
        Tensor output = context.Pool.Rent(x.Shape);
        Kernels.Sigmoid.Forward(context.Workers, x.Data, output.Data);
        RecordSquash(x, output, 0f, context);
        return output;
    }

    /// <summary>tanh(x), element by element.</summary>
    public static Tensor Tanh(Tensor x, ForwardContext context)
    {
        Tensor output = context.Pool.Rent(x.Shape);
        Kernels.Sigmoid.Tanh(context.Workers, x.Data, output.Data);
        RecordSquash(x, output, -1f, context);
        return output;
    }

    private static void RecordSquash(Tensor x, Tensor output, float lowest, ForwardContext context)
    {
        if (context.Tape is { } tape)
        {
            SquashNode node = tape.Record<SquashNode>(output, context.Timer.Current);
            (node.X, node.Result, node.Lowest) = (x, output, lowest);
            node.Save(output);
        }
    }

    // Both functions rise from their lowest value to 1 with slope (y - lowest) (1 - y).
    private sealed class SquashNode : TapeNode
    {
        public Tensor X = null!;
        public Tensor Result = null!;
        public float Lowest;

        public override void Backward(ForwardContext context)
        {
            Span<float> dx = X.WriteGradient(out bool accumulate);
            Span<float> y = Result.Data;
            Span<float> dy = Result.Gradient;
            for (int i = 0; i < dx.Length; i++)
            {
                float slope = (y[i] - Lowest) * (1f - y[i]) * dy[i];
                dx[i] = accumulate ? dx[i] + slope : slope;
            }
        }
    }
}
