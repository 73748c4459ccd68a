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

    private const int Held = 4; // vectors of a row that is held in registers

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
            if (Cols <= Held * L.Count)
            {
                RunHeld<L, V>(begin, end);
                return;
            }

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

        // A short row stays in registers from the first look to the last; the same bits as the loops.
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private readonly void RunHeld<L, V>(int begin, int end)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            V lowest = L.Broadcast(float.NegativeInfinity);
            (int nb, int nc, int nd) = (Cols - L.Count, Cols - (2 * L.Count), Cols - (3 * L.Count)); // values of the second, third and fourth vector
            for (int t = begin; t < end; t++)
            {
                float* x = X + ((long)t * Cols);
                float* y = Y + ((long)t * Cols);
                V a = Load<L, V>(x, Cols, lowest);
                V b = nb > 0 ? Load<L, V>(x + L.Count, nb, lowest) : lowest;
                V c = nc > 0 ? Load<L, V>(x + (2 * L.Count), nc, lowest) : lowest;
                V d = nd > 0 ? Load<L, V>(x + (3 * L.Count), nd, lowest) : lowest;
                float max = L.MaxLane(L.Max(L.Max(a, b), L.Max(c, d)));
                V shift = L.Broadcast(SoftmaxRow.Shift(max));
                a = Exp<L, V>(a, shift, Cols);
                b = nb > 0 ? Exp<L, V>(b, shift, nb) : L.Zero;
                c = nc > 0 ? Exp<L, V>(c, shift, nc) : L.Zero;
                d = nd > 0 ? Exp<L, V>(d, shift, nd) : L.Zero;
                float sum = L.Sum(L.Add(L.Add(L.Add(a, b), c), d));
                LogSumExp[t] = max + MathF.Log(sum);
                V divisor = L.Broadcast(sum == 0f ? 1f : sum); // a true division, as below
                Store<L, V>(y, L.Divide(a, divisor), Cols);
                if (nb > 0)
                {
                    Store<L, V>(y + L.Count, L.Divide(b, divisor), nb);
                }

                if (nc > 0)
                {
                    Store<L, V>(y + (2 * L.Count), L.Divide(c, divisor), nc);
                }

                if (nd > 0)
                {
                    Store<L, V>(y + (3 * L.Count), L.Divide(d, divisor), nd);
                }
            }
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static V Load<L, V>(float* x, int n, V rest)
            where L : struct, ILanes<V>
            where V : unmanaged => n >= L.Count ? L.Load(x) : L.KeepFirst(L.LoadFirst(x, n), n, rest);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static V Exp<L, V>(V x, V shift, int n)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            V e = VectorMath.Exp<L, V>(L.Subtract(x, shift));
            return n >= L.Count ? e : L.KeepFirst(e, n, L.Zero);
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static void Store<L, V>(float* y, V value, int n)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            if (n >= L.Count)
            {
                L.Store(y, value);
            }
            else
            {
                L.StoreFirst(y, value, n);
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
