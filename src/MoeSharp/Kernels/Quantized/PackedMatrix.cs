using MoeSharp.Kernels.Formats;

namespace MoeSharp.Kernels.Quantized;

/// <summary>Rows of every group that share a format.</summary>
/// <param name="Rows">Number of rows, in each group.</param>
/// <param name="Format">How they are stored.</param>
public readonly record struct PackedPart(int Rows, WeightFormat Format);

/// <summary>A stack of weight matrices [groups, rows, columns] in the layout that the products of <see cref="QuantizedMatMul"/> read.</summary>
/// <remarks>
/// A group's rows lie in parts, one after the other, each with its own format: a fused matrix of queries, keys and values may hold the
/// first two in q4_k and the last in q6_k. Inside a part rows are kept in strips of <see cref="RowGrain"/>; how a strip looks is the
/// business of its <see cref="StripLayout"/>. The content is undefined until rows are set.
/// </remarks>
public sealed unsafe class PackedMatrix : IDisposable
{
    /// <summary>Ranges of rows that different threads set must start at multiples of this within their part.</summary>
    public const int RowGrain = StripLayout.Rows;

    private readonly NativeBuffer _buffer;
    private readonly PackedPart[] _parts;

    /// <summary>Allocates the matrices.</summary>
    /// <param name="groups">Matrices in the stack; at least 1.</param>
    /// <param name="columns">Columns of every matrix; a whole number of blocks of every part's format.</param>
    /// <param name="parts">The rows of a group; at least one part.</param>
    /// <exception cref="ShapeException">The columns do not fill whole blocks.</exception>
    public PackedMatrix(int groups, int columns, params ReadOnlySpan<PackedPart> parts)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(groups, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(columns, 1);
        ArgumentOutOfRangeException.ThrowIfZero(parts.Length);
        (Groups, Columns, _parts) = (groups, columns, parts.ToArray());
        Strips = new StripPart[parts.Length];
        for (int part = 0; part < parts.Length; part++)
        {
            ArgumentOutOfRangeException.ThrowIfLessThan(parts[part].Rows, 1);
            _ = parts[part].Format.RowBytes(columns);
            StripLayout layout = StripLayouts.Of(parts[part].Format);
            StripPart strips = new(layout, Rows, parts[part].Rows, GroupBytes, layout.StripBytes(columns));
            Strips[part] = strips;
            Rows = checked(Rows + parts[part].Rows);
            GroupBytes = checked(GroupBytes + (strips.NumStrips * strips.StripBytes));
        }

        _buffer = new NativeBuffer(checked(groups * GroupBytes / sizeof(float)));
        ClearEnds();
    }

    /// <summary>Memory that one part of the rows takes, without allocating it.</summary>
    /// <param name="groups">Matrices in the stack.</param>
    /// <param name="columns">Columns of every matrix; a whole number of blocks of the part's format.</param>
    /// <param name="part">Rows of a group.</param>
    public static long BytesOf(int groups, int columns, PackedPart part)
    {
        StripLayout layout = StripLayouts.Of(part.Format);
        return checked(groups * (new StripPart(layout, 0, part.Rows, 0, 0).NumStrips * layout.StripBytes(columns)));
    }

    /// <summary>Matrices in the stack.</summary>
    public int Groups { get; }

    /// <summary>Rows of one matrix, all parts together.</summary>
    public int Rows { get; }

    /// <summary>Columns of one matrix.</summary>
    public int Columns { get; }

    /// <summary>Memory taken.</summary>
    public long Bytes => _buffer.Length * sizeof(float);

    /// <summary>The rows of a group.</summary>
    public IReadOnlyList<PackedPart> Parts => _parts;

    /// <summary>The memory of all groups.</summary>
    internal NativeBuffer Memory => _buffer;

    /// <summary>Where each part lies.</summary>
    internal StripPart[] Strips { get; }

    /// <summary>Bytes of one group.</summary>
    internal long GroupBytes { get; }

    /// <summary>Stores rows given in file order: every row is a run of blocks of the part's format.</summary>
    /// <param name="group">Matrix of the stack.</param>
    /// <param name="firstRow">First row, counted over all parts.</param>
    /// <param name="numRows">Rows; all in one part. Several threads may set ranges at once if each starts at a multiple of <see cref="RowGrain"/> within its part.</param>
    /// <param name="blocks">Their blocks.</param>
    /// <exception cref="ShapeException">The range leaves a part, or the blocks do not fit it.</exception>
    public void SetRows(int group, int firstRow, int numRows, ReadOnlySpan<byte> blocks)
    {
        StripPart part = FindPart(nameof(SetRows), group, firstRow, numRows, blocks.Length, out long rowBytes);
        fixed (byte* source = blocks)
        {
            for (int row = firstRow - part.FirstRow, done = 0; done < numRows;)
            {
                int lane = row % StripLayout.Rows;
                int count = Math.Min(StripLayout.Rows - lane, numRows - done);
                part.Layout.Pack(source + (done * rowBytes), rowBytes, lane, count, Columns, Strip(group, part, row));
                row += count;
                done += count;
            }
        }
    }

