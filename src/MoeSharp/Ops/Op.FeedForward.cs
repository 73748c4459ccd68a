using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

public static partial class Op
{
    /// <summary>A SwiGLU feed-forward: (silu(x Wg^T) * (x Wu^T)) Wd^T (arXiv 2002.05202, equation 6).</summary>
    /// <remarks>Keeps x and the gate and up rows for the backward; the activation is computed again there.</remarks>
    /// <param name="x">[tokens, hidden].</param>
    /// <param name="gateUp">Gate rows then up rows, [2 intermediate, hidden].</param>
    /// <param name="down">[hidden, intermediate].</param>
    /// <param name="context">Context.</param>
    /// <returns>[tokens, hidden].</returns>
    public static Tensor FeedForward(Tensor x, Parameter gateUp, Parameter down, ForwardContext context)
    {
        context.ThrowIfGivenUp();
        (int rows, int hidden, int intermediate) = (x.Rows, x.Columns, down.Shape[1]);
        if (gateUp.Shape != new Shape(2 * intermediate, hidden))
        {
            ShapeException.Throw("FeedForward", nameof(gateUp), $"[{2 * intermediate}, {hidden}]", gateUp.Shape.ToString());
        }

        Tensor gateUpRows = context.Pool.Rent(new Shape(rows, 2 * intermediate)); // [tokens, 2 intermediate]
        Tensor activation = context.Pool.Rent(new Shape(rows, intermediate)); // [tokens, intermediate]
        Tensor output = context.Pool.Rent(new Shape(rows, hidden)); // [tokens, hidden]
        Multiply(rows, x.Data, gateUp, gateUpRows.Data, context);
        SwiGlu.Forward(context.Workers, rows, intermediate, gateUpRows.Data, [], activation.Data);
        Multiply(rows, activation.Data, down, output.Data, context);
        if (context.Tape is { } tape)
        {
            FeedForwardNode node = tape.Record<FeedForwardNode>(output, context.Timer.Current);
            (node.X, node.GateUp, node.Down, node.GateUpRows, node.Result) = (x, gateUp, down, gateUpRows, output);
            node.Save(x);
            node.Save(gateUpRows);
        }

        return output;
    }

    private sealed class FeedForwardNode : TapeNode
    {
        public Tensor X = null!;
        public Parameter GateUp = null!;
        public Parameter Down = null!;
        public Tensor GateUpRows = null!;
        public Tensor Result = null!;

        public override void Backward(ForwardContext context)
        {
            WorkerPool workers = context.Workers;
            (int rows, int hidden, int intermediate) = (X.Rows, X.Columns, Down.Shape[1]);
            Span<float> dy = Result.Gradient;
            PooledBlock activation = context.Pool.RentBlock((long)rows * intermediate);
            MatMul.NN(workers, rows, intermediate, hidden, dy, hidden, Down.Value, intermediate, activation.Span, intermediate, false);
            SwiGlu.Backward(workers, rows, intermediate, GateUpRows.Data, [], activation.Span, []); // gradient becomes activation, rows become their gradient
            Span<float> dDown = Down.WriteGradient(out bool accumulateDown);
            MatMul.TN(workers, hidden, intermediate, rows, dy, hidden, activation.Span, intermediate, dDown, intermediate, accumulateDown);
            activation.Release();
            Span<float> dGateUp = GateUp.WriteGradient(out bool accumulateGateUp);
            MatMul.TN(workers, 2 * intermediate, hidden, rows, GateUpRows.Data, 2 * intermediate, X.Data, hidden, dGateUp, hidden, accumulateGateUp);
            Span<float> dx = X.WriteGradient(out bool accumulate);
            MatMul.NN(workers, rows, hidden, 2 * intermediate, GateUpRows.Data, 2 * intermediate, GateUp.Value, hidden, dx, hidden, accumulate);
        }
    }
}
