using System.Runtime.CompilerServices;

namespace MoeSharp.Kernels;

/// <summary>Work on stretches of columns, on rows as a whole, and with factors.</summary>
public static unsafe partial class Elementwise
{
    /// <summary>y = alpha a + beta b; y may be either input.</summary>
    public static void ScaledSum(WorkerPool workers, ReadOnlySpan<float> a, float alpha, ReadOnlySpan<float> b, float beta, Span<float> y)
    {
        Require.Length(a.Length, y.Length, "Elementwise.ScaledSum", nameof(a));
        Require.Length(b.Length, y.Length, "Elementwise.ScaledSum", nameof(b));
        fixed (float* left = a, right = b, ys = y)
        {
            LaneRows.Map(workers, y.Length, new ScaledSumMap { A = left, Alpha = alpha, B = right, Beta = beta, Y = ys });
        }
    }

    /// <summary>y = x minus the mean of its row; y may be x. The backward pass is the same function of the gradient.</summary>
    /// <param name="workers">Worker pool.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="cols">Columns.</param>
    /// <param name="x">[rows, cols].</param>
    /// <param name="y">= or, when <paramref name="accumulate"/>, +=, [rows, cols].</param>
    /// <param name="accumulate">Whether y is added to.</param>
    public static void Center(WorkerPool workers, int rows, int cols, ReadOnlySpan<float> x, Span<float> y, bool accumulate)
    {
        Require.Length(x.Length, (long)rows * cols, "Elementwise.Center", nameof(x));
        Require.Length(y.Length, (long)rows * cols, "Elementwise.Center", nameof(y));
        fixed (float* xs = x, ys = y)
        {
            LaneRows.For(workers, rows, cols, new CenterJob { Cols = cols, X = xs, Y = ys, Accumulate = accumulate });
        }
    }

    /// <summary>x = x within -limit and limit, otherwise the nearer of both; the mask, where there is one, is 1 where x stays and 0 elsewhere.</summary>
    /// <param name="workers">Worker pool.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="cols">Columns of each row that are clamped, from its first.</param>
    /// <param name="x">Rows with stride <paramref name="stride"/>; modified.</param>
    /// <param name="stride">Floats between rows of x.</param>
    /// <param name="limit">Limit; positive.</param>
    /// <param name="mask">= 1 or 0, [rows, cols]; empty where no gradient is wanted.</param>
    public static void Clamp(WorkerPool workers, int rows, int cols, Span<float> x, int stride, float limit, Span<float> mask)
    {
        CheckStretch(x.Length, rows, cols, stride, "Elementwise.Clamp", nameof(x));
        Require.Length(mask.Length, mask.IsEmpty ? 0 : (long)rows * cols, "Elementwise.Clamp", nameof(mask));
        fixed (float* xs = x, masks = mask)
        {
            ClampJob job = new() { Cols = cols, X = xs, Stride = stride, Limit = limit, Mask = masks };
            workers.ForRows(rows, Math.Max(1, ClearChunk / Math.Max(1, cols)), ref job);
        }
    }

    /// <summary>x *= mask.</summary>
    public static void MultiplyBy(WorkerPool workers, int rows, int cols, Span<float> x, int stride, ReadOnlySpan<float> mask)
    {
        CheckStretch(x.Length, rows, cols, stride, "Elementwise.MultiplyBy", nameof(x));
        Require.Length(mask.Length, (long)rows * cols, "Elementwise.MultiplyBy", nameof(mask));
        fixed (float* xs = x, masks = mask)
        {
            LaneRows.For(workers, rows, cols, new MaskJob { Cols = cols, X = xs, Stride = stride, Mask = masks });
        }
    }

    /// <summary>Copies a stretch of columns of every head: y[t, head * yStep + c] = x[t, head * xStep + c] for c below <paramref name="cols"/>.</summary>
    /// <param name="workers">Worker pool.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="heads">Heads.</param>
    /// <param name="cols">Columns per head.</param>
    /// <param name="x">Rows with stride <paramref name="xStride"/>.</param>
    /// <param name="xStride">Floats between rows of x.</param>
    /// <param name="xStep">Floats between heads of x; 0 gives every head the same columns.</param>
    /// <param name="y">=, rows with stride <paramref name="yStride"/>.</param>
    /// <param name="yStride">Floats between rows of y.</param>
    /// <param name="yStep">Floats between heads of y.</param>
    public static void CopyHeads(WorkerPool workers, int rows, int heads, int cols, ReadOnlySpan<float> x, int xStride, int xStep, Span<float> y, int yStride, int yStep)
    {
        CheckStretch(x.Length, rows, ((heads - 1) * xStep) + cols, xStride, "Elementwise.CopyHeads", nameof(x));
        CheckStretch(y.Length, rows, ((heads - 1) * yStep) + cols, yStride, "Elementwise.CopyHeads", nameof(y));
        fixed (float* xs = x, ys = y)
        {
            CopyJob job = new() { Heads = heads, Cols = cols, X = xs, XStride = xStride, XStep = xStep, Y = ys, YStride = yStride, YStep = yStep };
            workers.ForRows(rows, Math.Max(1, ClearChunk / Math.Max(1, heads * cols)), ref job);
        }
    }

    /// <summary>x = x sigmoid(x).</summary>
    public static void Silu(WorkerPool workers, Span<float> x)
    {
        fixed (float* xs = x)
        {
            LaneRows.Map(workers, x.Length, new GateMap { X = xs, Gate = xs });
        }
    }

