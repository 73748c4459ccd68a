using MoeSharp.Kernels.Formats;
using MoeSharp.Tensors;

namespace MoeSharp.Checkpoints.Export;

/// <summary>Makes the stored bytes of a checkpoint's tensors out of another checkpoint.</summary>
/// <remarks>
/// A tensor whose rows are rows of parameters in their order goes through a few megabytes at a time. Otherwise the elements that lie among each other are put together in
/// memory first: the rows of a few heads, or one expert's matrix, never a whole stack of them.
/// </remarks>
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
    /// <param name="tensor">Tensor with its slices, by place.</param>
    /// <param name="format">Stored format; fits the rows.</param>
    /// <param name="append">Receives the bytes.</param>
    /// <param name="cancel">Checked for every batch.</param>
    public void Encode(CheckpointTensor tensor, WeightFormat format, Sink<byte> append, CancellationToken cancel)
    {
        byte[] blocks = [];
        ForBatches(tensor, cancel, (columns, gathered, first, count) =>
        {
            int rowBytes = (int)format.RowBytes(columns);
            Array.Resize(ref blocks, Math.Max(blocks.Length, count / columns * rowBytes));
            ForPieces(columns, count, (begin, length) =>
            {
                Span<byte> piece = blocks.AsSpan(begin / columns * rowBytes, length / columns * rowBytes);
                EncodePiece(tensor, gathered, format, columns, first + begin, length, piece);
            });
            append(blocks.AsSpan(0, count / columns * rowBytes));
        });
    }

    /// <summary>Reads a tensor as floats.</summary>
    public void Read(CheckpointTensor tensor, Sink<float> append, CancellationToken cancel)
    {
        float[] values = [];
        ForBatches(tensor, cancel, (columns, gathered, first, count) =>
        {
            Array.Resize(ref values, Math.Max(values.Length, count));
            ForPieces(columns, count, (begin, length) => ReadPiece(tensor, gathered, first + begin, values.AsSpan(begin, length)));
            append(values.AsSpan(0, count));
        });
    }

    /// <summary>The ranges of a tensor that are put together in memory, one at a time: whole rows, whole slices, no longer than need be.</summary>
    /// <param name="tensor">Tensor with its slices, by place.</param>
    internal static IEnumerable<TensorRange> Ranges(CheckpointTensor tensor)
    {
        int columns = Columns(tensor);
        long first = 0, end = 0;
        int firstSlice = 0;
        for (int index = 0; index < tensor.Slices.Count; index++)
        {
            WeightSlice slice = tensor.Slices[index];
            bool isCut = slice.SourceOffset >= end && end % columns == 0 && end - first >= BatchLength;
            if (isCut)
            {
                yield return new TensorRange(first, end, firstSlice, index);
                (first, firstSlice) = (end, index);
            }

            end = Math.Max(end, slice.SourceOffset + ((slice.NumRows - 1) * slice.SourceRowStep) + ((slice.NumColumns - 1) * slice.SourceColumnStep) + 1);
        }

        yield return new TensorRange(first, tensor.Length, firstSlice, tensor.Slices.Count);
    }

    private void ForBatches(CheckpointTensor tensor, CancellationToken cancel, Action<int, GatheredRange?, long, int> run)
    {
        int columns = Columns(tensor);
        bool isInOrder = IsInOrder(tensor, columns);
        int batch = Math.Max(BatchLength / Math.Max(columns, 1), 1) * columns;
        foreach (TensorRange range in isInOrder ? [new TensorRange(0, tensor.Length, 0, tensor.Slices.Count)] : Ranges(tensor))
        {
            GatheredRange? gathered = isInOrder ? null : Gather(tensor, range, columns, cancel);
            for (long first = range.First; first < range.End; first += batch)
            {
                cancel.ThrowIfCancellationRequested();
                run(columns, gathered, first, (int)Math.Min(batch, range.End - first));
            }
        }
    }

    private void ForPieces(int columns, int count, Action<int, int> run)
    {
        int piece = Math.Max(PieceLength / columns, 1) * columns;
        InParallel((count + piece - 1) / piece, index => run(index * piece, Math.Min(piece, count - (index * piece))));
    }

    private void InParallel(int count, Action<int> run)
    {
        try
        {
            Parallel.For(0, count, new ParallelOptions { MaxDegreeOfParallelism = threads }, run);
        }
        catch (AggregateException exception) when (exception.InnerExceptions[0] is MoeSharpException or IOException)
        {
            throw exception.InnerExceptions[0];
        }
    }

    // One run of rows of one matrix after another: they may be stored in the format already, and different experts have different importances.
    private void EncodePiece(CheckpointTensor tensor, GatheredRange? gathered, WeightFormat format, int columns, long first, int length, Span<byte> blocks)
    {
        int rowBytes = (int)format.RowBytes(columns);
        float[] values = [];
        for (int done = 0; done < length;)
        {
            RowRun run = gathered is null ? RunAt(tensor, columns, first + done, length - done) : gathered.RunAt(first + done, length - done);
            Span<byte> target = blocks.Slice(done / columns * rowBytes, run.Length / columns * rowBytes);
            if (gathered is not null || run.Parameter is null || !reader.TryCopy(run.Parameter, run.FirstElement, run.Length, format, target))
            {
                Array.Resize(ref values, Math.Max(values.Length, run.Length));
                ReadPiece(tensor, gathered, first + done, values.AsSpan(0, run.Length));
                float[] weights = run.Parameter is not null && format.BlockLength() > 1 && importance is not null ? importance.Find(run.Parameter, run.Group, columns) : [];
                RowEncoder.Encode(reader.Description, tensor.Name, format, values.AsSpan(0, run.Length), weights, target);
            }

            done += run.Length;
        }
    }

    // Rows of one matrix, which lie in a slice as they lie in the tensor.
    private RowRun RunAt(CheckpointTensor tensor, int columns, long element, int most)
    {
        WeightSlice slice = SliceAt(tensor, element);
        if (slice.NumColumns != columns)
        {
            return new RowRun(null, 0, 0, most); // a vector
        }

        long within = element - slice.SourceOffset;
        int group = Group(slice, within / columns, out long rowsLeft);
        return new RowRun(slice.ParameterName, group, slice.FirstElement + within, (int)Math.Min(Math.Min(most, slice.Length - within), rowsLeft * columns));
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

    private void ReadPiece(CheckpointTensor tensor, GatheredRange? gathered, long first, Span<float> values)
    {
        if (gathered is not null)
        {
            gathered.Values.AsSpan((int)(first - gathered.First), values.Length).CopyTo(values);
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

    private GatheredRange Gather(CheckpointTensor tensor, TensorRange range, int columns, CancellationToken cancel)
    {
        GatheredRange gathered = new(range.First, new float[checked((int)(range.End - range.First))], columns);
        for (int index = range.FirstSlice; index < range.EndSlice; index++)
        {
            cancel.ThrowIfCancellationRequested();
            WeightSlice slice = tensor.Slices[index] with { SourceOffset = tensor.Slices[index].SourceOffset - range.First };
            int step = Math.Max(PieceLength / slice.NumColumns, 1);
            InParallel((int)((slice.NumRows + step - 1) / step), piece =>
            {
                long row = (long)piece * step;
                float[] values = new float[Math.Min(step, slice.NumRows - row) * slice.NumColumns];
                reader.Read(slice.ParameterName, slice.FirstElement + (row * slice.NumColumns), values);
                WeightRows.ScatterRows(slice, row, values, gathered.Values);
            });
            NoteRows(gathered, slice, columns);
        }

        return gathered;
    }

    // Rows of the tensor that are rows of a parameter, though in another order, keep the importances of its columns.
    private void NoteRows(GatheredRange gathered, WeightSlice slice, int columns)
    {
        if (slice.NumColumns != columns || !slice.HasContiguousRows || slice.SourceOffset % columns != 0 || slice.SourceRowStep % columns != 0)
        {
            return;
        }

        for (long row = 0; row < slice.NumRows; row++)
        {
            gathered.Owners[(slice.SourceOffset + (row * slice.SourceRowStep)) / columns] = (slice.ParameterName, Group(slice, row, out _));
        }
    }

    // Whether the slices are runs of whole rows of the tensor.
    private static bool IsInOrder(CheckpointTensor tensor, int columns) =>
        tensor.Slices.All(slice => slice.IsContiguous && (slice.NumColumns == columns || tensor.Shape.Count < 2));

    private static int Columns(CheckpointTensor tensor) => checked((int)(tensor.Shape.Count == 0 ? 1 : tensor.Shape[^1]));

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

    /// <summary>Elements of a tensor, and the slices that fill them.</summary>
    internal readonly record struct TensorRange(long First, long End, int FirstSlice, int EndSlice);

    // Elements of a tensor that have one importance: that of a matrix of a parameter, or equal weights.
    private readonly record struct RowRun(string? Parameter, int Group, long FirstElement, int Length);

    // Elements of a tensor put together, and of which matrix each of its rows is one.
    private sealed record GatheredRange(long First, float[] Values, int Columns)
    {
        public (string? Parameter, int Group)[] Owners { get; } = new (string?, int)[Values.Length / Columns];

        public RowRun RunAt(long element, int most)
        {
            int first = (int)((element - First) / Columns), row = first + 1;
            while (row < Owners.Length && row - first < most / Columns && Owners[row] == Owners[first])
            {
                row++;
            }

            return new RowRun(Owners[first].Parameter, Owners[first].Group, 0, (row - first) * Columns);
        }
    }
}
