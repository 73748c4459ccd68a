using MoeSharp.Execution;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

public static partial class Op
{
    /// <summary>Softmax of rows.</summary>
    /// <param name="logits">[tokens, experts].</param>
    /// <param name="logSumExp">= log of each row's sum of exponentials, [tokens]; for the z-loss.</param>
    /// <param name="context">Context.</param>
    /// <returns>Probabilities, [tokens, experts].</returns>
    public static Tensor Softmax(Tensor logits, out Tensor logSumExp, ForwardContext context)
    {
        Tensor output = context.Pool.Rent(logits.Shape);
        logSumExp = context.Pool.Rent(new Shape(logits.Rows));
        Kernels.Softmax.Forward(context.Workers, logits.Rows, logits.Columns, logits.Data, output.Data, logSumExp.Data);
        if (context.Tape is { } tape)
        {
            SoftmaxNode node = tape.Record<SoftmaxNode>(output, context.Timer.Current);
            (node.Logits, node.Result) = (logits, output);
            node.Save(output);
        }

        return output;
    }

    private sealed class SoftmaxNode : TapeNode
    {
        public Tensor Logits = null!;
        public Tensor Result = null!;

        public override void Backward(ForwardContext context)
        {
            Span<float> dLogits = Logits.WriteGradient(out bool accumulate);
            if (!accumulate)
            {
                Kernels.Softmax.Backward(context.Workers, Logits.Rows, Logits.Columns, Result.Gradient, Result.Data, dLogits);
                return;
            }

            PooledBlock own = context.Pool.RentBlock(Logits.Shape.Length);
            Kernels.Softmax.Backward(context.Workers, Logits.Rows, Logits.Columns, Result.Gradient, Result.Data, own.Span);
            Kernels.Elementwise.Accumulate(context.Workers, own.Span, dLogits);
            own.Release();
        }
    }
}
