using System.Runtime.Intrinsics;
using MoeSharp.Kernels.Formats;

namespace MoeSharp.Kernels.Quantized;

/// <summary>Activation rows as they are.</summary>
internal unsafe struct FloatRows
{
    /// <summary>First row.</summary>
    public float* Values;

    /// <summary>Distance between stored rows.</summary>
    public nint Stride;

    /// <summary>Row r stands at stored row Gather[r]; null means row r itself.</summary>
    public int* Gather;

    /// <summary>First row of the product.</summary>
    public int First;

    /// <summary>Rows of the product.</summary>
    public int Count;

    /// <summary>Columns.</summary>
    public int Columns;

    /// <summary>The i-th row of the product, or its last where there is no such row.</summary>
    public readonly float* Row(int i)
    {
        int row = First + Math.Min(i, Count - 1);
        return Values + ((Gather == null ? row : Gather[row]) * Stride);
    }
}

/// <summary>Plain numbers, interleaved: [columns, 16 rows]. A strip read from its first byte to its last is the sum of sixteen outputs.</summary>
internal sealed unsafe class PlainLayout<W>(WeightFormat format) : StripLayout(format)
    where W : struct, IPlainWeights
{
    private const int PairRows = 2 * Rows;
    private const int MaxTokens = 4;

    private static int Step => Rows * W.Bytes;

    /// <inheritdoc/>
    public override bool IsInterleaved => true;

    /// <inheritdoc/>
    public override long StripBytes(int columns) => Lines(checked((long)columns * Step));

    /// <inheritdoc/>
    public override void Pack(byte* rows, long rowBytes, int lane, int count, int columns, byte* strip)
    {
        if (W.Bytes == sizeof(ushort))
        {
            Interleave.Pack((ushort*)rows, (nint)rowBytes / sizeof(ushort), count, columns, (ushort*)strip + lane);
        }
        else
        {
            float** sources = stackalloc float*[Rows];
            for (int row = 0; row < count; row++)
            {
                sources[row] = (float*)(rows + (row * rowBytes));
            }

            MatMulPacking.TransposeRows((float*)strip + lane, Rows, sources, sources, count, columns);
        }
    }

    /// <inheritdoc/>
    public override void Unpack(byte* strip, int lane, int columns, byte* row)
    {
        for (nint column = 0; column < columns; column++)
        {
            nint at = (column * Rows) + lane;
            if (W.Bytes == sizeof(ushort))
            {
                ((ushort*)row)[column] = ((ushort*)strip)[at];
            }
            else
            {
                ((uint*)row)[column] = ((uint*)strip)[at];
            }
        }
    }

    /// <inheritdoc/>
    public override void Widen(byte* strip, int columns, float* values, nint stride)
    {
        for (nint column = 0; column < columns; column++, strip += Step, values += stride)
        {
            if (PlainWide256.IsSupported)
            {
                PlainWide256.Put(values, W.Load256(strip), false);
                PlainWide256.Put(values + (Rows / 2), W.Load256(strip + (Step / 2)), false);
            }
            else
            {
                W.Read(new ReadOnlySpan<byte>(strip, Step), new Span<float>(values, Rows));
            }
        }
    }

    /// <inheritdoc/>
    public override void MultiplyFew(UnitInstructions instructions, byte* strips, long stripBytes, int numStrips, in FloatRows rows, float* y, nint ldy, int columns)
    {
        if (PlainWide512.IsSupported && instructions is UnitInstructions.Avx512 or UnitInstructions.Vnni)
        {
            MultiplyPair(strips, stripBytes, numStrips, rows, y, ldy, columns);
            return;
        }

        for (int strip = 0; strip < numStrips; strip++)
        {
            MultiplyStrip(strips + (strip * stripBytes), rows, y + (strip * Rows), ldy, Math.Min(columns - (strip * Rows), Rows));
        }
    }

    // A vector per strip.
    private static void MultiplyPair(byte* strips, long stripBytes, int numStrips, in FloatRows rows, float* y, nint ldy, int columns)
    {
        float* edge = stackalloc float[MaxTokens * PairRows];
        bool isWhole = columns == numStrips * Rows;
        bool areTwo = numStrips == 2;
        PlainOperands o = default;
        int block = MatMulProduct.BlockOf(rows.Columns);
        for (int begin = 0; begin < rows.Columns; begin += block)
        {
            o.Depth = Math.Min(block, rows.Columns - begin);
            o.W0 = strips + ((nint)begin * Step);
            o.W1 = areTwo ? o.W0 + stripBytes : o.W0;
            for (int token = 0; token < rows.Count; token += MaxTokens)
            {
                int count = Math.Min(MaxTokens, rows.Count - token);
                float* target = y + (token * ldy);
                Point(ref o, rows, token, begin);
                if (isWhole)
                {
                    Compute<PlainWide512, Vector512<float>>(count, areTwo, o, target, target + Rows, ldy, begin > 0);
                }
                else
                {
                    Compute<PlainWide512, Vector512<float>>(count, areTwo, o, edge, edge + Rows, PairRows, false);
                    CopyEdge(edge, count, columns, target, ldy, begin > 0);
                }
            }
        }
    }

    // Two vectors per strip.
    private static void MultiplyStrip(byte* strip, in FloatRows rows, float* y, nint ldy, int columns)
    {
        float* edge = stackalloc float[MaxTokens * PairRows];
        PlainOperands o = default;
        int block = MatMulProduct.BlockOf(rows.Columns);
        for (int begin = 0; begin < rows.Columns; begin += block)
        {
            o.Depth = Math.Min(block, rows.Columns - begin);
            o.W0 = strip + ((nint)begin * Step);
            o.W1 = o.W0 + (Step / 2);
            for (int token = 0; token < rows.Count; token += MaxTokens)
            {
                int count = Math.Min(MaxTokens, rows.Count - token);
                float* target = y + (token * ldy);
                Point(ref o, rows, token, begin);
                if (columns == Rows)
                {
                    Compute<PlainWide256, Vector256<float>>(count, true, o, target, target + (Rows / 2), ldy, begin > 0);
                }
                else
                {
                    Compute<PlainWide256, Vector256<float>>(count, true, o, edge, edge + (Rows / 2), PairRows, false);
                    CopyEdge(edge, count, columns, target, ldy, begin > 0);
                }
            }
        }
    }

    private static void Point(ref PlainOperands o, in FloatRows rows, int token, int column)
    {
        o.X0 = rows.Row(token) + column;
        o.X1 = rows.Row(token + 1) + column;
        o.X2 = rows.Row(token + 2) + column;
        o.X3 = rows.Row(token + 3) + column;
    }

    private static void Compute<L, V>(int tokens, bool areTwo, in PlainOperands o, float* y, float* y1, nint ldy, bool add)
        where L : struct, IPlainWide<V>
        where V : unmanaged
    {
        switch (tokens)
        {
            case 1 when !areTwo: PlainTile<W, L, V>.Compute<Tokens1, NoSecond>(o, y, y1, ldy, add); break;
            case 2 when !areTwo: PlainTile<W, L, V>.Compute<Tokens2, NoSecond>(o, y, y1, ldy, add); break;
            case 3 when !areTwo: PlainTile<W, L, V>.Compute<Tokens3, NoSecond>(o, y, y1, ldy, add); break;
            case 4 when !areTwo: PlainTile<W, L, V>.Compute<Tokens4, NoSecond>(o, y, y1, ldy, add); break;
            case 1: PlainTile<W, L, V>.Compute<Tokens1, SecondStrip>(o, y, y1, ldy, add); break;
            case 2: PlainTile<W, L, V>.Compute<Tokens2, SecondStrip>(o, y, y1, ldy, add); break;
            case 3: PlainTile<W, L, V>.Compute<Tokens3, SecondStrip>(o, y, y1, ldy, add); break;
            default: PlainTile<W, L, V>.Compute<Tokens4, SecondStrip>(o, y, y1, ldy, add); break;
        }
    }

    private static void CopyEdge(float* edge, int rows, int columns, float* y, nint ldy, bool add)
    {
        for (int row = 0; row < rows; row++, edge += PairRows, y += ldy)
        {
            for (int column = 0; column < columns; column++)
            {
                y[column] = add ? y[column] + edge[column] : edge[column];
            }
        }
    }
}
