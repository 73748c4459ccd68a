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

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public readonly void Run<L, V>(int begin, int end)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            for (int t = begin; t < end; t++)
            {
                float* row = Values + ((long)t * Cols);
                int* chosen = Indices + ((long)t * K);
                for (int i = 0; i < K; i++)
                {
                    Insert(row, chosen, i, i);
                }

                // Columns come in rising order and must be strictly greater to displace: ties stay with the lowest index.
                int column = K;
                float least = Value(row, chosen[K - 1]);
                while (column < Cols)
                {
                    int last = Math.Min(column + L.Count, Cols);
                    if (last - column < L.Count || L.AnyGreater(L.Load(row + column), L.Broadcast(least)))
                    {
                        for (int i = column; i < last; i++)
                        {
                            if (Value(row, i) > least)
                            {
                                Insert(row, chosen, K - 1, i);
                                least = Value(row, chosen[K - 1]);
                            }
                        }
                    }

                    column = last;
                }
            }
        }

        // Puts a column into the descending list of the first `count` chosen, whose slot `count` is free or given up.
        private static void Insert(float* row, int* chosen, int count, int column)
        {
            float value = Value(row, column);
            int slot = count;
            while (slot > 0 && value > Value(row, chosen[slot - 1]))
            {
                chosen[slot] = chosen[slot - 1];
                slot--;
            }

            chosen[slot] = column;
        }

        private static float Value(float* row, int column) => float.IsNaN(row[column]) ? float.NegativeInfinity : row[column];
    }
}
