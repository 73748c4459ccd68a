using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace MoeSharp.Kernels;

/// <summary>Moves between token order and expert order. A slot is one (token, k) pair, numbered token * topK + k.</summary>
/// <remarks>Legend: t token, r row, j slot of a token, h column.</remarks>
public static unsafe class Permutation
{
    // 512 bytes: long enough for streaming, short enough that eight workers have work at a width of 1024.
    private const int ScatterColumns = 128;

    /// <summary>Stable counting sort of slots by expert.</summary>
    /// <param name="expertIds">Expert of each slot, [slots]; negative = dropped, gets no row.</param>
    /// <param name="numExperts">Number of experts.</param>
    /// <param name="offsets">= first row of each expert, [experts + 1].</param>
    /// <param name="rowSlots">= slot of each row, [rows].</param>
    /// <param name="slotRows">= row of each slot, [slots]; -1 where dropped.</param>
    public static void SortByExpert(ReadOnlySpan<int> expertIds, int numExperts, Span<int> offsets, Span<int> rowSlots, Span<int> slotRows)
    {
        offsets[..(numExperts + 1)].Clear();
        foreach (int expert in expertIds)
        {
            if (expert >= 0)
            {
                offsets[expert + 1]++;
            }
        }

        for (int e = 0; e < numExperts; e++)
        {
            offsets[e + 1] += offsets[e];
        }

        // While rows are dealt out, offsets[e] is the next free row of expert e and so ends as the first row of e + 1.
        for (int slot = 0; slot < expertIds.Length; slot++)
        {
            int expert = expertIds[slot];
            int row = expert < 0 ? -1 : offsets[expert]++;
            slotRows[slot] = row;
            if (row >= 0)
            {
                rowSlots[row] = slot;
            }
        }

        for (int e = numExperts; e > 0; e--)
        {
            offsets[e] = offsets[e - 1];
        }

        offsets[0] = 0;
    }

    /// <summary>y[t] (= or +=) the sum of rows <c>slotRows[t * topK + j]</c> of x over j in slot order; rows of -1 are skipped.</summary>
    /// <exception cref="ShapeException">A span is too short or a row lies outside x.</exception>
    public static void SumSlots(WorkerPool workers, int tokens, int topK, int cols, ReadOnlySpan<int> slotRows, ReadOnlySpan<float> x, Span<float> y, bool accumulate)
    {
        const string Operation = "Permutation.SumSlots";
        Require.Length(slotRows.Length, (long)tokens * topK, Operation, nameof(slotRows));
        Require.Length(y.Length, (long)tokens * cols, Operation, nameof(y));
        Require.Indices(slotRows[..(tokens * topK)], int.MinValue, x.Length / Math.Max(cols, 1), Operation, nameof(slotRows));
        fixed (int* rows = slotRows)
        fixed (float* xs = x, ys = y)
        {
            LaneRows.For(workers, tokens, cols * (topK + 1), new SumSlotsJob { TopK = topK, Cols = cols, SlotRows = rows, X = xs, Y = ys, Accumulate = accumulate });
        }
    }

    /// <summary>Copies rows: y[r] = x[index[r]].</summary>
    /// <exception cref="ShapeException">A span is too short or an index lies outside x.</exception>
    public static void GatherRows(WorkerPool workers, int rows, int cols, ReadOnlySpan<int> index, ReadOnlySpan<float> x, Span<float> y)
    {
        const string Operation = "Permutation.GatherRows";
        Require.Length(index.Length, rows, Operation, nameof(index));
        Require.Length(y.Length, (long)rows * cols, Operation, nameof(y));
        Require.Indices(index[..rows], 0, x.Length / Math.Max(cols, 1), Operation, nameof(index));
        fixed (int* indices = index)
        fixed (float* xs = x, ys = y)
        {
            LaneRows.For(workers, rows, 2 * cols, new GatherJob { Cols = cols, Index = indices, X = xs, Y = ys });
        }
    }

