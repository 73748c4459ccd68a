using System.Numerics;
using System.Runtime.CompilerServices;

namespace MoeSharp.Kernels;

/// <summary>Selection of the largest values of a row.</summary>
public static unsafe class TopK
{
    private const int Held = 4; // vectors of a row that is held in registers; their lanes fit one word
    private const int Group = 64; // columns whose comparisons fit one word

    /// <summary>Writes the column indices of the <paramref name="k"/> largest values of each row, descending; ties go to the lowest index.</summary>
    /// <remarks>NaN counts as negative infinity, so that a row always has <paramref name="k"/> different indices.</remarks>
    /// <exception cref="ShapeException">A span is too short or <paramref name="k"/> is more than <paramref name="cols"/>.</exception>
    public static void Select(WorkerPool workers, int rows, int cols, int k, ReadOnlySpan<float> values, Span<int> indices)
    {
        const string Operation = "TopK.Select";
        Require.Length(values.Length, (long)rows * cols, Operation, nameof(values));
        Require.Length(indices.Length, (long)rows * k, Operation, nameof(indices));
        Require.Length(cols, k, Operation, nameof(cols));
        if (k == 0)
        {
            return;
        }

        fixed (float* valuesStart = values)
        fixed (int* indicesStart = indices)
        {
            LaneRows.For(workers, rows, cols, new SelectJob { Cols = cols, K = k, Values = valuesStart, Indices = indicesStart });
        }
    }

    private struct SelectJob : ILaneRows
    {
        public int Cols;
        public int K;
        public float* Values;
        public int* Indices;

        // Rows that are worked on in turn: what is next in a row hangs on what was found before, other rows fill the time.
        private const int Together = 8;

        // The order is (value descending, column ascending), so nothing need be marked as taken: next come all columns that hold the largest of the values below the last one.
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

            float* last = stackalloc float[Together];
            int* counts = stackalloc int[Together];
            for (int t = begin; t < end; t += Together)
            {
                int rows = Math.Min(Together, end - t);
                for (int r = 0; r < rows; r++)
                {
                    float* row = Values + ((long)(t + r) * Cols);
                    last[r] = Largest<L, V>(row);
                    counts[r] = Take<L, V>(row, last[r], Indices + ((long)(t + r) * K), 0);
                }

                for (bool isOpen = K > 1; isOpen;)
                {
                    isOpen = false;
                    for (int r = 0; r < rows; r++)
                    {
                        if (counts[r] < K)
                        {
                            float* row = Values + ((long)(t + r) * Cols);
                            last[r] = LargestBelow<L, V>(row, last[r]);
                            counts[r] = Take<L, V>(row, last[r], Indices + ((long)(t + r) * K), counts[r]);
                            isOpen |= counts[r] < K;
                        }
                    }
                }
            }
        }

        // A short row stays in registers while its largest values are taken out of it.
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private readonly void RunHeld<L, V>(int begin, int end)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            V lowest = L.Broadcast(float.NegativeInfinity);
            (int nb, int nc, int nd) = (Cols - L.Count, Cols - (2 * L.Count), Cols - (3 * L.Count)); // values of the second, third and fourth vector
            for (int t = begin; t < end; t++)
            {
                float* row = Values + ((long)t * Cols);
                int* chosen = Indices + ((long)t * K);
                V a = Load<L, V>(row, Cols, lowest);
                V b = nb > 0 ? Load<L, V>(row + L.Count, nb, lowest) : lowest;
                V c = nc > 0 ? Load<L, V>(row + (2 * L.Count), nc, lowest) : lowest;
                V d = nd > 0 ? Load<L, V>(row + (3 * L.Count), nd, lowest) : lowest;
                for (int count = 0; count < K;)
                {
                    float value = L.MaxLane(L.Max(L.Max(a, b), L.Max(c, d)));
                    if (value == float.NegativeInfinity)
                    {
                        count = TakeLowest(row, chosen, count);
                        continue;
                    }

                    V values = L.Broadcast(value);
                    ulong bits = L.EqualBits(a, values) | ((ulong)L.EqualBits(b, values) << L.Count) | ((ulong)L.EqualBits(c, values) << (2 * L.Count)) | ((ulong)L.EqualBits(d, values) << (3 * L.Count));
                    a = L.WhereLess(a, values, a, lowest);
                    b = L.WhereLess(b, values, b, lowest);
                    c = L.WhereLess(c, values, c, lowest);
                    d = L.WhereLess(d, values, d, lowest);
                    chosen[count++] = BitOperations.TrailingZeroCount(bits);
                    for (bits &= bits - 1; bits != 0 && count < K; bits &= bits - 1)
                    {
                        chosen[count++] = BitOperations.TrailingZeroCount(bits); // a tie
                    }
                }
            }
        }

        // Negative infinity in place of NaN and behind the row's end.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static V Load<L, V>(float* x, int n, V lowest)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            V value = n >= L.Count ? L.Load(x) : L.KeepFirst(L.LoadFirst(x, n), n, lowest);
            return L.WhereLess(lowest, value, value, lowest);
        }

        // Adds the columns that hold the value, from the left, as long as there is room; NaN counts as negative infinity.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private readonly int Take<L, V>(float* row, float value, int* chosen, int count)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            if (value == float.NegativeInfinity)
            {
                return TakeLowest(row, chosen, count);
            }

            V values = L.Broadcast(value);
            for (int first = 0; first < Cols && count < K; first += Group)
            {
                int end = Math.Min(first + Group, Cols);
                ulong bits = 0;
                int i = first;
                for (; i <= end - L.Count; i += L.Count)
                {
                    bits |= (ulong)L.EqualBits(L.Load(row + i), values) << (i - first);
                }

                if (i < end)
                {
                    ulong real = (1UL << (end - i)) - 1; // lanes behind the row hold 0 and may match
                    bits |= (L.EqualBits(L.LoadFirst(row + i, end - i), values) & real) << (i - first);
                }

                for (; bits != 0 && count < K; bits &= bits - 1)
                {
                    chosen[count++] = first + BitOperations.TrailingZeroCount(bits);
                }
            }

            return count;
        }

        private readonly int TakeLowest(float* row, int* chosen, int count)
        {
            for (int i = 0; i < Cols && count < K; i++)
            {
                if (!(row[i] > float.NegativeInfinity))
                {
                    chosen[count++] = i;
                }
            }

            return count;
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private readonly float Largest<L, V>(float* row)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            V lowest = L.Broadcast(float.NegativeInfinity);
            V largest = lowest;
            int i = 0;
            for (; i <= Cols - L.Count; i += L.Count)
            {
                largest = L.Max(L.Load(row + i), largest); // in this order a NaN of the row is passed over
            }

            if (i < Cols)
            {
                largest = L.Max(L.KeepFirst(L.LoadFirst(row + i, Cols - i), Cols - i, lowest), largest);
            }

            return L.MaxLane(largest);
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private readonly float LargestBelow<L, V>(float* row, float limit)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            V limits = L.Broadcast(limit);
            V lowest = L.Broadcast(float.NegativeInfinity);
            V largest = lowest;
            int i = 0;
            for (; i <= Cols - L.Count; i += L.Count)
            {
                V x = L.Load(row + i);
                largest = L.Max(largest, L.WhereLess(x, limits, x, lowest));
            }

            if (i < Cols)
            {
                V x = L.KeepFirst(L.LoadFirst(row + i, Cols - i), Cols - i, lowest);
                largest = L.Max(largest, L.WhereLess(x, limits, x, lowest));
            }

            return L.MaxLane(largest);
        }
    }
}
