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
    public static void FactorGradient(WorkerPool workers, int rows, int cols, ReadOnlySpan<float> dy, ReadOnlySpan<float> x, Span<float> dFactors) =>
        Dots(workers, new RowSample(rows, 0, 1), cols, dy, x, dFactors);

    /// <summary>dots[i] = left[r] . right[r] of the i-th row r of a sample.</summary>
    /// <param name="workers">Workers.</param>
    /// <param name="sample">Which rows.</param>
    /// <param name="cols">Values of a row.</param>
    /// <param name="left">Rows, [rows, cols].</param>
    /// <param name="right">Rows, [rows, cols].</param>
    /// <param name="dots">= the products, as many as the sample has rows.</param>
    public static void Dots(WorkerPool workers, in RowSample sample, int cols, ReadOnlySpan<float> left, ReadOnlySpan<float> right, Span<float> dots)
    {
        const string Operation = "RowScale.Dots";
        Require.Length(left.Length, (long)sample.Rows * cols, Operation, nameof(left));
        Require.Length(right.Length, (long)sample.Rows * cols, Operation, nameof(right));
        Require.Length(dots.Length, sample.Count, Operation, nameof(dots));
        fixed (float* lefts = left, rights = right, products = dots)
        {
            long first = (long)sample.First * cols;
            LaneRows.For(workers, sample.Count, cols, new DotJob { Cols = cols, Step = (long)sample.Stride * cols, Left = lefts + first, Right = rights + first, Dots = products });
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
        public long Step;
        public float* Left;
        public float* Right;
        public float* Dots;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public readonly void Run<L, V>(int begin, int end)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            for (int r = begin; r < end; r++)
            {
                Dots[r] = LaneLoop.Dot<L, V>(Left + (r * Step), Right + (r * Step), Cols);
            }
        }
    }
}

/// <summary>Every so manieth of some rows.</summary>
/// <param name="Rows">All rows.</param>
/// <param name="First">First row of the sample, below <paramref name="Stride"/>.</param>
/// <param name="Stride">From one row of the sample to the next; at least 1.</param>
public readonly record struct RowSample(int Rows, int First, int Stride)
{
    /// <summary>Rows of the sample.</summary>
    public int Count => First >= Rows ? 0 : ((Rows - 1 - First) / Stride) + 1;
}