    /// <summary>y[index[r]] += x[r], in row order for every target: the gradient of a gather with repeated indices.</summary>
    /// <exception cref="ShapeException">A span is too short or an index lies outside y.</exception>
    public static void ScatterAddRows(WorkerPool workers, int rows, int cols, ReadOnlySpan<int> index, ReadOnlySpan<float> x, Span<float> y)
    {
        const string Operation = "Permutation.ScatterAddRows";
        Require.Length(index.Length, rows, Operation, nameof(index));
        Require.Length(x.Length, (long)rows * cols, Operation, nameof(x));
        Require.Indices(index[..rows], 0, y.Length / Math.Max(cols, 1), Operation, nameof(index));
        fixed (int* indices = index)
        fixed (float* xs = x, ys = y)
        {
            // Split over columns, because two rows may have the same target.
            LaneRows.ForChunks(workers, cols, ScatterColumns, new ScatterAddJob { Rows = rows, Cols = cols, Index = indices, X = xs, Y = ys });
        }
    }

    private const int Line = 16; // floats in a cache line
    private const int TokensAhead = 6; // 42 rows of 256 bytes where a token has seven slots: a third of the first-level cache
    private const int FetchedColumns = 256; // the hardware follows longer rows by itself

    private struct SumSlotsJob : ILaneRows
    {
        public int TopK;
        public int Cols;
        public int* SlotRows;
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
                int* rows = SlotRows + ((long)t * TopK);
                float* y = Y + ((long)t * Cols);
                int h = 0;
                if (Sse.IsSupported && t + TokensAhead < end)
                {
                    Fetch(rows + (TokensAhead * TopK));
                }

                for (; h <= Cols - (4 * L.Count); h += 4 * L.Count)
                {
                    V a = Accumulate ? L.Load(y + h) : L.Zero;
                    V b = Accumulate ? L.Load(y + h + L.Count) : L.Zero;
                    V c = Accumulate ? L.Load(y + h + (2 * L.Count)) : L.Zero;
                    V d = Accumulate ? L.Load(y + h + (3 * L.Count)) : L.Zero;
                    for (int j = 0; j < TopK; j++)
                    {
                        if (rows[j] >= 0)
                        {
                            float* x = X + ((long)rows[j] * Cols) + h;
                            a = L.Add(a, L.Load(x));
                            b = L.Add(b, L.Load(x + L.Count));
                            c = L.Add(c, L.Load(x + (2 * L.Count)));
                            d = L.Add(d, L.Load(x + (3 * L.Count)));
                        }
                    }

                    L.Store(y + h, a);
                    L.Store(y + h + L.Count, b);
                    L.Store(y + h + (2 * L.Count), c);
                    L.Store(y + h + (3 * L.Count), d);
                }

                for (; h < Cols; h += L.Count)
                {
                    SumFew<L, V>(rows, y, h, Math.Min(L.Count, Cols - h));
                }
            }
        }

        // The rows of a token lie anywhere, so that nothing but this tells the machine which come next.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private readonly void Fetch(int* rows)
        {
            for (int j = 0; j < TopK; j++)
            {
                if (rows[j] >= 0)
                {
                    float* x = X + ((long)rows[j] * Cols);
                    for (int h = 0; h < Math.Min(Cols, FetchedColumns); h += Line)
                    {
                        Sse.Prefetch1(x + h);
                    }
                }
            }
        }

        private readonly void SumFew<L, V>(int* rows, float* y, int h, int count)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            V sum = Accumulate ? L.LoadFirst(y + h, count) : L.Zero;
            for (int j = 0; j < TopK; j++)
            {
                if (rows[j] >= 0)
                {
                    sum = L.Add(sum, L.LoadFirst(X + ((long)rows[j] * Cols) + h, count));
                }
            }

            L.StoreFirst(y + h, sum, count);
        }
    }

    private struct GatherJob : ILaneRows
    {
        public int Cols;
        public int* Index;
        public float* X;
        public float* Y;

        public readonly void Run<L, V>(int begin, int end)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            for (int r = begin; r < end; r++)
            {
                new ReadOnlySpan<float>(X + ((long)Index[r] * Cols), Cols).CopyTo(new Span<float>(Y + ((long)r * Cols), Cols));
            }
        }
    }

    private struct ScatterAddJob : ILaneRows
    {
        public int Rows;
        public int Cols;
        public int* Index;
        public float* X;
        public float* Y;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public readonly void Run<L, V>(int begin, int end)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            for (int r = 0; r < Rows; r++)
            {
                float* x = X + ((long)r * Cols);
                float* y = Y + ((long)Index[r] * Cols);
                Elementwise.Accumulate<L, V>(x, y, begin, end);
            }
        }
    }
}
