using System.Runtime.CompilerServices;

namespace MoeSharp.Kernels;

/// <summary>Root-mean-square normalisation of rows.</summary>
/// <remarks>y = w x / sqrt(mean(x^2) + eps) (RMSNorm, arXiv 1910.07467, equation 4). Legend: t row, h column.</remarks>
public static unsafe class RmsNorm
{
    /// <summary>Normalises rows of <paramref name="x"/> into <paramref name="y"/> (may be the same span) and stores 1/rms per row.</summary>
    public static void Forward(WorkerPool workers, int rows, int cols, ReadOnlySpan<float> x, ReadOnlySpan<float> weight, float epsilon, Span<float> y, Span<float> inverseRms) =>
        ForwardHeads(workers, rows, 1, cols, x, cols, weight, epsilon, y, cols, inverseRms);

    /// <summary>Normalises <paramref name="heads"/> neighbouring stretches of every row, each by itself and with the same weight.</summary>
    /// <param name="workers">Worker pool.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="heads">Stretches per row.</param>
    /// <param name="cols">Width of a stretch.</param>
    /// <param name="x">Rows with stride <paramref name="xStride"/>, the first stretch at the row's beginning.</param>
    /// <param name="xStride">Floats between rows of x.</param>
    /// <param name="weight">Scale, [cols].</param>
    /// <param name="epsilon">Added to the mean square.</param>
    /// <param name="y">= result, laid out like x with its own stride; may be the span of x.</param>
    /// <param name="yStride">Floats between rows of y.</param>
    /// <param name="inverseRms">= 1/rms, [rows, heads].</param>
    public static void ForwardHeads(WorkerPool workers, int rows, int heads, int cols, ReadOnlySpan<float> x, int xStride, ReadOnlySpan<float> weight, float epsilon, Span<float> y, int yStride, Span<float> inverseRms)
    {
        const string Operation = "RmsNorm.Forward";
        CheckRows(x.Length, rows, heads, cols, xStride, Operation, nameof(x));
        Require.Length(weight.Length, cols, Operation, nameof(weight));
        CheckRows(y.Length, rows, heads, cols, yStride, Operation, nameof(y));
        Require.Length(inverseRms.Length, (long)rows * heads, Operation, nameof(inverseRms));
        fixed (float* xs = x, ws = weight, ys = y, rs = inverseRms)
        {
            LaneRows.For(workers, rows * heads, cols, new ForwardJob { Heads = heads, Cols = cols, X = xs, XStride = xStride, Weight = ws, Epsilon = epsilon, Y = ys, YStride = yStride, InverseRms = rs });
        }
    }

    /// <summary>Gradients; needs the forward's <paramref name="x"/> and <paramref name="inverseRms"/>.</summary>
    /// <param name="workers">Worker pool.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="cols">Columns.</param>
    /// <param name="dy">Gradient of y, [rows, cols].</param>
    /// <param name="x">Forward input.</param>
    /// <param name="weight">Scale, [cols].</param>
    /// <param name="inverseRms">Forward's 1/rms, [rows].</param>
    /// <param name="dx">Gradient of x: = or, when <paramref name="accumulate"/>, +=. May be the span of dy or of x.</param>
    /// <param name="dWeight">Gradient of the scale, [cols]; always +=.</param>
    /// <param name="accumulate">Whether dx is added to.</param>
    public static void Backward(WorkerPool workers, int rows, int cols, ReadOnlySpan<float> dy, ReadOnlySpan<float> x, ReadOnlySpan<float> weight, ReadOnlySpan<float> inverseRms, Span<float> dx, Span<float> dWeight, bool accumulate) =>
        BackwardHeads(workers, rows, 1, cols, dy, cols, x, cols, weight, inverseRms, dx, cols, dWeight, accumulate);

