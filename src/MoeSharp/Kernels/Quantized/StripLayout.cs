using MoeSharp.Kernels.Formats;

namespace MoeSharp.Kernels.Quantized;

/// <summary>How sixteen rows of weights of one format lie in memory, and the product that reads them there.</summary>
internal abstract unsafe class StripLayout(WeightFormat format)
{
    /// <summary>Rows of a strip.</summary>
    public const int Rows = 16;

    /// <summary>Columns that share an activation scale.</summary>
    public const int UnitColumns = ByteRows.UnitColumns;

    private const int Line = 64; // bytes; strips start at cache lines
    private const int RowBytesOnStack = 32 * 1024;

    /// <summary>Format of the rows.</summary>
    public WeightFormat Format { get; } = format;

    /// <summary>Whether <see cref="Multiply"/> exists: products with activations of 8 bits.</summary>
    public virtual bool TakesBytes => false;

    /// <summary>Whether <see cref="Multiply"/> reads the pairs of <see cref="ByteRows"/>.</summary>
    public virtual bool TakesPairs(UnitInstructions instructions) => false;

    /// <summary>Whether products also take what rounding the activations left over, rounded itself: 16 bits, as two rows.</summary>
    public virtual bool TakesRest => false;

    /// <summary>Whether <see cref="Widen"/> and <see cref="MultiplyFew"/> exist: plain numbers, whose rows are interleaved.</summary>
    public virtual bool IsInterleaved => false;

    /// <summary>Bytes of a strip, a multiple of 64.</summary>
    public abstract long StripBytes(int columns);

    /// <summary>Where the codes of a strip start: bytes that are valid whatever they are. The strip's end where there are none.</summary>
    public virtual long CodesBegin(int columns) => StripBytes(columns);

    /// <summary>Stores rows given in file order.</summary>
    /// <param name="rows">First row's blocks.</param>
    /// <param name="rowBytes">Distance between rows.</param>
    /// <param name="lane">Where in the strip the first row goes.</param>
    /// <param name="count">Rows.</param>
    /// <param name="columns">Columns.</param>
    /// <param name="strip">The strip; other rows stay as they are.</param>
    public abstract void Pack(byte* rows, long rowBytes, int lane, int count, int columns, byte* strip);

    /// <summary>Gives one row back in file order.</summary>
    public abstract void Unpack(byte* strip, int lane, int columns, byte* row);

    /// <summary>The exact values of one row.</summary>
    public virtual void Decode(byte* strip, int lane, int columns, float* values)
    {
        int rowBytes = checked((int)Format.RowBytes(columns));
        Span<byte> row = rowBytes <= RowBytesOnStack ? stackalloc byte[rowBytes] : new byte[rowBytes];
        fixed (byte* target = row)
        {
            Unpack(strip, lane, columns, target);
        }

        BlockDecoder.Decode(Format, row, new Span<float>(values, columns));
    }

    /// <summary>y[r, 16 s + i] = activation row r times row i of strip s, in the arithmetic of <see cref="ByteRows"/>.</summary>
    public virtual void Multiply(UnitInstructions instructions, in StripProduct product) =>
        throw new NotSupportedException($"{Format} has no products with 8-bit activations"); // TakesBytes says so

    /// <summary>values[column, i] = exact value of column c of row i.</summary>
    /// <param name="strip">The strip.</param>
    /// <param name="columns">Columns of the rows.</param>
    /// <param name="values">= [columns, 16].</param>
    /// <param name="stride">Distance between columns in <paramref name="values"/>.</param>
    public virtual void Widen(byte* strip, int columns, float* values, nint stride) =>
        throw new NotSupportedException($"{Format} is not interleaved"); // IsInterleaved says so

