namespace MoeSharp.Kernels;

/// <summary>Selection of the largest values of a row.</summary>
public static class TopK
{
    /// <summary>Writes the column indices of the <paramref name="k"/> largest values of each row, descending; ties go to the lowest index.</summary>
    public static void Select(WorkerPool workers, int rows, int cols, int k, ReadOnlySpan<float> values, Span<int> indices)
    {
        for (int t = 0; t < rows; t++)
        {
            Span<int> row = indices.Slice(t * k, k);
            for (int slot = 0; slot < k; slot++)
            {
                int best = -1;
                for (int i = 0; i < cols; i++)
                {
                    if (!row[..slot].Contains(i) && (best < 0 || values[(t * cols) + i] > values[(t * cols) + best]))
                    {
                        best = i;
                    }
                }

                row[slot] = best;
            }
        }
    }
}
