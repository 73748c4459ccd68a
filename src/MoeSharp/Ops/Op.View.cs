using MoeSharp.Execution;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

public static partial class Op
{
    /// <summary>The same numbers in other dimensions, without a copy.</summary>
    /// <param name="x">Tensor that has no other reader.</param>
    /// <param name="shape">Dimensions with as many elements.</param>
    /// <param name="context">Context.</param>
    /// <returns>[<paramref name="shape"/>].</returns>
    public static Tensor View(Tensor x, Shape shape, ForwardContext context)
    {
        if (shape.Length != x.Shape.Length)
        {
            ShapeException.Throw("View", nameof(shape), x.Shape.ToString(), shape.ToString());
        }

        Tensor view = context.Pool.View(x, shape);
        if (context.Tape is { } tape)
        {
            ViewNode node = tape.Record<ViewNode>(view, context.Timer.Current);
            (node.X, node.Result) = (x, view);
        }

        return view;
    }

    private sealed class ViewNode : TapeNode
    {
        public Tensor X = null!;
        public Tensor Result = null!;

        public override void Backward(ForwardContext context) => X.ShareGradientOf(Result, null);
    }
}
