using System.Runtime.CompilerServices;

namespace MoeSharp.Kernels;

/// <summary>Softmax of rows and its gradient.</summary>
/// <remarks>A row of nothing but negative infinities becomes all zero, not NaN; its log-sum-exp is negative infinity. Legend: t row.</remarks>
public static unsafe class Softmax
{
    /// <summary>Softmax of every row of <paramref name="x"/> into <paramref name="y"/> (may be the same span); also the log-sum-exp per row.</summary>
    public static void Forward(WorkerPool workers, int rows, int cols, ReadOnlySpan<float> x, Span<float> y, Span<float> logSumExp)
    {
        const string Operation = "Softmax.Forward";
        Require.Length(x.Length, (long)rows * cols, Operation, nameof(x));
        Require.Length(y.Length, (long)rows * cols, Operation, nameof(y));
        Require.Length(logSumExp.Length, rows, Operation, nameof(logSumExp));
        fixed (float* xs = x, ys = y, sums = logSumExp)
        {
            LaneRows.For(workers, rows, cols, new ForwardJob { Cols = cols, X = xs, Y = ys, LogSumExp = sums });
        }
    }

    /// <summary>dx = y (dy - sum(dy y)) per row, from the forward's output y; dx may be dy.</summary>
    public static void Backward(WorkerPool workers, int rows, int cols, ReadOnlySpan<float> dy, ReadOnlySpan<float> y, Span<float> dx)
    {
        const string Operation = "Softmax.Backward";
        Require.Length(dy.Length, (long)rows * cols, Operation, nameof(dy));
        Require.Length(y.Length, (long)rows * cols, Operation, nameof(y));
        Require.Length(dx.Length, (long)rows * cols, Operation, nameof(dx));
        fixed (float* dys = dy, ys = y, dxs = dx)
        {
            LaneRows.For(workers, rows, cols, new BackwardJob { Cols = cols, Dy = dys, Y = ys, Dx = dxs });
        }
    }

    private struct ForwardJob : ILaneRows
    {
        public int Cols;
        public float* X;
        public float* Y;
        public float* LogSumExp;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public readonly void Run<L, V>(int begin, int end)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            for (int t = begin; t < end; t++)
            {
                float* x = X + ((long)t * Cols);
                float* y = Y + ((long)t * Cols);
                float max = SoftmaxRow.Max<L, V>(x, Cols);
                float sum = SoftmaxRow.ExpInto<L, V>(x, SoftmaxRow.Shift(max), Cols, y);
                LogSumExp[t] = max + MathF.Log(sum);
                LaneLoop.Map<L, V, DivideMap>(0, Cols, new DivideMap { Y = y, Divisor = sum == 0f ? 1f : sum });
            }
        }
    }

    // A true division: the reciprocal's rounding would show in the last bit of every routing weight.
    private struct DivideMap : ILaneMap
    {
        public float* Y;
        public float Divisor;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public readonly void At<W, L, V>(W at)
            where W : struct, ILaneWindow<V>
            where L : struct, ILanes<V>
            where V : unmanaged => at.Store(Y, L.Divide(at.Load(Y), L.Broadcast(Divisor)));
    }

    private struct BackwardJob : ILaneRows
    {
        public int Cols;
        public float* Dy;
        public float* Y;
        public float* Dx;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public readonly void Run<L, V>(int begin, int end)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            for (int t = begin; t < end; t++)
            {
                float* dy = Dy + ((long)t * Cols);
                float* y = Y + ((long)t * Cols);
                float* dx = Dx + ((long)t * Cols);
                LaneLoop.Map<L, V, BackwardMap>(0, Cols, new BackwardMap { Dy = dy, Y = y, Dot = LaneLoop.Dot<L, V>(dy, y, Cols), Dx = dx });
            }
        }
    }

    private struct BackwardMap : ILaneMap
    {
        public float* Dy;
        public float* Y;
        public float Dot;
        public float* Dx;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public readonly void At<W, L, V>(W at)
            where W : struct, ILaneWindow<V>
            where L : struct, ILanes<V>
            where V : unmanaged => at.Store(Dx, L.Multiply(at.Load(Y), L.Subtract(at.Load(Dy), L.Broadcast(Dot))));
    }
}
