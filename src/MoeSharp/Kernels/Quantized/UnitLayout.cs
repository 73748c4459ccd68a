using System.Runtime.CompilerServices;
using MoeSharp.Kernels.Formats;

namespace MoeSharp.Kernels.Quantized;

/// <summary>Strips of a format with one scale per unit: scales, then codes, both unit by unit.</summary>
internal sealed unsafe class UnitLayout<C>(WeightFormat format) : StripLayout(format)
    where C : struct, IUnitCodes
{
    private const int FewTokens = 4;
    private const int MaxTokens = 8;
    private const int PairRows = 2 * Rows;

    /// <inheritdoc/>
    public override bool TakesBytes => true;

    /// <inheritdoc/>
    public override bool TakesPairs(UnitInstructions instructions) =>
        C.Size == CodeSize.Wide && instructions is UnitInstructions.Avx2 or UnitInstructions.Avx512;

    /// <inheritdoc/>
    public override long StripBytes(int columns) => CodesOffset(columns) + Lines((long)columns / UnitColumns * C.UnitBytes);

    /// <inheritdoc/>
    public override long CodesBegin(int columns) => CodesOffset(columns);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override void Pack(byte* rows, long rowBytes, int lane, int count, int columns, byte* strip)
    {
        nint blocks = columns / Format.BlockLength();
        int blockBytes = Format.BlockBytes();
        byte* codes = strip + CodesOffset(columns);
        for (nint block = 0; block < blocks; block++)
        {
            for (int row = 0; row < count; row++)
            {
                C.Pack(rows + (row * rowBytes) + (block * blockBytes), block, strip, codes, lane + row);
            }
        }
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override void Unpack(byte* strip, int lane, int columns, byte* row)
    {
        nint blocks = columns / Format.BlockLength();
        int blockBytes = Format.BlockBytes();
        byte* codes = strip + CodesOffset(columns);
        for (nint block = 0; block < blocks; block++)
        {
            C.Unpack(row + (block * blockBytes), block, strip, codes, lane);
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
            long codesOffset = CodesOffset(product.Rows.Units * UnitColumns);
            for (int strip = 0; strip < product.NumStrips; strip += 2)
            {
                byte* first = product.Strips + (strip * product.StripBytes);
                bool areTwo = strip + 1 < product.NumStrips;
                byte* second = areTwo ? first + product.StripBytes : first;
                byte* next = strip + 2 < product.NumStrips || product.Next == null ? second + product.StripBytes : product.Next;
                UnitOperands operands = new()
                {
                    Scales0 = first,
                    Codes0 = first + codesOffset,
                    Scales1 = second,
                    Codes1 = second + codesOffset,
                    Units = product.Rows.Units,
                    UnitBytes = product.Rows.UnitBytes,
                    StripBytes = (nint)product.StripBytes,
                    Jump = (nint)(next - first - product.StripBytes),
                };
                MultiplyStrips<L, V, F>(ref operands, areTwo, product.Rows, product.Y + (strip * Rows), product.StrideY, Math.Min(product.Columns - (strip * Rows), areTwo ? PairRows : Rows));
            }
        }
    }

    // Eight rows at a time, where the registers allow it, read a strip and unpack it half as often as four; the rest goes four at a time
    // through both strips, which then share the activations.
    private static void MultiplyStrips<L, V, F>(ref UnitOperands operands, bool areTwo, in ByteRows rows, float* y, nint ldy, int columns)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged
    {
        int token = 0;
        while (L.Rows == Rows && rows.Count - token >= MaxTokens && columns == (areTwo ? PairRows : Rows))
        {
            Point(ref operands, rows, token, MaxTokens);
            operands.AsksAhead = token == 0;
            UnitOperands one = operands;
            one.Jump = areTwo ? 0 : operands.Jump; // the second strip is behind the first
            UnitTile<C, L, V, F>.Compute<Tokens4, SecondRows>(one, y + (token * ldy), ldy);
            if (areTwo)
            {
                UnitOperands other = operands;
                other.Scales0 = operands.Scales1;
                other.Codes0 = operands.Codes1;
                other.Jump = operands.Jump - operands.StripBytes;
                UnitTile<C, L, V, F>.Compute<Tokens4, SecondRows>(other, y + (token * ldy) + Rows, ldy);
            }

            token += MaxTokens;
        }

        if (token < rows.Count)
        {
            MultiplyFew<L, V, F>(ref operands, areTwo, rows, token, y, ldy, columns);
        }
    }

    private static void MultiplyFew<L, V, F>(ref UnitOperands operands, bool areTwo, in ByteRows rows, int token, float* y, nint ldy, int columns)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged
    {
        float* edge = stackalloc float[FewTokens * PairRows];
        bool isWhole = columns == (areTwo ? PairRows : Rows);
        int left = rows.Count - token;
        int numTiles = (left + FewTokens - 1) / FewTokens;
        for (int tile = 0; tile < numTiles; tile++)
        {
            int count = MatMulPacking.TileRows(left, numTiles, tile);
            Point(ref operands, rows, token, count);
            operands.AsksAhead = token == 0;
            float* target = y + (token * ldy);
            for (int row = 0; row < Rows; row += L.Rows)
            {
                operands.Row = row;
                Compute<L, V, F>(count, areTwo, operands, (isWhole ? target : edge) + row, isWhole ? ldy : PairRows);
            }

            for (int t = 0; t < count && !isWhole; t++)
            {
                new ReadOnlySpan<float>(edge + (t * PairRows), columns).CopyTo(new Span<float>(target + (t * ldy), columns));
            }

            token += count;
        }
    }

    private static void Point(ref UnitOperands operands, in ByteRows rows, int token, int count)
    {
        operands.X0 = rows.Row(token);
        operands.X1 = count > 1 ? rows.Row(token + 1) : operands.X0;
        operands.X2 = count > 2 ? rows.Row(token + 2) : operands.X0;
        operands.X3 = count > 3 ? rows.Row(token + 3) : operands.X0;
        if (count == MaxTokens)
        {
            operands.X4 = rows.Row(token + 4);
            operands.X5 = rows.Row(token + 5);
            operands.X6 = rows.Row(token + 6);
            operands.X7 = rows.Row(token + 7);
        }
    }

    private static void Compute<L, V, F>(int tokens, bool areTwo, in UnitOperands operands, float* y, nint ldy)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged
    {
        switch (tokens)
        {
            case 1 when !areTwo: UnitTile<C, L, V, F>.Compute<Tokens1, NoSecond>(operands, y, ldy); break;
            case 2 when !areTwo: UnitTile<C, L, V, F>.Compute<Tokens2, NoSecond>(operands, y, ldy); break;
            case 3 when !areTwo: UnitTile<C, L, V, F>.Compute<Tokens3, NoSecond>(operands, y, ldy); break;
            case 4 when !areTwo: UnitTile<C, L, V, F>.Compute<Tokens4, NoSecond>(operands, y, ldy); break;
            case 1: UnitTile<C, L, V, F>.Compute<Tokens1, SecondStrip>(operands, y, ldy); break;
            case 2: UnitTile<C, L, V, F>.Compute<Tokens2, SecondStrip>(operands, y, ldy); break;
            case 3: UnitTile<C, L, V, F>.Compute<Tokens3, SecondStrip>(operands, y, ldy); break;
            default: UnitTile<C, L, V, F>.Compute<Tokens4, SecondStrip>(operands, y, ldy); break;
        }
    }

    private static long CodesOffset(int columns) => Lines(C.ScaleBytes(columns / UnitColumns));
}
