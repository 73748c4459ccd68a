using System.Buffers;
using System.Collections.Concurrent;
using System.Diagnostics;
using MoeSharp.Kernels.Formats;
using MoeSharp.Kernels.Quantized;
using MoeSharp.Tensors;

namespace MoeSharp.Checkpoints;

/// <summary>How far loading is.</summary>
/// <param name="BytesDone">Bytes of the model in memory that are filled.</param>
/// <param name="BytesTotal">All bytes of the model in memory.</param>
/// <param name="Elapsed">Time so far.</param>
public readonly record struct LoadProgress(long BytesDone, long BytesTotal, TimeSpan Elapsed)
{
    /// <summary>Bytes per second so far.</summary>
    public double Rate => Elapsed > TimeSpan.Zero ? BytesDone / Elapsed.TotalSeconds : 0;
}

/// <summary>How a model is loaded.</summary>
public sealed record LoadOptions
{
    /// <summary>Formats in memory.</summary>
    public WeightTarget Weights { get; init; } = WeightTarget.Float32;

    /// <summary>Threads that read, convert and pack.</summary>
    public int Threads { get; init; } = Environment.ProcessorCount;

    /// <summary>Told after every piece, from any thread; null for silence.</summary>
    public Action<LoadProgress>? Progress { get; init; }
}

/// <summary>Fills parameters from a checkpoint: reads, converts and packs row ranges on several threads, through a few buffers, with one copy of the model.</summary>
internal sealed class WeightLoader
{
    private const int PieceBytes = 1 << 19; // of a parameter in memory: reading, converting and packing stay in the second cache
    private const int TransposedPieceBytes = 1 << 25; // of a parameter whose rows are columns of the file: longer runs, fewer reads

    private const int WidestStep = 4; // rows from one row to the next up to which the rows between are read too

    private readonly IWeightSource _source;
    private readonly LoadOptions _options;
    private readonly IReadOnlyList<PlannedWeight> _plan;
    private readonly Dictionary<string, Parameter> _parameters;
    private readonly long _bytesTotal;
    private readonly long _start = Stopwatch.GetTimestamp();
    private long _bytesDone;

    private WeightLoader(IWeightSource source, IReadOnlyList<PlannedWeight> plan, IReadOnlyList<Parameter> parameters, LoadOptions options)
    {
        (_source, _plan, _options) = (source, plan, options);
        _parameters = parameters.ToDictionary(parameter => parameter.Name, StringComparer.Ordinal);
        _bytesTotal = plan.Sum(weight => weight.FilledBytes);
    }

    /// <summary>Loads every parameter as planned.</summary>
    /// <exception cref="OperationCanceledException">The token was cancelled; parameters are partly filled.</exception>
    public static void Load(IWeightSource source, IReadOnlyList<PlannedWeight> plan, IReadOnlyList<Parameter> parameters, LoadOptions options, CancellationToken cancel)
    {
        WeightLoader loader = new(source, plan, parameters, options);
        ParallelOptions parallel = new() { MaxDegreeOfParallelism = Math.Max(options.Threads, 1), CancellationToken = cancel };
        try
        {
            Parallel.ForEach(Partitioned(loader.Pieces()), parallel, loader.Fill);
        }
        catch (AggregateException exception) when (exception.InnerExceptions[0] is FileFormatException or IOException)
        {
            throw exception.InnerExceptions[0];
        }
    }

    // One piece at a time, so that all threads stay in the same region of the file.
    private static OrderablePartitioner<Piece> Partitioned(IEnumerable<Piece> pieces) =>
        Partitioner.Create(pieces, EnumerablePartitionerOptions.NoBuffering);

    // Memory is taken when a parameter's first piece is handed out, in order, by one thread at a time.
    private IEnumerable<Piece> Pieces()
    {
        foreach (PlannedWeight weight in _plan)
        {
            Parameter parameter = _parameters[weight.Name];
            if (weight.IsPacked)
            {
                parameter.Pack(new PackedMatrix(weight.Groups, weight.Columns, [.. weight.Parts]));
            }
            else
            {
                _ = parameter.Value;
            }

            bool isTransposed = weight.Columns > 1 && weight.Slices.Any(slice => !slice.HasContiguousRows);
            IReadOnlyList<PackedPart> parts = weight.IsPacked ? weight.Parts : [new PackedPart(weight.Rows, WeightFormat.F32)];
            for (int group = 0; group < weight.Groups; group++)
            {
                int first = 0;
                foreach (PackedPart part in parts)
                {
                    int step = Step(part.Format, weight.Columns, isTransposed ? TransposedPieceBytes : PieceBytes);
                    for (int row = 0; row < part.Rows; row += step)
                    {
                        yield return new Piece(weight, parameter, part.Format, group, first + row, Math.Min(step, part.Rows - row));
                    }

                    first += part.Rows;
                }
            }
        }
    }