    /// <summary>Gradients of <see cref="ForwardHeads"/>; strides as there.</summary>
    public static void BackwardHeads(WorkerPool workers, int rows, int heads, int cols, ReadOnlySpan<float> dy, int dyStride, ReadOnlySpan<float> x, int xStride, ReadOnlySpan<float> weight, ReadOnlySpan<float> inverseRms, Span<float> dx, int dxStride, Span<float> dWeight, bool accumulate)
    {
        const string Operation = "RmsNorm.Backward";
        CheckRows(dy.Length, rows, heads, cols, dyStride, Operation, nameof(dy));
        CheckRows(x.Length, rows, heads, cols, xStride, Operation, nameof(x));
        Require.Length(weight.Length, cols, Operation, nameof(weight));
        Require.Length(inverseRms.Length, (long)rows * heads, Operation, nameof(inverseRms));
        CheckRows(dx.Length, rows, heads, cols, dxStride, Operation, nameof(dx));
        Require.Length(dWeight.Length, cols, Operation, nameof(dWeight));
        RowBlocks blocks = new(rows * heads);
        float* partial = workers.Scratch(0, (long)blocks.Count * cols); // [blocks, cols]
        fixed (float* dys = dy, xs = x, ws = weight, rs = inverseRms, dxs = dx, dws = dWeight)
        {
            BackwardJob job = new()
            {
                Rows = rows * heads,
                Heads = heads,
                Cols = cols,
                BlockSize = blocks.Size,
                Dy = dys,
                DyStride = dyStride,
                X = xs,
                XStride = xStride,
                Weight = ws,
                InverseRms = rs,
                Dx = dxs,
                DxStride = dxStride,
                Partial = partial,
                Accumulate = accumulate,
            };
            LaneRows.ForChunks(workers, blocks.Count, 1, job);
            blocks.AddTo(workers, cols, partial, dws);
        }
    }

    private static void CheckRows(int length, int rows, int heads, int cols, int stride, string operation, string argument)
    {
        Require.Length(stride, (long)heads * cols, operation, nameof(stride));
        Require.Length(length, rows == 0 ? 0 : ((rows - 1L) * stride) + ((long)heads * cols), operation, argument);
    }

    // Stretch t of all rows: its row and its place in it.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static float* At(float* start, int t, int heads, int cols, int stride) =>
        heads == 1 ? start + ((long)t * stride) : start + ((long)(t / heads) * stride) + ((long)(t % heads) * cols);

    private struct ForwardJob : ILaneRows
    {
        public int Heads;
        public int Cols;
        public int XStride;
        public int YStride;
        public float* X;
        public float* Weight;
        public float Epsilon;
        public float* Y;
        public float* InverseRms;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public readonly void Run<L, V>(int begin, int end)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            for (int t = begin; t < end; t++)
            {
                float* x = At(X, t, Heads, Cols, XStride);
                float* y = At(Y, t, Heads, Cols, YStride);
                float r = 1f / MathF.Sqrt((SumOfSquares<L, V>(x) / Cols) + Epsilon);
                InverseRms[t] = r;
                LaneLoop.Map<L, V, ForwardMap>(0, Cols, new ForwardMap { X = x, Scale = r, Weight = Weight, Y = y });
            }
        }

        // Four sums side by side hide the latency of the addition.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private readonly float SumOfSquares<L, V>(float* x)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            V a = L.Zero;
            V b = L.Zero;
            V c = L.Zero;
            V d = L.Zero;
            int h = 0;
            for (; h <= Cols - (4 * L.Count); h += 4 * L.Count)
            {
                V x0 = L.Load(x + h);
                V x1 = L.Load(x + h + L.Count);
                V x2 = L.Load(x + h + (2 * L.Count));
                V x3 = L.Load(x + h + (3 * L.Count));
                a = L.MultiplyAdd(x0, x0, a);
                b = L.MultiplyAdd(x1, x1, b);
                c = L.MultiplyAdd(x2, x2, c);
                d = L.MultiplyAdd(x3, x3, d);
            }

            for (; h < Cols; h += L.Count)
            {
                V x0 = h <= Cols - L.Count ? L.Load(x + h) : L.LoadFirst(x + h, Cols - h);
                a = L.MultiplyAdd(x0, x0, a);
            }

