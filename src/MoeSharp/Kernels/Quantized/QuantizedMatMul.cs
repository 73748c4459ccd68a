using System.Buffers;

namespace MoeSharp.Kernels.Quantized;

/// <summary>Products of float32 rows with packed weights: y = x W^T.</summary>
/// <remarks>
/// An output element depends on its activation row and its weight row alone: one row or many, alone or grouped, one worker or several
/// give the same bits. With <see cref="ActivationPrecision.Int8"/> a row is rounded once per call; every unit of 32 columns then adds
/// (weight scale * activation scale) * (integer sum of products) to one accumulator, in ascending order, with one rounding.
/// With <see cref="ActivationPrecision.Float32"/> the bits are those of <see cref="MatMul"/> with the decoded weights.
/// Inputs and outputs must not overlap; outputs are overwritten.
/// </remarks>
public static unsafe class QuantizedMatMul
{
    /// <summary>y[m, rows] = x[m, columns] W_group^T.</summary>
    /// <exception cref="ShapeException">A span or a stride is too small, or there is no such group.</exception>
    public static void NT(WorkerPool workers, int m, ReadOnlySpan<float> x, int ldx, PackedMatrix w, int group, Span<float> y, int ldy, ActivationPrecision precision) =>
        NT(workers, m, x, ldx, w, group, y, ldy, precision, UnitInstruction.Best);

    /// <summary>The same in given instructions, which this machine must have.</summary>
    internal static void NT(WorkerPool workers, int m, ReadOnlySpan<float> x, int ldx, PackedMatrix w, int group, Span<float> y, int ldy, ActivationPrecision precision, UnitInstructions instructions)
    {
        const string Operation = "QuantizedMatMul.NT";
        MatMul.Check(Operation, nameof(x), x.Length, m, w.Columns, ldx);
        MatMul.Check(Operation, nameof(y), y.Length, m, w.Rows, ldy);
        if ((uint)group >= (uint)w.Groups)
        {
            ShapeException.Throw(Operation, nameof(group), $"0 to {w.Groups - 1}", $"{group}");
        }

        RowSegment segment = new(group, 0, m, 0, 0, 0, 0);
        fixed (float* px = x, py = y)
        {
            PackedProduct product = new() { Weights = w, X = px, StrideX = ldx, NumStored = m, StoredStep = 1, Y = py, StrideY = ldy, Precision = precision, Instructions = instructions };
            product.Run(workers, &segment, 1);
        }
    }

    /// <summary>y[r] = x[gather[r]] W_g^T for the rows <c>offsets[g]</c> to <c>offsets[g + 1] - 1</c> of every group; an empty <paramref name="gather"/> means row r itself.</summary>
    /// <remarks>A row of x that several groups take is rounded once.</remarks>
    /// <exception cref="ShapeException">A span or a stride is too small, or offsets or gather indices leave their matrix.</exception>
    public static void GroupedNT(WorkerPool workers, ReadOnlySpan<int> offsets, ReadOnlySpan<float> x, int ldx, ReadOnlySpan<int> gather, PackedMatrix w, Span<float> y, int ldy, ActivationPrecision precision)
    {
        const string Operation = "QuantizedMatMul.GroupedNT";
        int groups = GroupedMatMul.CheckOffsets(Operation, offsets);
        int numStored = GroupedMatMul.CheckRows(Operation, nameof(x), x.Length, offsets, w.Columns, ldx, gather);
        GroupedMatMul.CheckRows(Operation, nameof(y), y.Length, offsets, w.Rows, ldy, default);
        if (groups > w.Groups)
        {
            ShapeException.Throw(Operation, nameof(offsets), $"at most {w.Groups} groups", $"{groups}");
        }

        RowSegment[] segments = ArrayPool<RowSegment>.Shared.Rent(Math.Max(groups, 1));
        int count = 0;
        for (int g = 0; g < groups; g++)
        {
            if (offsets[g + 1] > offsets[g])
            {
                segments[count++] = new RowSegment(g, offsets[g], offsets[g + 1], 0, 0, 0, 0);
            }
        }

        fixed (float* px = x, py = y)
        fixed (int* rows = gather)
        fixed (RowSegment* first = segments)
        {
            PackedProduct product = new() { Weights = w, X = px, StrideX = ldx, Gather = rows, NumStored = numStored, StoredStep = 1, Y = py, StrideY = ldy, Precision = precision, Instructions = UnitInstruction.Best };
            product.Run(workers, first, count);
        }

        ArrayPool<RowSegment>.Shared.Return(segments);
    }

    /// <summary>Every group for every row: y[r, g * yGroupStep ...] = x[r, g * xGroupStep ...] W_g^T. A step of 0 in x gives all groups the same columns.</summary>
    /// <exception cref="ShapeException">A span, a stride or a step is too small.</exception>
    public static void BatchedNT(WorkerPool workers, int m, ReadOnlySpan<float> x, int ldx, int xGroupStep, PackedMatrix w, Span<float> y, int ldy, int yGroupStep, ActivationPrecision precision)
    {
        const string Operation = "QuantizedMatMul.BatchedNT";
        if (xGroupStep < 0 || (yGroupStep < w.Rows && w.Groups > 1))
        {
            ShapeException.Throw(Operation, nameof(yGroupStep), $"steps from 0 in x and {w.Rows} in y", $"{xGroupStep} and {yGroupStep}");
        }

        MatMul.Check(Operation, nameof(x), x.Length, m, checked(((w.Groups - 1) * xGroupStep) + w.Columns), ldx);
        MatMul.Check(Operation, nameof(y), y.Length, m, checked(((w.Groups - 1) * yGroupStep) + w.Rows), ldy);
        int columnsPerRow = xGroupStep == 0 ? 1 : w.Groups; // stretches of a row of x that are rounded for themselves
        RowSegment[] segments = ArrayPool<RowSegment>.Shared.Rent(w.Groups);
        for (int g = 0; g < w.Groups; g++)
        {
            segments[g] = new RowSegment(g, 0, m, (nint)g * xGroupStep, (nint)g * yGroupStep, xGroupStep == 0 ? 0 : g, 0);
        }

        fixed (float* px = x, py = y)
        fixed (RowSegment* first = segments)
        {
            PackedProduct product = new() { Weights = w, X = px, StrideX = ldx, NumStored = m, StoredStep = columnsPerRow, StretchStep = xGroupStep, Y = py, StrideY = ldy, Precision = precision, Instructions = UnitInstruction.Best };
            product.Run(workers, first, m == 0 ? 0 : w.Groups);
        }

        ArrayPool<RowSegment>.Shared.Return(segments);
    }
}