    /// <summary>x *= sigmoid(gate).</summary>
    public static void SigmoidGate(WorkerPool workers, ReadOnlySpan<float> gate, Span<float> x)
    {
        Require.Length(gate.Length, x.Length, "Elementwise.SigmoidGate", nameof(gate));
        fixed (float* xs = x, gates = gate)
        {
            LaneRows.Map(workers, x.Length, new GateMap { X = xs, Gate = gates });
        }
    }

    /// <summary>x = cap tanh(x / cap).</summary>
    public static void SoftCap(WorkerPool workers, Span<float> x, float cap)
    {
        fixed (float* xs = x)
        {
            LaneRows.Map(workers, x.Length, new SoftCapMap { X = xs, Cap = cap, Inverse = 1f / cap });
        }
    }

    private static void CheckStretch(int length, int rows, int cols, int stride, string operation, string argument)
    {
        Require.Length(stride, cols, operation, nameof(stride));
        Require.Length(length, rows == 0 ? 0 : ((rows - 1L) * stride) + cols, operation, argument);
    }

    private struct ScaledSumMap : ILaneMap
    {
        public float* A;
        public float Alpha;
        public float* B;
        public float Beta;
        public float* Y;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public readonly void At<W, L, V>(W at)
            where W : struct, ILaneWindow<V>
            where L : struct, ILanes<V>
            where V : unmanaged =>
            at.Store(Y, L.MultiplyAdd(at.Load(A), L.Broadcast(Alpha), L.Multiply(at.Load(B), L.Broadcast(Beta))));
    }

    private struct CenterJob : ILaneRows
    {
        public int Cols;
        public float* X;
        public float* Y;
        public bool Accumulate;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public readonly void Run<L, V>(int begin, int end)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            for (int t = begin; t < end; t++)
            {
                float* x = X + ((long)t * Cols);
                float* y = Y + ((long)t * Cols);
                float mean = L.Sum(LaneLoop.Sum<L, V, ValueSum>(Cols, new ValueSum { X = x }, L.Zero)) / Cols;
                LaneLoop.Map<L, V, ShiftMap>(0, Cols, new ShiftMap { X = x, Shift = mean, Y = y, Accumulate = Accumulate });
            }
        }
    }

    private struct ValueSum : ILaneSum
    {
        public float* X;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public readonly V Plus<W, L, V>(W at, V sum)
            where W : struct, ILaneWindow<V>
            where L : struct, ILanes<V>
            where V : unmanaged => L.Add(sum, at.Load(X));
    }

    // y (= or +=) x - shift
    private struct ShiftMap : ILaneMap
    {
        public float* X;
        public float Shift;
        public float* Y;
        public bool Accumulate;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public readonly void At<W, L, V>(W at)
            where W : struct, ILaneWindow<V>
            where L : struct, ILanes<V>
            where V : unmanaged =>
            LaneLoop.Put<W, L, V>(at, Y, L.Subtract(at.Load(X), L.Broadcast(Shift)), Accumulate);
    }

    private struct ClampJob : IRowJob
    {
        public int Cols;
        public float* X;
        public int Stride;
        public float Limit;
        public float* Mask;

        public readonly void Run(int begin, int end)
        {
            for (int t = begin; t < end; t++)
            {
                float* x = X + ((long)t * Stride);
                for (int h = 0; h < Cols; h++)
                {
                    float clamped = Math.Min(Limit, Math.Max(-Limit, x[h]));
                    if (Mask is not null)
                    {
                        Mask[((long)t * Cols) + h] = clamped == x[h] ? 1f : 0f;
                    }

                    x[h] = clamped;
                }
            }
        }
    }

    private struct MaskJob : ILaneRows
    {
        public int Cols;
        public float* X;
        public int Stride;
        public float* Mask;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public readonly void Run<L, V>(int begin, int end)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            for (int t = begin; t < end; t++)
            {
                float* x = X + ((long)t * Stride);
                float* mask = Mask + ((long)t * Cols);
                LaneLoop.Map<L, V, ProductMap>(0, Cols, new ProductMap { X = x, Factors = mask });
            }
        }
    }

    private struct ProductMap : ILaneMap
    {
        public float* X;
        public float* Factors;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public readonly void At<W, L, V>(W at)
            where W : struct, ILaneWindow<V>
            where L : struct, ILanes<V>
            where V : unmanaged => at.Store(X, L.Multiply(at.Load(X), at.Load(Factors)));
    }

    private struct CopyJob : IRowJob
    {
        public int Heads;
        public int Cols;
        public float* X;
        public int XStride;
        public int XStep;
        public float* Y;
        public int YStride;
        public int YStep;

        public readonly void Run(int begin, int end)
        {
            for (int t = begin; t < end; t++)
            {
                for (int head = 0; head < Heads; head++)
                {
                    new ReadOnlySpan<float>(X + ((long)t * XStride) + ((long)head * XStep), Cols).CopyTo(new Span<float>(Y + ((long)t * YStride) + ((long)head * YStep), Cols));
                }
            }
        }
    }

    private struct GateMap : ILaneMap
    {
        public float* X;
        public float* Gate;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public readonly void At<W, L, V>(W at)
            where W : struct, ILaneWindow<V>
            where L : struct, ILanes<V>
            where V : unmanaged => at.Store(X, L.Multiply(at.Load(X), VectorMath.Sigmoid<L, V>(at.Load(Gate))));
    }

    private struct SoftCapMap : ILaneMap
    {
        public float* X;
        public float Cap;
        public float Inverse;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public readonly void At<W, L, V>(W at)
            where W : struct, ILaneWindow<V>
            where L : struct, ILanes<V>
            where V : unmanaged =>
            at.Store(X, L.Multiply(L.Broadcast(Cap), VectorMath.Tanh<L, V>(L.Multiply(L.Broadcast(Inverse), at.Load(X)))));
    }
}