    /// <summary>y[r, 16 s + i] = activation row r times row i of strip s, with the bits of a product with the widened weights. Reads the strips once per four rows.</summary>
    /// <param name="instructions">What to use; not <see cref="UnitInstructions.Portable"/>.</param>
    /// <param name="strips">First strip.</param>
    /// <param name="stripBytes">Distance between strips.</param>
    /// <param name="numStrips">Strips: one or two.</param>
    /// <param name="rows">Activations.</param>
    /// <param name="y">= outputs of the first row and strip.</param>
    /// <param name="ldy">Distance between output rows.</param>
    /// <param name="columns">Outputs per row: 16 times the strips, or less if the last strip is short.</param>
    public virtual void MultiplyFew(UnitInstructions instructions, byte* strips, long stripBytes, int numStrips, in FloatRows rows, float* y, nint ldy, int columns) =>
        throw new NotSupportedException($"{Format} is not interleaved"); // IsInterleaved says so

    /// <summary>Rounds up to whole cache lines.</summary>
    protected static long Lines(long bytes) => checked(bytes + Line - 1) / Line * Line;
}

/// <summary>Rows one after the other as they are in the file; products decode them.</summary>
internal sealed unsafe class RowLayout(WeightFormat format) : StripLayout(format)
{
    /// <inheritdoc/>
    public override long StripBytes(int columns) => Lines(checked(Rows * Format.RowBytes(columns)));

    /// <inheritdoc/>
    public override void Pack(byte* rows, long rowBytes, int lane, int count, int columns, byte* strip) =>
        Buffer.MemoryCopy(rows, strip + (lane * rowBytes), count * rowBytes, count * rowBytes);

    /// <inheritdoc/>
    public override void Unpack(byte* strip, int lane, int columns, byte* row)
    {
        long rowBytes = Format.RowBytes(columns);
        Buffer.MemoryCopy(strip + (lane * rowBytes), row, rowBytes, rowBytes);
    }

    /// <inheritdoc/>
    public override void Decode(byte* strip, int lane, int columns, float* values)
    {
        int rowBytes = checked((int)Format.RowBytes(columns));
        BlockDecoder.Decode(Format, new ReadOnlySpan<byte>(strip + ((long)lane * rowBytes), rowBytes), new Span<float>(values, columns));
    }
}

/// <summary>The layout of every format.</summary>
internal static class StripLayouts
{
    private static readonly StripLayout[] s_layouts = [.. Enum.GetValues<WeightFormat>().Select(Create)];

    /// <summary>The layout of a format.</summary>
    public static StripLayout Of(WeightFormat format) => s_layouts[(int)format];

    private static StripLayout Create(WeightFormat format) => format switch
    {
        WeightFormat.Q8_0 => new UnitLayout<UnitCodes<HalfScale, ByteBits>>(format),
        WeightFormat.Q4_0 => new UnitLayout<UnitCodes<HalfScale, NibbleBits>>(format),
        WeightFormat.Q4_1 => new UnitLayout<UnitCodes<HalfScaleAndMinimum, NibbleBits>>(format),
        WeightFormat.Q5_0 => new UnitLayout<UnitCodes<HalfScale, FiveBits>>(format),
        WeightFormat.Q5_1 => new UnitLayout<UnitCodes<HalfScaleAndMinimum, FiveBits>>(format),
        WeightFormat.Q4K => new UnitLayout<UnitCodes<SixBitScales, PairedNibbleBits>>(format),
        WeightFormat.Q5K => new UnitLayout<UnitCodes<SixBitScales, PairedFiveBits>>(format),
        WeightFormat.IQ4NL => new UnitLayout<UnitCodes<HalfScale, LadderBits<UnevenLadder>>>(format),
        WeightFormat.IQ4XS => new UnitLayout<UnitCodes<CenteredScales, EachUnit<LadderBits<UnevenLadder>>>>(format),
        WeightFormat.MXFP4 => new UnitLayout<UnitCodes<PowerScale, LadderBits<FloatLadder>>>(format),
        WeightFormat.Q6K => new HalfLayout<Q6KCodes>(),
        WeightFormat.Q3K => new HalfLayout<Q3KCodes>(),
        WeightFormat.Q2K => new HalfLayout<Q2KCodes>(),
        WeightFormat.BF16 => new PlainLayout<BFloat16Weights>(format),
        WeightFormat.F16 => new PlainLayout<Float16Weights>(format),
        WeightFormat.F32 => new PlainLayout<Float32Weights>(format),
        _ => new RowLayout(format),
    };
}
