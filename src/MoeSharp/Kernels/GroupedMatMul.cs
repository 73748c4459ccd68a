namespace MoeSharp.Kernels;

/// <summary>Matrix products of row groups, each group with its own weights: the arithmetic of routed experts.</summary>
/// <remarks>
/// Rows of group g are <c>offsets[g]</c> to <c>offsets[g + 1] - 1</c>; a group may be empty. Where a gather index is taken, row r
/// of the operand is row <c>gather[r]</c> of the matrix given, so dispatched rows need not be copied; an empty span means row r itself.
/// Summation order follows <see cref="MatMul"/>: results do not depend on workers, group sizes or neighbours, and equal bit for
/// bit those of one <see cref="MatMul"/> call per group.
/// </remarks>
public static unsafe class GroupedMatMul
{
    /// <summary>C[rows, n] = A[rows, k] B_g[n, k]^T for every group; B is stacked [groups, n, k].</summary>
    /// <exception cref="ShapeException">A span or a stride is too small, or offsets or gather indices leave their matrix.</exception>
    public static void NT(WorkerPool workers, ReadOnlySpan<int> offsets, int n, int k, ReadOnlySpan<float> a, int lda, ReadOnlySpan<int> gather, ReadOnlySpan<float> b, Span<float> c, int ldc) =>
        RunRows("GroupedMatMul.NT", workers, offsets, n, k, a, lda, gather, b, false, c, ldc);

    /// <summary>C[rows, n] = A[rows, k] B_g[k, n] for every group; B is stacked [groups, k, n].</summary>
    /// <exception cref="ShapeException">A span or a stride is too small, or offsets or gather indices leave their matrix.</exception>
    public static void NN(WorkerPool workers, ReadOnlySpan<int> offsets, int n, int k, ReadOnlySpan<float> a, int lda, ReadOnlySpan<int> gather, ReadOnlySpan<float> b, Span<float> c, int ldc) =>
        RunRows("GroupedMatMul.NN", workers, offsets, n, k, a, lda, gather, b, true, c, ldc);

    /// <summary>C_g[m, n] = A[rows, m]^T B[rows, n] for every group (+= when <paramref name="accumulate"/>); C is stacked [groups, m, n].</summary>
    /// <remarks>The weight gradients of the experts. An empty group writes zeros, or leaves C as it is when accumulating.</remarks>
    /// <exception cref="ShapeException">A span or a stride is too small, or offsets or gather indices leave their matrix.</exception>
    public static void TN(WorkerPool workers, ReadOnlySpan<int> offsets, int m, int n, ReadOnlySpan<float> a, int lda, ReadOnlySpan<int> gatherA, ReadOnlySpan<float> b, int ldb, ReadOnlySpan<int> gatherB, Span<float> c, bool accumulate)
    {
        const string Operation = "GroupedMatMul.TN";
        int groups = CheckOffsets(Operation, offsets);
        CheckRows(Operation, "a", a.Length, offsets, m, lda, gatherA);
        CheckRows(Operation, "b", b.Length, offsets, n, ldb, gatherB);
        CheckStack(Operation, "c", c.Length, groups, m, n);
        fixed (float* pa = a, pb = b, pc = c)
        fixed (int* rowsA = gatherA, rowsB = gatherB)
        {
            MatMulProduct product = new()
            {
                A = new MatMulOperand { Values = pa, Stride = lda, Gather = rowsA, IsDepthMajor = true },
                B = new MatMulOperand { Values = pb, Stride = ldb, Gather = rowsB, IsDepthMajor = true },
                C = pc,
                StrideC = n,
                Accumulate = accumulate,
            };
            MatMulSchedule schedule = new(workers, groups == 0 ? 0 : (long)(offsets[^1] - offsets[0]) * m * n);
            for (int g = 0; g < groups; g++)
            {
                schedule.Add(0, m, n, offsets[g], offsets[g + 1], 0, (long)g * m * n);
            }

            schedule.Run(product);
        }
    }

    private static void RunRows(string operation, WorkerPool workers, ReadOnlySpan<int> offsets, int n, int k, ReadOnlySpan<float> a, int lda, ReadOnlySpan<int> gather, ReadOnlySpan<float> b, bool isDepthMajorB, Span<float> c, int ldc)
    {
        int groups = CheckOffsets(operation, offsets);
        CheckRows(operation, "a", a.Length, offsets, k, lda, gather);
        CheckStack(operation, "b", b.Length, groups, n, k);
        CheckRows(operation, "c", c.Length, offsets, n, ldc, default);
        fixed (float* pa = a, pb = b, pc = c)
        fixed (int* rows = gather)
        {
            MatMulProduct product = new()
            {
                A = new MatMulOperand { Values = pa, Stride = lda, Gather = rows, IsDepthMajor = false },
                B = new MatMulOperand { Values = pb, Stride = isDepthMajorB ? n : k, IsDepthMajor = isDepthMajorB },
                C = pc,
                StrideC = ldc,
            };
            MatMulSchedule schedule = new(workers, groups == 0 ? 0 : (long)(offsets[^1] - offsets[0]) * n * k);
            for (int g = 0; g < groups; g++)
            {
                schedule.Add(offsets[g], offsets[g + 1], n, 0, k, (long)g * n * k, 0);
            }

            schedule.Run(product);
        }
    }

    /// <summary>Throws unless the offsets ascend; returns the number of groups.</summary>
    internal static int CheckOffsets(string operation, ReadOnlySpan<int> offsets)
    {
        for (int g = 0; g < offsets.Length; g++)
        {
            if (offsets[g] < (g == 0 ? 0 : offsets[g - 1]))
            {
                ShapeException.Throw(operation, "offsets", "ascending rows from 0", $"{offsets[g]} at {g}");
            }
        }

        return Math.Max(offsets.Length - 1, 0);
    }

    /// <summary>Throws unless the matrix holds every row that the offsets and the gather name; returns how many rows that takes.</summary>
    internal static int CheckRows(string operation, string argument, int length, ReadOnlySpan<int> offsets, int columns, int stride, ReadOnlySpan<int> gather)
    {
        int begin = offsets.Length < 2 ? 0 : offsets[0];
        int end = offsets.Length < 2 ? 0 : offsets[^1];
        if (gather.IsEmpty)
        {
            MatMul.Check(operation, argument, length, end, columns, stride);
            return end;
        }

        if (gather.Length < end)
        {
            ShapeException.Throw(operation, $"gather of {argument}", $"[{end}]", $"[{gather.Length}]");
        }

        int lowest = 0;
        int highest = -1;
        foreach (int row in gather[begin..end])
        {
            lowest = Math.Min(lowest, row);
            highest = Math.Max(highest, row);
        }

        if (lowest < 0)
        {
            ShapeException.Throw(operation, $"gather of {argument}", "rows from 0", $"{lowest}");
        }

        MatMul.Check(operation, argument, length, highest + 1, columns, stride);
        return highest + 1;
    }

    private static void CheckStack(string operation, string argument, int length, int groups, int rows, int columns)
    {
        if (rows < 0 || columns < 0 || length < (long)groups * rows * columns)
        {
            ShapeException.Throw(operation, argument, $"[{groups}, {rows}, {columns}]", $"{length} floats");
        }
    }
}
