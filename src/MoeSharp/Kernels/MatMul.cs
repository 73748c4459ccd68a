namespace MoeSharp.Kernels;

/// <summary>Single-precision matrix products of row-major matrices.</summary>
/// <remarks>
/// Every output element is summed over k in one order that depends on k alone, never on m, n, the path taken or the number of
/// workers: a row's result is the same bits whatever rows stand beside it, and the same in all three forms.
/// k is cut into equal blocks of at most 512; within a block one accumulator takes the products in ascending order, then the
/// blocks are added in ascending order (with <c>accumulate</c>: to what C holds).
/// Inputs and output must not overlap. Legend: m output row, n output column, k summed index.
/// </remarks>
public static unsafe class MatMul
{
    /// <summary>C[m, n] = A[m, k] B[k, n], or += when <paramref name="accumulate"/>.</summary>
    /// <exception cref="ShapeException">A span or a stride is too small.</exception>
    public static void NN(WorkerPool workers, int m, int n, int k, ReadOnlySpan<float> a, int lda, ReadOnlySpan<float> b, int ldb, Span<float> c, int ldc, bool accumulate)
    {
        Check("MatMul.NN", "a", a.Length, m, k, lda);
        Check("MatMul.NN", "b", b.Length, k, n, ldb);
        Check("MatMul.NN", "c", c.Length, m, n, ldc);
        Run(workers, m, n, k, a, lda, false, b, ldb, true, c, ldc, accumulate);
    }

    /// <summary>C[m, n] = A[m, k] B[n, k]^T, or += when <paramref name="accumulate"/>. The form of a linear layer with weights [out, in].</summary>
    /// <exception cref="ShapeException">A span or a stride is too small.</exception>
    public static void NT(WorkerPool workers, int m, int n, int k, ReadOnlySpan<float> a, int lda, ReadOnlySpan<float> b, int ldb, Span<float> c, int ldc, bool accumulate)
    {
        Check("MatMul.NT", "a", a.Length, m, k, lda);
        Check("MatMul.NT", "b", b.Length, n, k, ldb);
        Check("MatMul.NT", "c", c.Length, m, n, ldc);
        Run(workers, m, n, k, a, lda, false, b, ldb, false, c, ldc, accumulate);
    }

    /// <summary>C[m, n] = A[k, m]^T B[k, n], or += when <paramref name="accumulate"/>. The form of a weight gradient.</summary>
    /// <exception cref="ShapeException">A span or a stride is too small.</exception>
    public static void TN(WorkerPool workers, int m, int n, int k, ReadOnlySpan<float> a, int lda, ReadOnlySpan<float> b, int ldb, Span<float> c, int ldc, bool accumulate)
    {
        Check("MatMul.TN", "a", a.Length, k, m, lda);
        Check("MatMul.TN", "b", b.Length, k, n, ldb);
        Check("MatMul.TN", "c", c.Length, m, n, ldc);
        Run(workers, m, n, k, a, lda, true, b, ldb, true, c, ldc, accumulate);
    }

    /// <summary>Throws unless a span of <paramref name="length"/> holds a matrix of that shape.</summary>
    internal static void Check(string operation, string argument, int length, int rows, int columns, int stride)
    {
        long needed = rows <= 0 || columns <= 0 ? 0 : ((long)(rows - 1) * stride) + columns;
        if (rows < 0 || columns < 0 || stride < columns || length < needed)
        {
            ShapeException.Throw(operation, argument, $"[{rows}, {columns}] with stride {stride} ({needed} floats)", $"{length} floats");
        }
    }

    private static void Run(WorkerPool workers, int m, int n, int k, ReadOnlySpan<float> a, int lda, bool isDepthMajorA, ReadOnlySpan<float> b, int ldb, bool isDepthMajorB, Span<float> c, int ldc, bool accumulate)
    {
        fixed (float* pa = a, pb = b, pc = c)
        {
            MatMulProduct product = new()
            {
                A = new MatMulOperand { Values = pa, Stride = lda, IsDepthMajor = isDepthMajorA },
                B = new MatMulOperand { Values = pb, Stride = ldb, IsDepthMajor = isDepthMajorB },
                C = pc,
                StrideC = ldc,
                Accumulate = accumulate,
            };
            MatMulSchedule schedule = new(workers, (long)m * n * k);
            schedule.Add(0, m, n, 0, k, 0, 0);
            schedule.Run(product);
        }
    }
}
