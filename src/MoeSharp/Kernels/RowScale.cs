using System.Runtime.CompilerServices;

namespace MoeSharp.Kernels;

/// <summary>Rows multiplied by one factor each. Legend: r row, h column.</summary>
public static unsafe class RowScale
{
    /// <summary>y[r] = factors[r] * x[r].</summary>
    public static void Forward(WorkerPool workers, int rows, int cols, ReadOnlySpan<float> x, ReadOnlySpan<float> factors, Span<float> y)
    {
        const string Operation = "RowScale.Forward";
        Require.Length(x.Length, (long)rows * cols, Operation, nameof(x));
        Require.Length(factors.Length, rows, Operation, nameof(factors));
        Require.Length(y.Length, (long)rows * cols, Operation, nameof(y));
        fixed (float* xs = x, scales = factors, ys = y)
        {
            LaneRows.For(workers, rows, cols, new ForwardJob { Cols = cols, X = xs, Factors = scales, Y = ys });
        }
    }

    /// <summary>dFactors[r] = dy[r] . x[r].</summary>
    public static void FactorGradient(WorkerPool workers, int rows, int cols, ReadOnlySpan<float> dy, ReadOnlySpan<float> x, Span<float> dFactors)
    {
        const string Operation = "RowScale.FactorGradient";
        Require.Length(dy.Length, (long)rows * cols, Operation, nameof(dy));
        Require.Length(x.Length, (long)rows * cols, Operation, nameof(x));
        Require.Length(dFactors.Length, rows, Operation, nameof(dFactors));
        fixed (float* dys = dy, xs = x, dFactor = dFactors)
        {
            LaneRows.For(workers, rows, cols, new DotJob { Cols = cols, Dy = dys, X = xs, DFactors = dFactor });
        }
    }

    private struct ForwardJob : ILaneRows
    {
        public int Cols;
        public float* X;
        public float* Factors;
        public float* Y;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public readonly void Run<L, V>(int begin, int end)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            for (int r = begin; r < end; r++)
            {
                float* x = X + ((long)r * Cols);
                float* y = Y + ((long)r * Cols);
                V factor = L.Broadcast(Factors[r]);
                int h = 0;
                for (; h <= Cols - L.Count; h += L.Count)
                {
                    L.Store(y + h, L.Multiply(factor, L.Load(x + h)));
                }

                if (h < Cols)
                {
                    L.StoreFirst(y + h, L.Multiply(factor, L.LoadFirst(x + h, Cols - h)), Cols - h);
                }
            }
        }
    }

    private struct DotJob : ILaneRows
    {
        public int Cols;
        public float* Dy;
        public float* X;
        public float* DFactors;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public readonly void Run<L, V>(int begin, int end)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            for (int r = begin; r < end; r++)
            {
                float* dy = Dy + ((long)r * Cols);
                float* x = X + ((long)r * Cols);
                V sum = L.Zero;
                for (int h = 0; h < Cols; h += L.Count)
                {
                    int n = Cols - h;
                    sum = n >= L.Count
                        ? L.MultiplyAdd(L.Load(dy + h), L.Load(x + h), sum)
                        : L.MultiplyAdd(L.LoadFirst(dy + h, n), L.LoadFirst(x + h, n), sum);
                }

                DFactors[r] = L.Sum(sum);
            }
        }
    }
}
