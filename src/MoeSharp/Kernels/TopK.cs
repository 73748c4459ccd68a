using System.Runtime.CompilerServices;

namespace MoeSharp.Kernels;

/// <summary>Selection of the largest values of a row.</summary>
public static unsafe class TopK
{
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

        // Every choice is the next in the order (value descending, column ascending) after the one before, so nothing need be
        // marked as taken: either the same value again further right, or the largest of all smaller values.
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public readonly void Run<L, V>(int begin, int end)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            for (int t = begin; t < end; t++)
            {
                float* row = Values + ((long)t * Cols);
                int* chosen = Indices + ((long)t * K);
                float value = float.PositiveInfinity;
                int column = -1;
                for (int slot = 0; slot < K; slot++)
                {
                    column = Find<L, V>(row, column + 1, value);
                    if (column == Cols)
                    {
                        value = LargestBelow<L, V>(row, value);
                        column = Find<L, V>(row, 0, value);
                    }

                    chosen[slot] = column;
                }
            }
        }

        // First column from `begin` on that holds the value; NaN counts as negative infinity.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private readonly int Find<L, V>(float* row, int begin, float value)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            int i = begin;
            if (value == float.NegativeInfinity)
            {
                while (i < Cols && row[i] > value)
                {
                    i++;
                }

                return i;
            }

            V values = L.Broadcast(value);
            for (; i <= Cols - L.Count; i += L.Count)
            {
                int lane = L.FirstEqual(L.Load(row + i), values);
                if (lane < L.Count)
                {
                    return i + lane;
                }
            }

            if (i < Cols)
            {
                int lane = L.FirstEqual(L.LoadFirst(row + i, Cols - i), values);
                return Math.Min(i + lane, Cols); // lanes behind the row hold 0 and may match, but stand behind all real ones
            }

            return Cols;
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