    // Rows of a piece: whole strips, so that no two threads write one.
    private static int Step(WeightFormat format, int columns, int pieceBytes)
    {
        long rows = pieceBytes / Math.Max(1, columns * (long)format.BlockBytes() / format.BlockLength());
        return (int)Math.Clamp(rows / PackedMatrix.RowGrain * PackedMatrix.RowGrain, PackedMatrix.RowGrain, 1 << 20);
    }

    private void Fill(Piece piece)
    {
        PlannedWeight weight = piece.Weight;
        long first = ((long)piece.Group * weight.Rows) + piece.FirstRow;
        long end = first + piece.NumRows;
        for (int index = LoadPlan.FirstSlice(weight.Slices, first * weight.Columns); index < weight.Slices.Count && first < end; index++)
        {
            WeightSlice slice = weight.Slices[index];
            long sliceFirst = slice.FirstElement / weight.Columns; // a vector's slices have one column, a matrix' slices its columns: see CheckColumns
            int count = (int)Math.Min(end, sliceFirst + (slice.Length / weight.Columns)) - (int)first;
            FillRows(piece, slice, first - sliceFirst, (int)(first - ((long)piece.Group * weight.Rows)), count);
            first += count;
        }

        long done = Interlocked.Add(ref _bytesDone, piece.NumRows * (long)weight.Columns * piece.Format.BlockBytes() / piece.Format.BlockLength());
        _options.Progress?.Invoke(new LoadProgress(done, _bytesTotal, Stopwatch.GetElapsedTime(_start)));
    }

    private void FillRows(Piece piece, WeightSlice slice, long sliceRow, int row, int count)
    {
        WeightTensor tensor = _source.Find(slice.CheckpointName)!; // the table has been matched
        PlannedWeight weight = piece.Weight;
        int length = count * weight.Columns;
        if (!weight.IsPacked)
        {
            int at = checked((int)((((long)piece.Group * weight.Rows) + row) * weight.Columns));
            WeightRows.Read(_source, tensor, slice, sliceRow, piece.Parameter.Value.Slice(at, length));
            return;
        }

        int bytes = checked((int)(count * piece.Format.RowBytes(weight.Columns)));
        byte[] blocks = ArrayPool<byte>.Shared.Rent(bytes);
        if (tensor.Format == piece.Format && LoadPlan.CanCopy(tensor.Format, slice))
        {
            CopyBlocks(tensor, slice, sliceRow, count, blocks.AsSpan(0, bytes));
        }
        else
        {
            float[] values = ArrayPool<float>.Shared.Rent(length);
            WeightRows.Read(_source, tensor, slice, sliceRow, values.AsSpan(0, length));
            RowEncoder.Encode(_source.Description, tensor.Name, piece.Format, values.AsSpan(0, length), [], blocks.AsSpan(0, bytes));
            ArrayPool<float>.Shared.Return(values);
        }

        piece.Parameter.Packed!.SetRows(piece.Group, row, count, blocks.AsSpan(0, bytes)); // Pieces has packed it
        ArrayPool<byte>.Shared.Return(blocks);
    }

    private void CopyBlocks(WeightTensor tensor, WeightSlice slice, long firstRow, int count, Span<byte> blocks)
    {
        if (slice.IsContiguous)
        {
            _source.ReadBlocks(tensor, slice.SourceOffset + (firstRow * slice.SourceRowStep), (long)count * slice.NumColumns, blocks);
            return;
        }

        int rowBytes = blocks.Length / count;
        if (slice.SourceRowStep > WidestStep * slice.NumColumns)
        {
            for (int row = 0; row < count; row++)
            {
                _source.ReadBlocks(tensor, slice.SourceOffset + ((firstRow + row) * slice.SourceRowStep), slice.NumColumns, blocks.Slice(row * rowBytes, rowBytes));
            }

            return;
        }

        // Rows that take turns with others, as gate and up of gpt-oss: one read of both is twice as fast as a read for each row.
        long span = ((count - 1) * slice.SourceRowStep) + slice.NumColumns;
        int spanBytes = checked((int)tensor.Format.RowBytes(span));
        int stepBytes = (int)tensor.Format.RowBytes(slice.SourceRowStep);
        byte[] all = ArrayPool<byte>.Shared.Rent(spanBytes);
        _source.ReadBlocks(tensor, slice.SourceOffset + (firstRow * slice.SourceRowStep), span, all.AsSpan(0, spanBytes));
        for (int row = 0; row < count; row++)
        {
            all.AsSpan(row * stepBytes, rowBytes).CopyTo(blocks[(row * rowBytes)..]);
        }

        ArrayPool<byte>.Shared.Return(all);
    }

    private sealed record Piece(PlannedWeight Weight, Parameter Parameter, WeightFormat Format, int Group, int FirstRow, int NumRows);
}
