namespace MoeSharp.Kernels;

/// <summary>Single-precision matrix products of row-major matrices.</summary>
/// <remarks>
/// Every output element is summed over k in one order that depends on k alone, never on m, n, the path taken or the number of
/// workers: a row's result is the same bits whatever rows stand beside it.
/// Inputs and output must not overlap. Legend: m output row, n output column, k summed index.
/// </remarks>
public static class MatMul
{
    /// <summary>C[m, n] = A[m, k] B[k, n], or += when <paramref name="accumulate"/>.</summary>
    public static void NN(WorkerPool workers, int m, int n, int k, ReadOnlySpan<float> a, int lda, ReadOnlySpan<float> b, int ldb, Span<float> c, int ldc, bool accumulate)
    {
        for (int i = 0; i < m; i++)
        {
            for (int j = 0; j < n; j++)
            {
                float sum = 0;
                for (int p = 0; p < k; p++)
                {
                    sum += a[(i * lda) + p] * b[(p * ldb) + j];
                }

                c[(i * ldc) + j] = accumulate ? c[(i * ldc) + j] + sum : sum;
            }
        }
    }

    /// <summary>C[m, n] = A[m, k] B[n, k]^T, or += when <paramref name="accumulate"/>. The form of a linear layer with weights [out, in].</summary>
    public static void NT(WorkerPool workers, int m, int n, int k, ReadOnlySpan<float> a, int lda, ReadOnlySpan<float> b, int ldb, Span<float> c, int ldc, bool accumulate)
    {
        for (int i = 0; i < m; i++)
        {
            for (int j = 0; j < n; j++)
            {
                float sum = 0;
                for (int p = 0; p < k; p++)
                {
                    sum += a[(i * lda) + p] * b[(j * ldb) + p];
                }

                c[(i * ldc) + j] = accumulate ? c[(i * ldc) + j] + sum : sum;
            }
        }
    }

    /// <summary>C[m, n] = A[k, m]^T B[k, n], or += when <paramref name="accumulate"/>. The form of a weight gradient.</summary>
    public static void TN(WorkerPool workers, int m, int n, int k, ReadOnlySpan<float> a, int lda, ReadOnlySpan<float> b, int ldb, Span<float> c, int ldc, bool accumulate)
    {
        for (int i = 0; i < m; i++)
        {
            for (int j = 0; j < n; j++)
            {
                float sum = 0;
                for (int p = 0; p < k; p++)
                {
                    sum += a[(p * lda) + i] * b[(p * ldb) + j];
                }

                c[(i * ldc) + j] = accumulate ? c[(i * ldc) + j] + sum : sum;
            }
        }
    }
}
