using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

public static partial class Op
{
    /// <summary>a + b, element by element.</summary>
    public static Tensor Add(Tensor a, Tensor b, ForwardContext context)
    {
        if (a.Shape != b.Shape)
        {
            ShapeException.Throw("Add", nameof(b), a.Shape.ToString(), b.Shape.ToString());
        }

        Tensor output = context.Pool.Rent(a.Shape);
        Elementwise.Add(context.Workers, a.Data, b.Data, output.Data);
        if (context.Tape is { } tape)
        {
            AddNode node = tape.Record<AddNode>(output, context.Timer.Current);
            (node.A, node.B, node.Result) = (a, b, output);
        }

        return output;
    }

    private sealed class AddNode : TapeNode
    {
        public Tensor A = null!;
        public Tensor B = null!;
        public Tensor Result = null!;

        public override void Backward(ForwardContext context)
        {
            Pass(A, context);
            Pass(B, context);
        }

        private void Pass(Tensor operand, ForwardContext context)
        {
            if (operand.HasGradient)
            {
                Elementwise.Accumulate(context.Workers, Result.Gradient, operand.WriteGradient(out _));
            }
            else
            {
                operand.ShareGradientOf(Result, null); // no copy: whoever adds to it first makes one
            }
        }
    }
}
