using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

/// <summary>The weights of all experts of a layer and the function between them.</summary>
/// <param name="GateUp">[experts, 2 intermediate, hidden]: gate rows, then up rows.</param>
/// <param name="GateUpBias">[experts * 2 intermediate], or null.</param>
/// <param name="Down">[experts, hidden, intermediate].</param>
/// <param name="DownBias">[experts * hidden], or null.</param>
/// <param name="Activation">Function of gate and up.</param>
public readonly record struct ExpertWeights(Parameter GateUp, Parameter? GateUpBias, Parameter Down, Parameter? DownBias, GatedActivation Activation);

public static partial class Op
{
    /// <summary>A gated feed-forward per expert over its own rows, each row multiplied by its routing weight.</summary>
    /// <remarks>
    /// The weight is applied to the activation: w (a Wd^T) = (w a) Wd^T, so the weight's gradient needs no expert output to be kept.
    /// Keeps the rows (by index) and their gate and up values for the backward; the activation is computed again there.
    /// </remarks>
    /// <param name="rows">[routed, hidden], grouped by expert.</param>
    /// <param name="rowWeights">Routing weight of each row, [routed].</param>
    /// <param name="offsets">First row of each expert, [experts + 1]; must stay unchanged until the pass ends.</param>
    /// <param name="weights">The experts.</param>
    /// <param name="context">Context.</param>
    /// <returns>[routed, hidden].</returns>
    public static Tensor GroupedFeedForward(Tensor rows, Tensor rowWeights, int[] offsets, in ExpertWeights weights, ForwardContext context)
    {
        context.ThrowIfGivenUp();
        (Parameter gateUp, Parameter down) = (weights.GateUp, weights.Down);
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
        if (weights.GateUpBias is { } gateUpBias)
        {
            GroupedBias.Add(context.Workers, groups, 2 * intermediate, gateUpBias.Value, [], gateUpRows.Data);
        }

        GatedUnit.Forward(context.Workers, weights.Activation, numRows, intermediate, gateUpRows.Data, rowWeights.Data, activation.Data);
        MultiplyGroups(groups, activation.Data, [], down, output.Data, context);
        if (weights.DownBias is { } downBias)
        {
            GroupedBias.Add(context.Workers, groups, hidden, downBias.Value, rowWeights.Data, output.Data);
        }

        if (context.Tape is { } tape)
        {
            GroupedFeedForwardNode node = tape.Record<GroupedFeedForwardNode>(output, context.Timer.Current);
            (node.Rows, node.RowWeights, node.Offsets, node.Weights) = (rows, rowWeights, offsets, weights);
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
        public ExpertWeights Weights;
        public Tensor GateUpRows = null!;
        public Tensor Result = null!;

        public override void Backward(ForwardContext context)
        {
            WorkerPool workers = context.Workers;
            (Parameter gateUp, Parameter down) = (Weights.GateUp, Weights.Down);
            (int experts, int hidden, int intermediate) = (down.Shape[0], down.Shape[1], down.Shape[2]);
            int numRows = Rows.Rows;
            ReadOnlySpan<int> groups = Offsets.AsSpan(0, experts + 1);
            ReadOnlySpan<int> dyIndex = Index(Result.GradientIndex, numRows);
            Span<float> dy = Result.Gradient;
            PooledBlock activation = context.Pool.RentBlock((long)numRows * intermediate);
            GroupedMatMul.NN(workers, groups, intermediate, hidden, dy, hidden, dyIndex, down.Value, activation.Span, intermediate);
            Span<float> dRowWeights = RowWeights.WriteGradient(out _); // the dispatched weights have no other reader
            GatedUnit.Backward(workers, Weights.Activation, numRows, intermediate, GateUpRows.Data, RowWeights.Data, activation.Span, dRowWeights);
            Span<float> dDown = down.WriteGradient(out bool accumulateDown);
            GroupedMatMul.TN(workers, groups, hidden, intermediate, dy, hidden, dyIndex, activation.Span, intermediate, [], dDown, accumulateDown);
            activation.Release();
            if (Weights.DownBias is { } downBias)
            {
                GroupedBias.Backward(workers, groups, hidden, dy, dyIndex, downBias.Value, RowWeights.Data, downBias.AddToGradient(), dRowWeights);
            }

            if (Weights.GateUpBias is { } gateUpBias)
            {
                GroupedBias.Backward(workers, groups, 2 * intermediate, GateUpRows.Data, [], [], [], gateUpBias.AddToGradient(), []);
            }

            Span<float> dGateUp = gateUp.WriteGradient(out bool accumulateGateUp);
            GroupedMatMul.TN(workers, groups, 2 * intermediate, hidden, GateUpRows.Data, 2 * intermediate, [], Rows.Data, hidden, Index(Rows.DataIndex, numRows), dGateUp, accumulateGateUp);
            Span<float> dRows = Rows.WriteGradient(out _); // the dispatched rows have no other reader
            GroupedMatMul.NN(workers, groups, hidden, 2 * intermediate, GateUpRows.Data, 2 * intermediate, [], gateUp.Value, dRows, hidden);
        }
    }
}
