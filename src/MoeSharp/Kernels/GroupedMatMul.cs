namespace MoeSharp.Kernels;

/// <summary>Matrix products of row groups, each group with its own weights: the arithmetic of routed experts.</summary>
/// <remarks>
/// Rows of group g are <c>offsets[g]</c> to <c>offsets[g + 1] - 1</c>; a group may be empty. Where a gather index is taken, row r
/// of the operand is row <c>gather[r]</c> of the matrix given, so dispatched rows need not be copied; an empty span means row r itself.
/// Summation order follows <see cref="MatMul"/>: results do not depend on workers, group sizes or neighbours.
/// </remarks>
public static class GroupedMatMul
{
    /// <summary>C[rows, n] = A[rows, k] B_g[n, k]^T for every group; B is stacked [groups, n, k].</summary>
    public static void NT(WorkerPool workers, ReadOnlySpan<int> offsets, int n, int k, ReadOnlySpan<float> a, int lda, ReadOnlySpan<int> gather, ReadOnlySpan<float> b, Span<float> c, int ldc)
    {
        for (int g = 0; g + 1 < offsets.Length; g++)
        {
            for (int r = offsets[g]; r < offsets[g + 1]; r++)
            {
                int row = gather.IsEmpty ? r : gather[r];
                MatMul.NT(workers, 1, n, k, a[(row * lda)..], lda, b[(g * n * k)..], k, c[(r * ldc)..], ldc, false);
            }
        }
    }

    /// <summary>C[rows, n] = A[rows, k] B_g[k, n] for every group; B is stacked [groups, k, n].</summary>
    public static void NN(WorkerPool workers, ReadOnlySpan<int> offsets, int n, int k, ReadOnlySpan<float> a, int lda, ReadOnlySpan<int> gather, ReadOnlySpan<float> b, Span<float> c, int ldc)
    {
        for (int g = 0; g + 1 < offsets.Length; g++)
        {
            for (int r = offsets[g]; r < offsets[g + 1]; r++)
            {
                int row = gather.IsEmpty ? r : gather[r];
                MatMul.NN(workers, 1, n, k, a[(row * lda)..], lda, b[(g * n * k)..], n, c[(r * ldc)..], ldc, false);
            }
        }
    }

    /// <summary>C_g[m, n] = A[rows, m]^T B[rows, n] for every group (+= when <paramref name="accumulate"/>); C is stacked [groups, m, n].</summary>
    /// <remarks>The weight gradients of the experts. An empty group writes zeros, or leaves C as it is when accumulating.</remarks>
    public static void TN(WorkerPool workers, ReadOnlySpan<int> offsets, int m, int n, ReadOnlySpan<float> a, int lda, ReadOnlySpan<int> gatherA, ReadOnlySpan<float> b, int ldb, ReadOnlySpan<int> gatherB, Span<float> c, bool accumulate)
    {
        if (!accumulate)
        {
            c[..((offsets.Length - 1) * m * n)].Clear();
        }

        for (int g = 0; g + 1 < offsets.Length; g++)
        {
            for (int r = offsets[g]; r < offsets[g + 1]; r++)
            {
                int rowA = gatherA.IsEmpty ? r : gatherA[r];
                int rowB = gatherB.IsEmpty ? r : gatherB[r];
                for (int i = 0; i < m; i++)
                {
                    for (int j = 0; j < n; j++)
                    {
                        c[(((g * m) + i) * n) + j] += a[(rowA * lda) + i] * b[(rowB * ldb) + j];
                    }
                }
            }
        }
    }
}
