using MoeSharp.Kernels.Formats;
using MoeSharp.Tensors;

namespace MoeSharp.Checkpoints.Export;

/// <summary>Makes the stored bytes of a checkpoint's tensors out of another checkpoint, a few megabytes at a time.</summary>
/// <param name="reader">Parameters of the other checkpoint.</param>
/// <param name="shapes">Dimensions of the parameters.</param>
/// <param name="importance">Weights of the columns, or null for equal ones.</param>
/// <param name="threads">Threads that convert.</param>
internal sealed class TensorEncoder(ParameterReader reader, IReadOnlyDictionary<string, Shape> shapes, ColumnImportance? importance, int threads)
{
    private const int BatchLength = 1 << 22; // elements in memory at once, as floats
    private const int PieceLength = 1 << 17; // elements that a thread takes

    /// <summary>Receives bytes in the order of the file.</summary>
    public delegate void Sink<T>(ReadOnlySpan<T> values);

    /// <summary>Encodes a tensor.</summary>
    /// <param name="tensor">Tensor with its slices.</param>
    /// <param name="format">Stored format; fits the rows.</param>
    /// <param name="append">Receives the bytes.</param>
    /// <param name="cancel">Checked for every batch.</param>
    public void Encode(CheckpointTensor tensor, WeightFormat format, Sink<byte> append, CancellationToken cancel)
    {
        byte[] blocks = [];
        ForBatches(tensor, cancel, (columns, whole, first, count) =>
        {
            int rowBytes = (int)format.RowBytes(columns);
            Array.Resize(ref blocks, Math.Max(blocks.Length, count / columns * rowBytes));
            ForPieces(columns, count, (begin, length) =>
            {
                Span<byte> piece = blocks.AsSpan(begin / columns * rowBytes, length / columns * rowBytes);
                EncodePiece(tensor, whole, format, columns, first + begin, length, piece);
            });
            append(blocks.AsSpan(0, count / columns * rowBytes));
        });
    }

    /// <summary>Reads a tensor as floats.</summary>
    public void Read(CheckpointTensor tensor, Sink<float> append, CancellationToken cancel)
    {
        float[] values = [];
        ForBatches(tensor, cancel, (columns, whole, first, count) =>
        {
            Array.Resize(ref values, Math.Max(values.Length, count));
            ForPieces(columns, count, (begin, length) => ReadPiece(tensor, whole, first + begin, values.AsSpan(begin, length)));
            append(values.AsSpan(0, count));
        });
    }

    private void ForBatches(CheckpointTensor tensor, CancellationToken cancel, Action<int, float[]?, long, int> run)
    {
        int columns = checked((int)(tensor.Shape.Count == 0 ? 1 : tensor.Shape[^1]));
        float[]? whole = IsInOrder(tensor, columns) ? null : Gather(tensor);
        int batch = Math.Max(BatchLength / Math.Max(columns, 1), 1) * columns;
        for (long first = 0; first < tensor.Length; first += batch)
        {
            cancel.ThrowIfCancellationRequested();
            run(columns, whole, first, (int)Math.Min(batch, tensor.Length - first));
        }
    }

    private void ForPieces(int columns, int count, Action<int, int> run)
    {
        int piece = Math.Max(PieceLength / columns, 1) * columns;
        ParallelOptions options = new() { MaxDegreeOfParallelism = threads };
        try
        {
            Parallel.For(0, (count + piece - 1) / piece, options, index => run(index * piece, Math.Min(piece, count - (index * piece))));
        }
        catch (AggregateException exception) when (exception.InnerExceptions[0] is MoeSharpException or IOException)
        {
            throw exception.InnerExceptions[0];
        }
    }

    private void EncodePiece(CheckpointTensor tensor, float[]? whole, WeightFormat format, int columns, long first, int length, Span<byte> blocks)
    {
        WeightSlice slice = SliceAt(tensor, first);
        long within = first - slice.SourceOffset;
        if (whole is null && within + length <= slice.Length && reader.TryCopy(slice.ParameterName, slice.FirstElement + within, length, format, blocks))
        {
            return;
        }

        float[] values = new float[length];
        ReadPiece(tensor, whole, first, values);
        if (importance is null || whole is not null || slice.NumColumns != columns || format.BlockLength() == 1)
        {
            BlockEncoder.Encode(format, values, [], blocks);
            return;
        }

        EncodeByImportance(tensor, format, columns, first, values, blocks);
    }

    // Rows of different experts have different importances.
    private void EncodeByImportance(CheckpointTensor tensor, WeightFormat format, int columns, long first, float[] values, Span<byte> blocks)
    {
        int rowBytes = (int)format.RowBytes(columns);
        for (int done = 0; done < values.Length;)
        {
            WeightSlice slice = SliceAt(tensor, first + done);
            long within = first + done - slice.SourceOffset;
            long row = slice.FirstRow + (within / columns);
            int rows = shapes[slice.ParameterName] is { Rank: > 1 } shape ? shape[shape.Rank - 2] : int.MaxValue; // of one matrix
            int group = (int)(row / rows);
            int count = (int)Math.Min(Math.Min(values.Length - done, slice.Length - within), (((group + 1L) * rows) - row) * columns);
            float[] weights = importance!.Find(slice.ParameterName, group, columns); // EncodePiece has looked
            BlockEncoder.Encode(format, values.AsSpan(done, count), weights, blocks.Slice(done / columns * rowBytes, count / columns * rowBytes));
            done += count;
        }
    }

    private void ReadPiece(CheckpointTensor tensor, float[]? whole, long first, Span<float> values)
    {
        if (whole is not null)
        {
            whole.AsSpan(checked((int)first), values.Length).CopyTo(values);
            return;
        }

        for (int done = 0; done < values.Length;)
        {
            WeightSlice slice = SliceAt(tensor, first + done);
            long within = first + done - slice.SourceOffset;
            int count = (int)Math.Min(values.Length - done, slice.Length - within);
            reader.Read(slice.ParameterName, slice.FirstElement + within, values.Slice(done, count));
            done += count;
        }
    }

    private float[] Gather(CheckpointTensor tensor)
    {
        float[] whole = new float[checked((int)tensor.Length)];
        foreach (WeightSlice slice in tensor.Slices)
        {
            long step = Math.Max(PieceLength / slice.NumColumns, 1);
            for (long row = 0; row < slice.NumRows; row += step)
            {
                float[] values = new float[Math.Min(step, slice.NumRows - row) * slice.NumColumns];
                reader.Read(slice.ParameterName, slice.FirstElement + (row * slice.NumColumns), values);
                WeightRows.ScatterRows(slice, row, values, whole);
            }
        }

        return whole;
    }

    // Whether the slices are runs of whole rows of the tensor.
    private static bool IsInOrder(CheckpointTensor tensor, int columns) =>
        tensor.Slices.All(slice => slice.IsContiguous && (slice.NumColumns == columns || tensor.Shape.Count < 2));

    // Tensors of a table list their slices by place.
    private static WeightSlice SliceAt(CheckpointTensor tensor, long element)
    {
        int low = 0, high = tensor.Slices.Count - 1;
        while (low < high)
        {
            int middle = (low + high + 1) / 2;
            (low, high) = tensor.Slices[middle].SourceOffset <= element ? (middle, high) : (low, middle - 1);
        }

        return tensor.Slices[low];
    }
}
