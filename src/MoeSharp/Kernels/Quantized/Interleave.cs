using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace MoeSharp.Kernels.Quantized;

/// <summary>Rows of 16-bit numbers turned into columns of a strip.</summary>
internal static unsafe class Interleave
{
    private const int Rows = StripLayout.Rows;
    private const int Lanes = 8;

    /// <summary>strip[column, row] = rows[row, column].</summary>
    /// <param name="rows">First row.</param>
    /// <param name="stride">Distance between rows.</param>
    /// <param name="count">Rows.</param>
    /// <param name="columns">Columns.</param>
    /// <param name="strip">Place of the first row in column 0.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Pack(ushort* rows, nint stride, int count, int columns, ushort* strip)
    {
        nint column = 0;
        for (; Sse2.IsSupported && count == Rows && column + Lanes <= columns; column += Lanes)
        {
            Turn(rows + column, stride, strip + (column * Rows));
            Turn(rows + (Lanes * stride) + column, stride, strip + (column * Rows) + Lanes);
        }

        for (; column < columns; column++)
        {
            for (nint row = 0; row < count; row++)
            {
                strip[(column * Rows) + row] = rows[(row * stride) + column];
            }
        }
    }

    // Eight rows of eight: neighbours two, four and eight apart change places.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Turn(ushort* from, nint stride, ushort* to)
    {
        Vector128<ushort> r0 = Vector128.Load(from), r1 = Vector128.Load(from + stride), r2 = Vector128.Load(from + (2 * stride)), r3 = Vector128.Load(from + (3 * stride));
        from += 4 * stride;
        Vector128<ushort> r4 = Vector128.Load(from), r5 = Vector128.Load(from + stride), r6 = Vector128.Load(from + (2 * stride)), r7 = Vector128.Load(from + (3 * stride));
        TurnFour(r0, r1, r2, r3, out Vector128<ulong> p01, out Vector128<ulong> p23, out Vector128<ulong> p45, out Vector128<ulong> p67);
        TurnFour(r4, r5, r6, r7, out Vector128<ulong> q01, out Vector128<ulong> q23, out Vector128<ulong> q45, out Vector128<ulong> q67);
        Store(p01, q01, to);
        Store(p23, q23, to + (2 * Rows));
        Store(p45, q45, to + (4 * Rows));
        Store(p67, q67, to + (6 * Rows));
    }

    // Out come columns 0 and 1, 2 and 3, ... of four rows.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void TurnFour(Vector128<ushort> r0, Vector128<ushort> r1, Vector128<ushort> r2, Vector128<ushort> r3, out Vector128<ulong> c01, out Vector128<ulong> c23, out Vector128<ulong> c45, out Vector128<ulong> c67)
    {
        Vector128<uint> low01 = Sse2.UnpackLow(r0, r1).AsUInt32(), low23 = Sse2.UnpackLow(r2, r3).AsUInt32();
        Vector128<uint> high01 = Sse2.UnpackHigh(r0, r1).AsUInt32(), high23 = Sse2.UnpackHigh(r2, r3).AsUInt32();
        c01 = Sse2.UnpackLow(low01, low23).AsUInt64();
        c23 = Sse2.UnpackHigh(low01, low23).AsUInt64();
        c45 = Sse2.UnpackLow(high01, high23).AsUInt64();
        c67 = Sse2.UnpackHigh(high01, high23).AsUInt64();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(Vector128<ulong> upperRows, Vector128<ulong> lowerRows, ushort* to)
    {
        Sse2.UnpackLow(upperRows, lowerRows).AsUInt16().Store(to);
        Sse2.UnpackHigh(upperRows, lowerRows).AsUInt16().Store(to + Rows);
    }
}