    /// <summary>Gives rows back in file order, byte for byte as they were set.</summary>
    /// <param name="group">Matrix of the stack.</param>
    /// <param name="firstRow">First row, counted over all parts.</param>
    /// <param name="numRows">Rows; all in one part.</param>
    /// <param name="blocks">= their blocks.</param>
    /// <exception cref="ShapeException">The range leaves a part, or the blocks do not fit it.</exception>
    public void GetRows(int group, int firstRow, int numRows, Span<byte> blocks)
    {
        StripPart part = FindPart(nameof(GetRows), group, firstRow, numRows, blocks.Length, out long rowBytes);
        fixed (byte* target = blocks)
        {
            for (int done = 0; done < numRows; done++)
            {
                int row = firstRow - part.FirstRow + done;
                part.Layout.Unpack(Strip(group, part, row), row % StripLayout.Rows, Columns, target + (done * rowBytes));
            }
        }
    }

    /// <summary>The exact values of a row.</summary>
    /// <param name="group">Matrix of the stack.</param>
    /// <param name="row">Row, counted over all parts.</param>
    /// <param name="values">= [columns].</param>
    /// <exception cref="ShapeException">The row does not exist, or the values do not fit it.</exception>
    public void DecodeRow(int group, int row, Span<float> values)
    {
        Require.Length(values.Length, Columns, nameof(DecodeRow), nameof(values));
        fixed (float* target = values)
        {
            DecodeRow(group, row, target);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _buffer.Dispose();

    /// <summary>As <see cref="DecodeRow(int, int, Span{float})"/>; room for the columns is the caller's promise.</summary>
    internal void DecodeRow(int group, int row, float* values)
    {
        StripPart part = FindPart(nameof(DecodeRow), group, row, 1, long.MaxValue, out _);
        row -= part.FirstRow;
        part.Layout.Decode(Strip(group, part, row), row % StripLayout.Rows, Columns, values);
    }

    /// <summary>Address of the strip that holds a row of a part.</summary>
    internal byte* Strip(int group, StripPart part, int row) =>
        (byte*)_buffer.Pointer + (group * GroupBytes) + part.Offset + (row / StripLayout.Rows * part.StripBytes);

    private StripPart FindPart(string operation, int group, int firstRow, int numRows, long length, out long rowBytes)
    {
        for (int index = 0; index < Strips.Length; index++)
        {
            StripPart part = Strips[index];
            if (firstRow >= part.FirstRow && numRows >= 0 && (long)firstRow + numRows <= part.FirstRow + part.NumRows && (uint)group < (uint)Groups)
            {
                rowBytes = _parts[index].Format.RowBytes(Columns);
                Require.Length(length, numRows * rowBytes, operation, "blocks");
                return part;
            }
        }

        ShapeException.Throw(operation, nameof(firstRow), $"rows within one part of [{Groups}, {Rows}, {Columns}]", $"group {group}, rows {firstRow} to {(long)firstRow + numRows}");
        rowBytes = 0;
        return default;
    }

    // The last strip of a part may have rows that do not exist. Products compute them, so they must at least be numbers.
    private void ClearEnds()
    {
        foreach (StripPart part in Strips)
        {
            for (int group = 0; group < Groups && part.NumRows % StripLayout.Rows != 0; group++)
            {
                new Span<byte>(Strip(group, part, part.NumRows), checked((int)part.StripBytes)).Clear();
            }
        }
    }
}

/// <summary>Where a part of a group lies.</summary>
/// <param name="Layout">How its strips look.</param>
/// <param name="FirstRow">First row in the group.</param>
/// <param name="NumRows">Rows.</param>
/// <param name="Offset">First byte in the group.</param>
/// <param name="StripBytes">Bytes of a strip.</param>
internal readonly record struct StripPart(StripLayout Layout, int FirstRow, int NumRows, long Offset, long StripBytes)
{
    /// <summary>Strips; the last may be short of rows.</summary>
    public int NumStrips => (NumRows + StripLayout.Rows - 1) / StripLayout.Rows;
}
