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
    // Floats of one worker's second-level cache that the rows of the experts in work may take: 512 KiB of 1 MiB.
    private const int CachedRowFloats = 128 * 1024;

    /// <summary>A gated feed-forward per expert over its own rows, each row multiplied by its routing weight.</summary>
    /// <remarks>
    /// The weight is applied to the activation: w (a Wd^T) = (w a) Wd^T, so the weight's gradient needs no expert output to be kept.
    /// Keeps the rows (by index) and their gate and up values for the backward; the activation is computed again there.
    /// Small experts go through all of it a few at a time, so that their rows are in cache for the next product.
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
        Tensor gateUpRows = context.Pool.Rent(new Shape(numRows, 2 * intermediate)); // [routed, 2 intermediate]
        Tensor output = context.Pool.Rent(new Shape(numRows, hidden)); // [routed, hidden]
        int mostRows = RowsAtOnce(offsets, weights, context);
        PooledBlock activation = context.Pool.RentBlock((long)LargestPart(offsets, experts, mostRows) * intermediate);
        for (ExpertPart part = ExpertPart.After(0, offsets, experts, mostRows); part.Count > 0; part = ExpertPart.After(part.End, offsets, experts, mostRows))
        {
            Forward(part, rows, rowWeights, offsets, weights, gateUpRows, activation.Span, output, context);
        }

        activation.Release();
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

    private static void Forward(
        ExpertPart part, Tensor rows, Tensor rowWeights, ReadOnlySpan<int> offsets, in ExpertWeights weights, Tensor gateUpRows, Span<float> activation, Tensor output, ForwardContext context)
    {
        (int hidden, int intermediate) = (weights.Down.Shape[1], weights.Down.Shape[2]);
        ReadOnlySpan<int> groups = part.Offsets(offsets, context);
        ReadOnlySpan<int> index = part.Rows(rows.DataIndex);
        Span<float> gateUpPart = part.Rows(gateUpRows.Data, 2 * intermediate);
        Span<float> outputPart = part.Rows(output.Data, hidden);
        ReadOnlySpan<float> weightPart = part.Rows(rowWeights.Data, 1);
        MultiplyGroups(groups, rows.DataIndex is null ? part.Rows(rows.Data, hidden) : rows.Data, index, weights.GateUp, part.First, gateUpPart, context);
        if (weights.GateUpBias is { } gateUpBias)
        {
            GroupedBias.Add(context.Workers, groups, 2 * intermediate, part.Experts(gateUpBias.Value, 2 * intermediate), [], gateUpPart);
        }

        GatedUnit.Forward(context.Workers, weights.Activation, part.NumRows, intermediate, gateUpPart, weightPart, activation);
        MultiplyGroups(groups, activation, [], weights.Down, part.First, outputPart, context);
        if (weights.DownBias is { } downBias)
        {
            GroupedBias.Add(context.Workers, groups, hidden, part.Experts(downBias.Value, hidden), weightPart, outputPart);
        }
    }

    // So many rows of gate, up, activation, input and output fit into the cache. Where that is less than an expert has, or where the weights are packed, all experts go at once.
    private static int RowsAtOnce(ReadOnlySpan<int> offsets, in ExpertWeights weights, ForwardContext context)
    {
        (int experts, int hidden, int intermediate) = (weights.Down.Shape[0], weights.Down.Shape[1], weights.Down.Shape[2]);
        long fitting = (long)CachedRowFloats * context.Workers.Workers / ((3L * intermediate) + (2L * hidden));
        return weights.GateUp.Packed is null && fitting * experts >= offsets[experts] ? (int)Math.Min(fitting, int.MaxValue) : int.MaxValue;
    }

    private static int LargestPart(ReadOnlySpan<int> offsets, int experts, int mostRows)
    {
        int largest = 0;
        for (ExpertPart part = ExpertPart.After(0, offsets, experts, mostRows); part.Count > 0; part = ExpertPart.After(part.End, offsets, experts, mostRows))
        {
            largest = Math.Max(largest, part.NumRows);
        }

        return largest;
    }

    private static ReadOnlySpan<int> Index(int[]? index, int rows) => index is null ? [] : index.AsSpan(0, rows);

    // Consecutive experts with their rows.
    private readonly record struct ExpertPart(int First, int End, int FirstRow, int EndRow)
    {
        public int Count => End - First;

        public int NumRows => EndRow - FirstRow;

        // As many experts as have no more rows than that together, at least one; none when there are none left.
        public static ExpertPart After(int first, ReadOnlySpan<int> offsets, int experts, int mostRows)
        {
            int end = Math.Min(first + 1, experts);
            while (end < experts && offsets[end + 1] - offsets[first] <= mostRows)
            {
                end++;
            }

            return new ExpertPart(first, end, offsets[first], offsets[end]);
        }

        // First row of each expert, counted from the part's own first.
        public ReadOnlySpan<int> Offsets(ReadOnlySpan<int> offsets, ForwardContext context)
        {
            Span<int> own = context.Indices.Rent(Count + 1).AsSpan(0, Count + 1);
            for (int expert = 0; expert < own.Length; expert++)
            {
                own[expert] = offsets[First + expert] - FirstRow;
            }

            return own;
        }

        public ReadOnlySpan<int> Rows(int[]? index) => index is null ? [] : index.AsSpan(FirstRow, NumRows);

        public Span<float> Rows(Span<float> values, int columns) => values[(FirstRow * columns)..(EndRow * columns)];

        public Span<float> Experts(Span<float> values, int size) => values[(First * size)..(End * size)];
    }

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
            int experts = Weights.Down.Shape[0];
            int mostRows = RowsAtOnce(Offsets, Weights, context);
            PooledBlock activation = context.Pool.RentBlock((long)LargestPart(Offsets, experts, mostRows) * Weights.Down.Shape[2]);
            ExpertGradients gradients = new()
            {
                RowWeights = RowWeights.WriteGradient(out _), // the dispatched weights have no other reader
                Rows = Rows.WriteGradient(out _), // nor have the dispatched rows
                Down = Weights.Down.WriteGradient(out bool accumulateDown),
                GateUp = Weights.GateUp.WriteGradient(out bool accumulateGateUp),
                DownBias = Weights.DownBias is { } downBias ? downBias.AddToGradient() : [],
                GateUpBias = Weights.GateUpBias is { } gateUpBias ? gateUpBias.AddToGradient() : [],
                AccumulatesDown = accumulateDown,
                AccumulatesGateUp = accumulateGateUp,
            };
            for (ExpertPart part = ExpertPart.After(0, Offsets, experts, mostRows); part.Count > 0; part = ExpertPart.After(part.End, Offsets, experts, mostRows))
            {
                Backward(part, activation.Span, gradients, context);
            }

            activation.Release();
        }

        private void Backward(ExpertPart part, Span<float> activation, in ExpertGradients gradients, ForwardContext context)
        {
            WorkerPool workers = context.Workers;
            (int hidden, int intermediate) = (Weights.Down.Shape[1], Weights.Down.Shape[2]);
            int weightFloats = hidden * intermediate; // of an expert's down projection
            ReadOnlySpan<int> groups = part.Offsets(Offsets, context);
            ReadOnlySpan<int> dyIndex = part.Rows(Result.GradientIndex);
            Span<float> dy = Result.GradientIndex is null ? part.Rows(Result.Gradient, hidden) : Result.Gradient;
            ReadOnlySpan<int> xIndex = part.Rows(Rows.DataIndex);
            Span<float> x = Rows.DataIndex is null ? part.Rows(Rows.Data, hidden) : Rows.Data;
            Span<float> gateUpRows = part.Rows(GateUpRows.Data, 2 * intermediate);
            Span<float> rowWeights = part.Rows(RowWeights.Data, 1);
            Span<float> dRowWeights = part.Rows(gradients.RowWeights, 1);
            GroupedMatMul.NN(workers, groups, intermediate, hidden, dy, hidden, dyIndex, part.Experts(Weights.Down.Value, weightFloats), activation, intermediate);
            GatedUnit.Backward(workers, Weights.Activation, part.NumRows, intermediate, gateUpRows, rowWeights, activation, dRowWeights);
            GroupedMatMul.TN(workers, groups, hidden, intermediate, dy, hidden, dyIndex, activation, intermediate, [], part.Experts(gradients.Down, weightFloats), gradients.AccumulatesDown);
            if (Weights.DownBias is { } downBias)
            {
                GroupedBias.Backward(workers, groups, hidden, dy, dyIndex, part.Experts(downBias.Value, hidden), rowWeights, part.Experts(gradients.DownBias, hidden), dRowWeights);
            }

            if (Weights.GateUpBias is not null)
            {
                GroupedBias.Backward(workers, groups, 2 * intermediate, gateUpRows, [], [], [], part.Experts(gradients.GateUpBias, 2 * intermediate), []);
            }

            GroupedMatMul.TN(workers, groups, 2 * intermediate, hidden, gateUpRows, 2 * intermediate, [], x, hidden, xIndex, part.Experts(gradients.GateUp, 2 * weightFloats), gradients.AccumulatesGateUp);
            GroupedMatMul.NN(workers, groups, hidden, 2 * intermediate, gateUpRows, 2 * intermediate, [], part.Experts(Weights.GateUp.Value, 2 * weightFloats), part.Rows(gradients.Rows, hidden), hidden);
        }

        // Where the gradients of all experts go.
        private ref struct ExpertGradients
        {
            public Span<float> RowWeights;
            public Span<float> Rows;
            public Span<float> Down;
            public Span<float> GateUp;
            public Span<float> DownBias;
            public Span<float> GateUpBias;
            public bool AccumulatesDown;
            public bool AccumulatesGateUp;
        }
    }
}
