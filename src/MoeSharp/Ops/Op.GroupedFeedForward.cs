using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

public static partial class Op
{
    /// <summary>A SwiGLU feed-forward per expert over its own rows, each row multiplied by its routing weight.</summary>
    /// <remarks>
    /// The weight is applied to the activation: w (a Wd^T) = (w a) Wd^T, so the weight's gradient needs no expert output to be kept.
    /// Keeps the rows (by index) and their gate and up values for the backward; the activation is computed again there.
    /// </remarks>
    /// <param name="rows">[routed, hidden], grouped by expert.</param>
    /// <param name="rowWeights">Routing weight of each row, [routed].</param>
    /// <param name="offsets">First row of each expert, [experts + 1]; must stay unchanged until the pass ends.</param>
    /// <param name="gateUp">[experts, 2 intermediate, hidden]: gate rows, then up rows.</param>
    /// <param name="down">[experts, hidden, intermediate].</param>
    /// <param name="context">Context.</param>
    /// <returns>[routed, hidden].</returns>
    public static Tensor GroupedFeedForward(Tensor rows, Tensor rowWeights, int[] offsets, Parameter gateUp, Parameter down, ForwardContext context)
    {
        (int experts, int hidden, int intermediate) = (down.Shape[0], down.Shape[1], down.Shape[2]);
        if (rows.Columns != hidden || gateUp.Shape != new Shape(experts, 2 * intermediate, hidden))
        {
            ShapeException.Throw("GroupedFeedForward", nameof(gateUp), $"[{experts}, {2 * intermediate}, {rows.Columns}]", gateUp.Shape.ToString());
        }

        int numRows = rows.Rows;
        ReadOnlySpan<int> groups = offsets.AsSpan(0, experts + 1);
        Tensor gateUpRows = context.Pool.Rent(new Shape(numRows, 2 * intermediate)); // [routed, 2 intermediate]
        Tensor activation = context.Pool.Rent(new Shape(numRows, intermediate)); // [routed, intermediate]
        Tensor output = context.Pool.Rent(new Shape(numRows, hidden)); // [routed, hidden]
        MultiplyGroups(groups, rows.Data, Index(rows.DataIndex, numRows), gateUp, gateUpRows.Data, context);
        SwiGlu.Forward(context.Workers, numRows, intermediate, gateUpRows.Data, rowWeights.Data, activation.Data);
        MultiplyGroups(groups, activation.Data, [], down, output.Data, context);
        if (context.Tape is { } tape)
        {
            GroupedFeedForwardNode node = tape.Record<GroupedFeedForwardNode>(output, context.Timer.Current);
            (node.Rows, node.RowWeights, node.Offsets, node.GateUp, node.Down) = (rows, rowWeights, offsets, gateUp, down);
            (node.GateUpRows, node.Result) = (gateUpRows, output);
            node.Save(rows);
            node.Save(rowWeights);
            node.Save(gateUpRows);
        }

        return output;
    }

    private static ReadOnlySpan<int> Index(int[]? index, int rows) => index is null ? [] : index.AsSpan(0, rows);

    private sealed class GroupedFeedForwardNode : TapeNode
    {
        public Tensor Rows = null!;
        public Tensor RowWeights = null!;
        public int[] Offsets = [];
        public Parameter GateUp = null!;
        public Parameter Down = null!;
        public Tensor GateUpRows = null!;
        public Tensor Result = null!;

        public override void Backward(ForwardContext context)
        {
            WorkerPool workers = context.Workers;
            (int experts, int hidden, int intermediate) = (Down.Shape[0], Down.Shape[1], Down.Shape[2]);
            int numRows = Rows.Rows;
            ReadOnlySpan<int> groups = Offsets.AsSpan(0, experts + 1);
            ReadOnlySpan<int> dyIndex = Index(Result.GradientIndex, numRows);
            Span<float> dy = Result.Gradient;
            PooledBlock activation = context.Pool.RentBlock((long)numRows * intermediate);
            GroupedMatMul.NN(workers, groups, intermediate, hidden, dy, hidden, dyIndex, Down.Value, activation.Span, intermediate);
            Span<float> dRowWeights = RowWeights.WriteGradient(out _); // the dispatched weights have no other reader
            SwiGlu.Backward(workers, numRows, intermediate, GateUpRows.Data, RowWeights.Data, activation.Span, dRowWeights);
            Span<float> dDown = Down.WriteGradient(out bool accumulateDown);
            GroupedMatMul.TN(workers, groups, hidden, intermediate, dy, hidden, dyIndex, activation.Span, intermediate, [], dDown, accumulateDown);
            activation.Release();
            Span<float> dGateUp = GateUp.WriteGradient(out bool accumulateGateUp);
            GroupedMatMul.TN(workers, groups, 2 * intermediate, hidden, GateUpRows.Data, 2 * intermediate, [], Rows.Data, hidden, Index(Rows.DataIndex, numRows), dGateUp, accumulateGateUp);
            Span<float> dRows = Rows.WriteGradient(out _); // the dispatched rows have no other reader
            GroupedMatMul.NN(workers, groups, hidden, 2 * intermediate, GateUpRows.Data, 2 * intermediate, [], GateUp.Value, dRows, hidden);
        }
    }
}
