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
                LaneLoop.Scaled map = new() { X = X + ((long)r * Cols), Factor = Factors[r], Y = Y + ((long)r * Cols) };
                LaneLoop.Map<L, V, LaneLoop.Scaled>(0, Cols, map);
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
                DFactors[r] = LaneLoop.Dot<L, V>(Dy + ((long)r * Cols), X + ((long)r * Cols), Cols);
            }
        }
    }
}
