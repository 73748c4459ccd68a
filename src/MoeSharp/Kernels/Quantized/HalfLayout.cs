using System.Runtime.CompilerServices;
using MoeSharp.Kernels.Formats;

namespace MoeSharp.Kernels.Quantized;

/// <summary>Strips of a format with a scale per half of a unit: scales, then codes, both 256 columns at a time.</summary>
internal sealed unsafe class HalfLayout<C>() : StripLayout(C.Format)
    where C : struct, IHalfCodes
{
    private const int MaxTokens = 4;

    /// <inheritdoc/>
    public override bool TakesBytes => true;

    /// <inheritdoc/>
    public override bool TakesRest => C.TakesRest;

    /// <inheritdoc/>
    public override long StripBytes(int columns) => CodesOffset(columns) + Lines((long)columns / UnitColumns * C.UnitBytes);

    /// <inheritdoc/>
    public override long CodesBegin(int columns) => CodesOffset(columns);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override void Pack(byte* rows, long rowBytes, int lane, int count, int columns, byte* strip)
    {
        byte* scales = strip, codes = strip + CodesBegin(columns);
        for (int block = 0; block < columns / Format.BlockLength(); block++)
        {
            for (int row = 0; row < count; row++)
            {
                C.Pack(rows + (row * rowBytes) + ((long)block * Format.BlockBytes()), scales, codes, lane + row);
            }

            scales += HalfScales.Bytes(C.HasMinimum);
            codes += HalfScales.Units * C.UnitBytes;
        }
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override void Unpack(byte* strip, int lane, int columns, byte* row)
    {
        byte* scales = strip, codes = strip + CodesBegin(columns);
        for (int block = 0; block < columns / Format.BlockLength(); block++)
        {
            C.Unpack(row + ((long)block * Format.BlockBytes()), scales, codes, lane);
            scales += HalfScales.Bytes(C.HasMinimum);
            codes += HalfScales.Units * C.UnitBytes;
        }
    }

    /// <inheritdoc/>
    public override void Multiply(UnitInstructions instructions, in StripProduct product) => UnitInstruction.Multiply<Kernel>(instructions, product);

    private readonly struct Kernel : IStripKernel
    {
        public static void Multiply<L, V, F>(in StripProduct product)
            where L : struct, IUnitLanes<V, F>
            where V : unmanaged
            where F : unmanaged
        {
            float* edge = stackalloc float[MaxTokens * Rows];
            ref readonly ByteRows rows = ref product.Rows;
            nint ldy = product.StrideY;
            long codesBegin = CodesOffset(rows.Units * UnitColumns);
            int numTiles = (rows.Count + MaxTokens - 1) / MaxTokens;
            for (int strip = 0; strip < product.NumStrips; strip++)
            {
                byte* start = product.Strips + (strip * product.StripBytes);
                byte* next = strip + 1 < product.NumStrips || product.Next == null ? start + product.StripBytes : product.Next;
                int width = Math.Min(product.Columns - (strip * Rows), Rows);
                for (int tile = 0, token = 0; tile < numTiles; tile++)
                {
                    int count = MatMulPacking.TileRows(rows.Count, numTiles, tile);
                    UnitOperands operands = new()
                    {
                        Scales0 = start,
                        Codes0 = start + codesBegin,
                        Units = rows.Units,
                        UnitBytes = rows.UnitBytes,
                        StripBytes = (nint)product.StripBytes,
                        Jump = (nint)(next - start - product.StripBytes),
                        AsksAhead = tile == 0,
                        X0 = rows.Row(token),
                    };
                    operands.X1 = count > 1 ? rows.Row(token + 1) : operands.X0;
                    operands.X2 = count > 2 ? rows.Row(token + 2) : operands.X0;
                    operands.X3 = count > 3 ? rows.Row(token + 3) : operands.X0;
                    float* target = product.Y + (token * ldy) + (strip * Rows);
                    for (int row = 0; row < Rows; row += L.Rows)
                    {
                        operands.Row = row;
                        Compute<L, V, F>(count, operands, (width == Rows ? target : edge) + row, width == Rows ? ldy : Rows);
                    }

                    for (int t = 0; t < count && width != Rows; t++)
                    {
                        new ReadOnlySpan<float>(edge + (t * Rows), width).CopyTo(new Span<float>(target + (t * ldy), width));
                    }

                    token += count;
                }
            }
        }
    }

    private static void Compute<L, V, F>(int tokens, in UnitOperands operands, float* y, nint ldy)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged
    {
        switch (tokens)
        {
            case 1: HalfTile<C, L, V, F>.Compute<Tokens1>(operands, y, ldy); break;
            case 2: HalfTile<C, L, V, F>.Compute<Tokens2>(operands, y, ldy); break;
            case 3: HalfTile<C, L, V, F>.Compute<Tokens3>(operands, y, ldy); break;
            default: HalfTile<C, L, V, F>.Compute<Tokens4>(operands, y, ldy); break;
        }
    }

    private static long CodesOffset(int columns) => Lines((long)columns / C.Format.BlockLength() * HalfScales.Bytes(C.HasMinimum));
}
