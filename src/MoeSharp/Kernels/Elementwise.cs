using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace MoeSharp.Kernels;

/// <summary>Element-by-element work on dense spans.</summary>
/// <remarks>Legend: t row, h column.</remarks>
public static unsafe partial class Elementwise
{
    private const int ClearChunk = 128 * 1024; // floats: 512 KiB, an eighth of a huge page worth of faults per turn
    private const int SquaresChunk = 64 * 1024; // floats in one partial sum of squares

    /// <summary>y = a + b; y may be either input.</summary>
    public static void Add(WorkerPool workers, ReadOnlySpan<float> a, ReadOnlySpan<float> b, Span<float> y)
    {
        Require.Length(a.Length, y.Length, "Elementwise.Add", nameof(a));
        Require.Length(b.Length, y.Length, "Elementwise.Add", nameof(b));
        fixed (float* left = a, right = b, ys = y)
        {
            LaneRows.Map(workers, y.Length, new LaneLoop.Added { A = left, B = right, Y = ys });
        }
    }

    /// <summary>y += x.</summary>
    public static void Accumulate(WorkerPool workers, ReadOnlySpan<float> x, Span<float> y) => Add(workers, y, x, y);

    /// <summary>x *= factor.</summary>
    public static void Scale(WorkerPool workers, Span<float> x, float factor)
    {
        fixed (float* xs = x)
        {
            LaneRows.Map(workers, x.Length, new LaneLoop.Scaled { X = xs, Factor = factor, Y = xs });
        }
    }

    /// <summary>x = 0, on all workers (so that each touches its own pages).</summary>
    public static void Clear(WorkerPool workers, Span<float> x)
    {
        fixed (float* xs = x)
        {
            ClearJob job = new() { X = xs };
            workers.ForRows(x.Length, ClearChunk, ref job);
        }
    }

    /// <summary>Adds a bias row to every row of y, [rows, cols] += [cols].</summary>
    public static void AddBias(WorkerPool workers, int rows, int cols, ReadOnlySpan<float> bias, Span<float> y)
    {
        Require.Length(bias.Length, cols, "Elementwise.AddBias", nameof(bias));
        Require.Length(y.Length, (long)rows * cols, "Elementwise.AddBias", nameof(y));
        fixed (float* biases = bias, ys = y)
        {
            LaneRows.For(workers, rows, cols, new AddBiasJob { Cols = cols, Bias = biases, Y = ys });
        }
    }

    /// <summary>y[t] = row for every row of y.</summary>
    public static void RepeatRow(WorkerPool workers, int rows, int cols, ReadOnlySpan<float> row, Span<float> y)
    {
        Require.Length(row.Length, cols, "Elementwise.RepeatRow", nameof(row));
        Require.Length(y.Length, (long)rows * cols, "Elementwise.RepeatRow", nameof(y));
        fixed (float* source = row, ys = y)
        {
            LaneRows.For(workers, rows, cols, new RepeatRowJob { Cols = cols, Row = source, Y = ys });
        }
    }

    /// <summary>dBias[h] += sum over rows of dy[t, h].</summary>
    public static void SumRows(WorkerPool workers, int rows, int cols, ReadOnlySpan<float> dy, Span<float> dBias)
    {
        Require.Length(dy.Length, (long)rows * cols, "Elementwise.SumRows", nameof(dy));
        Require.Length(dBias.Length, cols, "Elementwise.SumRows", nameof(dBias));
        RowBlocks blocks = new(rows);
        float* partial = workers.Scratch(0, (long)blocks.Count * cols); // [blocks, cols]
        fixed (float* dys = dy, target = dBias)
        {
            LaneRows.ForChunks(workers, blocks.Count, 1, new SumRowsJob { Rows = rows, Cols = cols, BlockSize = blocks.Size, Dy = dys, Partial = partial });
            blocks.AddTo(workers, cols, partial, target);
        }
    }

    /// <summary>Sum of squares in double precision, in an order that does not depend on the workers.</summary>
    public static double SumOfSquares(WorkerPool workers, ReadOnlySpan<float> x)
    {
        int chunks = (int)(((long)x.Length + SquaresChunk - 1) / SquaresChunk);
        double* partial = (double*)workers.Scratch(0, 2L * chunks);
        fixed (float* xs = x)
        {
            SumOfSquaresJob job = new() { Length = x.Length, X = xs, Partial = partial };
            workers.ForRows(chunks, 1, ref job);
        }

        double sum = 0;
        for (int chunk = 0; chunk < chunks; chunk++)
        {
            sum += partial[chunk];
        }

        return sum;
    }

    // y += x, values begin (inclusive) to end (exclusive).
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void Accumulate<L, V>(float* x, float* y, int begin, int end)
        where L : struct, ILanes<V>
        where V : unmanaged => LaneLoop.Map<L, V, LaneLoop.Added>(begin, end, new LaneLoop.Added { A = y, B = x, Y = y });

    private struct ClearJob : IRowJob
    {
        public float* X;

        public readonly void Run(int begin, int end) => new Span<float>(X + begin, end - begin).Clear();
    }

    private struct RepeatRowJob : ILaneRows
    {
        public int Cols;
        public float* Row;
        public float* Y;

        public readonly void Run<L, V>(int begin, int end)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            for (int t = begin; t < end; t++)
            {
                new ReadOnlySpan<float>(Row, Cols).CopyTo(new Span<float>(Y + ((long)t * Cols), Cols));
            }
        }
    }

    private struct AddBiasJob : ILaneRows
    {
        public int Cols;
        public float* Bias;
        public float* Y;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public readonly void Run<L, V>(int begin, int end)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            for (int t = begin; t < end; t++)
            {
                Accumulate<L, V>(Bias, Y + ((long)t * Cols), 0, Cols);
            }
        }
    }

    private struct SumRowsJob : ILaneRows
    {
        public int Rows;
        public int Cols;
        public int BlockSize;
        public float* Dy;
        public float* Partial;

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
                    Accumulate<L, V>(Dy + ((long)t * Cols), partial, 0, Cols);
                }
            }
        }
    }

    private struct SumOfSquaresJob : IRowJob
    {
        public int Length;
        public float* X;
        public double* Partial;

        public readonly void Run(int begin, int end)
        {
            for (int chunk = begin; chunk < end; chunk++)
            {
                long first = (long)chunk * SquaresChunk;
                Partial[chunk] = Squares(X + first, (int)Math.Min(SquaresChunk, Length - first));
            }
        }

        // Eight floats widen into two vectors of four doubles; four sums side by side hide the latency of the addition.
        // The square of a float is exact in double.
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private static double Squares(float* x, int count)
        {
            Vector256<double> a = default;
            Vector256<double> b = default;
            Vector256<double> c = default;
            Vector256<double> d = default;
            int i = 0;
            for (; i <= count - 16; i += 16)
            {
                (Vector256<double> x0, Vector256<double> x1) = Vector256.Widen(Vector256.Load(x + i));
                (Vector256<double> x2, Vector256<double> x3) = Vector256.Widen(Vector256.Load(x + i + 8));
                a += x0 * x0;
                b += x1 * x1;
                c += x2 * x2;
                d += x3 * x3;
            }

            double sum = Vector256.Sum(a + b + (c + d));
            for (; i < count; i++)
            {
                sum += (double)x[i] * x[i];
            }

            return sum;
        }
    }
}
