namespace MoeSharp.Checkpoints;

/// <summary>Moves elements between tensors of a checkpoint and rows of parameters, as a <see cref="WeightSlice"/> maps them.</summary>
internal static class WeightRows
{
    private const int LongestPiece = 1 << 14; // elements read at once where they do not lie together

    /// <summary>Reads rows of a slice as floats.</summary>
    /// <param name="source">Checkpoint.</param>
    /// <param name="tensor">The slice's tensor.</param>
    /// <param name="slice">Slice.</param>
    /// <param name="firstRow">First row within the slice.</param>
    /// <param name="values">= rows, a whole number of them.</param>
    public static void Read(IWeightSource source, WeightTensor tensor, WeightSlice slice, long firstRow, Span<float> values)
    {
        int columns = slice.NumColumns;
        int rows = values.Length / columns;
        long begin = slice.SourceOffset + (firstRow * slice.SourceRowStep);
        if (slice.IsContiguous)
        {
            source.ReadFloats(tensor, begin, values);
        }
        else if (slice.HasContiguousRows && columns > 1)
        {
            for (int row = 0; row < rows; row++)
            {
                source.ReadFloats(tensor, begin + (row * slice.SourceRowStep), values.Slice(row * columns, columns));
            }
        }
        else if (slice.SourceRowStep <= slice.SourceColumnStep || columns == 1)
        {
            // Neighbours in the file are neighbouring rows here.
            ReadLines(source, tensor, new Lines(begin, columns, slice.SourceColumnStep, 1), new Lines(0, rows, slice.SourceRowStep, columns), values);
        }
        else
        {
            ReadLines(source, tensor, new Lines(begin, rows, slice.SourceRowStep, columns), new Lines(0, columns, slice.SourceColumnStep, 1), values);
        }
    }

    /// <summary>Puts the elements of a parameter that a slice covers into their places in a tensor.</summary>
    /// <param name="slice">Slice.</param>
    /// <param name="parameter">The whole parameter.</param>
    /// <param name="tensor">= the slice's elements of the tensor; others are left as they are.</param>
    public static void Scatter(WeightSlice slice, ReadOnlySpan<float> parameter, Span<float> tensor) =>
        ScatterRows(slice, 0, parameter.Slice(checked((int)slice.FirstElement), checked((int)slice.Length)), tensor);

    /// <summary>Puts some rows of a slice into their places in a tensor.</summary>
    /// <param name="slice">Slice.</param>
    /// <param name="firstRow">First row within the slice.</param>
    /// <param name="rows">Elements of whole rows.</param>
    /// <param name="tensor">= those elements of the tensor; others are left as they are.</param>
    public static void ScatterRows(WeightSlice slice, long firstRow, ReadOnlySpan<float> rows, Span<float> tensor)
    {
        long begin = slice.SourceOffset + (firstRow * slice.SourceRowStep);
        if (slice.IsContiguous)
        {
            rows.CopyTo(tensor[checked((int)begin)..]);
            return;
        }

        for (int element = 0; element < rows.Length; element++)
        {
            (int row, int column) = Math.DivRem(element, slice.NumColumns);
            tensor[checked((int)(begin + (row * slice.SourceRowStep) + (column * slice.SourceColumnStep)))] = rows[element];
        }
    }

    // Reads each outer line in pieces of the file and spreads every step-th element.
    private static void ReadLines(IWeightSource source, WeightTensor tensor, Lines outer, Lines inner, Span<float> values)
    {
        int piece = (int)Math.Clamp(LongestPiece / inner.SourceStep, 1, inner.Count);
        float[] buffer = new float[checked((int)(((piece - 1) * inner.SourceStep) + 1))];
        for (int line = 0; line < outer.Count; line++)
        {
            for (int first = 0; first < inner.Count; first += piece)
            {
                int count = Math.Min(piece, inner.Count - first);
                Span<float> read = buffer.AsSpan(0, (int)(((count - 1) * inner.SourceStep) + 1));
                source.ReadFloats(tensor, outer.Begin + (line * outer.SourceStep) + (first * inner.SourceStep), read);
                for (int i = 0; i < count; i++)
                {
                    values[(line * outer.TargetStep) + ((first + i) * inner.TargetStep)] = read[(int)(i * inner.SourceStep)];
                }
            }
        }
    }

    private readonly record struct Lines(long Begin, int Count, long SourceStep, int TargetStep);
}
