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

    // One run of rows of one matrix after another: they may be stored in the format already, and different experts have different importances.
    private void EncodePiece(CheckpointTensor tensor, float[]? whole, WeightFormat format, int columns, long first, int length, Span<byte> blocks)
    {
        int rowBytes = (int)format.RowBytes(columns);
        float[] values = [];
        for (int done = 0; done < length;)
        {
            WeightSlice slice = SliceAt(tensor, first + done);
            long within = first + done - slice.SourceOffset;
            bool isRun = whole is null && slice.NumColumns == columns;
            long rowsLeft = 0;
            int group = isRun ? Group(slice, within / columns, out rowsLeft) : 0;
            int count = isRun ? (int)Math.Min(Math.Min(length - done, slice.Length - within), rowsLeft * columns) : length - done;
            Span<byte> target = blocks.Slice(done / columns * rowBytes, count / columns * rowBytes);
            if (!isRun || !reader.TryCopy(slice.ParameterName, slice.FirstElement + within, count, format, target))
            {
                Array.Resize(ref values, Math.Max(values.Length, count));
                ReadPiece(tensor, whole, first + done, values.AsSpan(0, count));
                float[] weights = isRun && format.BlockLength() > 1 && importance is not null ? importance.Find(slice.ParameterName, group, columns) : [];
                RowEncoder.Encode(reader.Description, tensor.Name, format, values.AsSpan(0, count), weights, target);
            }

            done += count;
        }
    }

    // The matrix of the parameter's stack in which a row of a slice lies, and how many of its rows are left.
    private int Group(WeightSlice slice, long row, out long rowsLeft)
    {
        Shape shape = shapes[slice.ParameterName];
        long rows = shape.Rank > 1 ? shape[shape.Rank - 2] : shape[0];
        (long group, long inside) = Math.DivRem(slice.FirstRow + row, rows);
        rowsLeft = rows - inside;
        return (int)group;
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