            return L.Sum(L.Add(L.Add(a, b), L.Add(c, d)));
        }
    }

    // y = weight (x scale)
    private struct ForwardMap : ILaneMap
    {
        public float* X;
        public float Scale;
        public float* Weight;
        public float* Y;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public readonly void At<W, L, V>(W at)
            where W : struct, ILaneWindow<V>
            where L : struct, ILanes<V>
            where V : unmanaged => at.Store(Y, L.Multiply(L.Multiply(at.Load(X), L.Broadcast(Scale)), at.Load(Weight)));
    }

    /// <summary>One unit of work is one block of rows; it owns the partial row of that block.</summary>
    private struct BackwardJob : ILaneRows
    {
        public int Rows;
        public int Heads;
        public int Cols;
        public int BlockSize;
        public int DyStride;
        public int XStride;
        public int DxStride;
        public float* Dy;
        public float* X;
        public float* Weight;
        public float* InverseRms;
        public float* Dx;
        public float* Partial;
        public bool Accumulate;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public readonly void Run<L, V>(int begin, int end)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            for (int block = begin; block < end; block++)
            {
                float* partial = Partial + ((long)block * Cols);
                new Span<float>(partial, Cols).Clear();
                int last = (int)Math.Min(((long)block + 1) * BlockSize, Rows);
                for (int t = block * BlockSize; t < last; t++)
                {
                    float* dy = At(Dy, t, Heads, Cols, DyStride);
                    float* x = At(X, t, Heads, Cols, XStride);
                    float r = InverseRms[t];
                    float dot = AddWeightGradient<L, V>(dy, x, r, partial);
                    BackwardMap map = new() { Dy = dy, Weight = Weight, InverseRms = r, X = x, Scale = dot * r * r * r / Cols, Dx = At(Dx, t, Heads, Cols, DxStride), Accumulate = Accumulate };
                    LaneLoop.Map<L, V, BackwardMap>(0, Cols, map);
                }
            }
        }

        // partial += dy x r, and on the way sum(dy w x).
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private readonly float AddWeightGradient<L, V>(float* dy, float* x, float r, float* partial)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            V a = L.Zero;
            V b = L.Zero;
            V scale = L.Broadcast(r);
            int h = 0;
            for (; h <= Cols - (2 * L.Count); h += 2 * L.Count)
            {
                V p0 = L.Multiply(L.Load(dy + h), L.Load(x + h));
                V p1 = L.Multiply(L.Load(dy + h + L.Count), L.Load(x + h + L.Count));
                a = L.MultiplyAdd(p0, L.Load(Weight + h), a);
                b = L.MultiplyAdd(p1, L.Load(Weight + h + L.Count), b);
                L.Store(partial + h, L.MultiplyAdd(p0, scale, L.Load(partial + h)));
                L.Store(partial + h + L.Count, L.MultiplyAdd(p1, scale, L.Load(partial + h + L.Count)));
            }

            for (; h < Cols; h += L.Count)
            {
                int n = Math.Min(L.Count, Cols - h);
                V p0 = L.Multiply(L.LoadFirst(dy + h, n), L.LoadFirst(x + h, n));
                a = L.MultiplyAdd(p0, L.LoadFirst(Weight + h, n), a);
                L.StoreFirst(partial + h, L.MultiplyAdd(p0, scale, L.LoadFirst(partial + h, n)), n);
            }

            return L.Sum(L.Add(a, b));
        }
    }

    // dx (= or +=) dy w r - x scale.
    private struct BackwardMap : ILaneMap
    {
        public float* Dy;
        public float* Weight;
        public float InverseRms;
        public float* X;
        public float Scale;
        public float* Dx;
        public bool Accumulate;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public readonly void At<W, L, V>(W at)
            where W : struct, ILaneWindow<V>
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            V value = L.Multiply(L.Multiply(at.Load(Dy), at.Load(Weight)), L.Broadcast(InverseRms));
            LaneLoop.Put<W, L, V>(at, Dx, L.SubtractProduct(at.Load(X), L.Broadcast(Scale), value), Accumulate);
        }
    }
}
