namespace MoeSharp.Kernels;

/// <summary>Moves between token order and expert order. A slot is one (token, k) pair, numbered token * topK + k.</summary>
public static class Permutation
{
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

        int[] next = offsets[..numExperts].ToArray();
        for (int slot = 0; slot < expertIds.Length; slot++)
        {
            int expert = expertIds[slot];
            slotRows[slot] = expert < 0 ? -1 : next[expert]++;
            if (expert >= 0)
            {
                rowSlots[slotRows[slot]] = slot;
            }
        }
    }

    /// <summary>y[t] (= or +=) the sum of rows <c>slotRows[t * topK + j]</c> of x over j in slot order; rows of -1 are skipped.</summary>
    public static void SumSlots(WorkerPool workers, int tokens, int topK, int cols, ReadOnlySpan<int> slotRows, ReadOnlySpan<float> x, Span<float> y, bool accumulate)
    {
        for (int t = 0; t < tokens; t++)
        {
            Span<float> row = y.Slice(t * cols, cols);
            if (!accumulate)
            {
                row.Clear();
            }

            for (int j = 0; j < topK; j++)
            {
                int source = slotRows[(t * topK) + j];
                for (int h = 0; source >= 0 && h < cols; h++)
                {
                    row[h] += x[(source * cols) + h];
                }
            }
        }
    }

    /// <summary>Copies rows: y[r] = x[index[r]].</summary>
    public static void GatherRows(WorkerPool workers, int rows, int cols, ReadOnlySpan<int> index, ReadOnlySpan<float> x, Span<float> y)
    {
        for (int r = 0; r < rows; r++)
        {
            x.Slice(index[r] * cols, cols).CopyTo(y[(r * cols)..]);
        }
    }

    /// <summary>y[index[r]] += x[r], in row order for every target: the gradient of a gather with repeated indices.</summary>
    public static void ScatterAddRows(WorkerPool workers, int rows, int cols, ReadOnlySpan<int> index, ReadOnlySpan<float> x, Span<float> y)
    {
        for (int r = 0; r < rows; r++)
        {
            for (int h = 0; h < cols; h++)
            {
                y[(index[r] * cols) + h] += x[(r * cols) + h];
            }
        }
    }
}
