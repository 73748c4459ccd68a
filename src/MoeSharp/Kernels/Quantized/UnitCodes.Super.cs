using System.Runtime.CompilerServices;
using MoeSharp.Kernels.Formats;

namespace MoeSharp.Kernels.Quantized;

/// <summary>Scales and minima of 6 bits per unit with a half for each per 256 columns, and the order of nibbles, as q4_k and q5_k have them.</summary>
/// <remarks>In a strip, 320 bytes for 16 x 256 weights: halves of the scales, halves of the minima, then per unit sixteen scales and sixteen minima as bytes.</remarks>
internal static unsafe class SuperScales
{
    /// <summary>Units of a super-block.</summary>
    public const int Units = 8;

    /// <summary>Bytes of a super-block's scales, sixteen rows.</summary>
    public const int Bytes = (4 + (2 * Units)) * StripLayout.Rows;

    /// <summary>Bytes of all that in a block of a file.</summary>
    public const int FileBytes = 16;

    private const int Halves = 4 * StripLayout.Rows;

    /// <summary>Scales of a unit; the product of half and 6 bits is exact.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static F Scale<L, V, F>(byte* scales, nint unit, int row)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged
    {
        byte* super = scales + ((unit >> 3) * Bytes);
        return L.Multiply(L.LoadHalves(super + (2 * row)), L.LoadBytes(super + Halves + ((unit & 7) * 2 * StripLayout.Rows) + row));
    }

    /// <summary>Minima of a unit.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static F Minimum<L, V, F>(byte* scales, nint unit, int row)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged
    {
        byte* super = scales + ((unit >> 3) * Bytes);
        return L.Multiply(
            L.LoadHalves(super + (2 * StripLayout.Rows) + (2 * row)), L.LoadBytes(super + Halves + (((2 * (unit & 7)) + 1) * StripLayout.Rows) + row));
    }

    /// <summary>Stores the scales of one block of one row.</summary>
    public static void Pack(byte* block, nint index, byte* scales, int lane)
    {
        byte* super = scales + (index * Bytes);
        ((ushort*)super)[lane] = *(ushort*)block;
        ((ushort*)super)[StripLayout.Rows + lane] = *(ushort*)(block + 2);
        byte* small = block + 4; // twelve bytes: 6 bits of units 0 to 3, then 4 bits of units 4 to 7 whose upper two stand above the first
        byte* target = super + Halves + lane;
        for (int unit = 0; unit < 4; unit++, target += 2 * StripLayout.Rows)
        {
            target[0] = (byte)(small[unit] & 63);
            target[StripLayout.Rows] = (byte)(small[unit + 4] & 63);
            target[8 * StripLayout.Rows] = (byte)((small[unit + 8] & 15) | ((small[unit] >> 6) << 4));
            target[9 * StripLayout.Rows] = (byte)((small[unit + 8] >> 4) | ((small[unit + 4] >> 6) << 4));
        }
    }

    /// <summary>The opposite of <see cref="Pack"/>.</summary>
    public static void Unpack(byte* block, nint index, byte* scales, int lane)
    {
        byte* super = scales + (index * Bytes);
        *(ushort*)block = ((ushort*)super)[lane];
        *(ushort*)(block + 2) = ((ushort*)super)[StripLayout.Rows + lane];
        byte* small = block + 4;
        byte* source = super + Halves + lane;
        for (int unit = 0; unit < 4; unit++, source += 2 * StripLayout.Rows)
        {
            int scale = source[8 * StripLayout.Rows], minimum = source[9 * StripLayout.Rows];
            small[unit] = (byte)(source[0] | ((scale >> 4) << 6));
            small[unit + 4] = (byte)(source[StripLayout.Rows] | ((minimum >> 4) << 6));
            small[unit + 8] = (byte)((scale & 15) | ((minimum & 15) << 4));
        }
    }

    /// <summary>Stores the nibbles of one block of one row; 32 bytes of a file hold those of two units.</summary>
    /// <param name="nibbles">As the file has them.</param>
    /// <param name="unit">The first unit's codes.</param>
    /// <param name="unitBytes">Distance between units.</param>
    /// <param name="lane">Row of the strip.</param>
    public static void PackNibbles(byte* nibbles, byte* unit, int unitBytes, int lane)
    {
        byte* both = stackalloc byte[32];
        for (int pair = 0; pair < Units / 2; pair++, nibbles += 32, unit += 2 * unitBytes)
        {
            CodeBits.SplitNibbles(nibbles, both, both + 16);
            CodeBits.StoreNibbles(unit, lane, both);
            CodeBits.StoreNibbles(unit + unitBytes, lane, both + 16);
        }
    }

    /// <summary>The opposite of <see cref="PackNibbles"/>.</summary>
    public static void UnpackNibbles(byte* nibbles, byte* unit, int unitBytes, int lane)
    {
        byte* both = stackalloc byte[32];
        for (int pair = 0; pair < Units / 2; pair++, nibbles += 32, unit += 2 * unitBytes)
        {
            CodeBits.LoadNibbles(unit, lane, both);
            CodeBits.LoadNibbles(unit + unitBytes, lane, both + 16);
            CodeBits.JoinNibbles(both, both + 16, nibbles);
        }
    }
}

/// <summary>Nibbles with the scales of <see cref="SuperScales"/>: 2368 bytes for 16 x 256 weights.</summary>
internal readonly unsafe struct Q4KCodes : IUnitCodes
{
    public static WeightFormat Format => WeightFormat.Q4K;

    public static CodeSize Size => CodeSize.Small;

    public static int ZeroBits => 0;

    public static bool HasMinimum => true;

    public static int UnitBytes => CodeBits.NibbleBytes;

    public static long ScaleBytes(int units) => (long)SuperScales.Bytes * (units / SuperScales.Units);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pair<L, V, F>(byte* unit, nint g, out V c0, out V c1)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged =>
        CodeBits.Nibbles<L, V, F>(unit, g, out c0, out c1);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static F Scale<L, V, F>(byte* scales, nint unit, int row)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged =>
        SuperScales.Scale<L, V, F>(scales, unit, row);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static F Minimum<L, V, F>(byte* scales, nint unit, int row)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged =>
        SuperScales.Minimum<L, V, F>(scales, unit, row);

    public static void Pack(byte* block, nint index, byte* scales, byte* codes, int lane)
    {
        SuperScales.Pack(block, index, scales, lane);
        SuperScales.PackNibbles(block + SuperScales.FileBytes, codes + (index * SuperScales.Units * UnitBytes), UnitBytes, lane);
    }

    public static void Unpack(byte* block, nint index, byte* scales, byte* codes, int lane)
    {
        SuperScales.Unpack(block, index, scales, lane);
        SuperScales.UnpackNibbles(block + SuperScales.FileBytes, codes + (index * SuperScales.Units * UnitBytes), UnitBytes, lane);
    }
}

/// <summary>Five bits with the scales of <see cref="SuperScales"/>: 2880 bytes for 16 x 256 weights.</summary>
internal readonly unsafe struct Q5KCodes : IUnitCodes
{
    private const int FifthBytes = 32; // of a block of a file, before the nibbles

    public static WeightFormat Format => WeightFormat.Q5K;

    public static CodeSize Size => CodeSize.Medium;

    public static int ZeroBits => 0;

    public static bool HasMinimum => true;

    public static int UnitBytes => CodeBits.NibbleBytes + CodeBits.Vector;

    public static long ScaleBytes(int units) => (long)SuperScales.Bytes * (units / SuperScales.Units);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pair<L, V, F>(byte* unit, nint g, out V c0, out V c1)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged =>
        CodeBits.FiveBits<L, V, F>(unit, g, out c0, out c1);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static F Scale<L, V, F>(byte* scales, nint unit, int row)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged =>
        SuperScales.Scale<L, V, F>(scales, unit, row);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static F Minimum<L, V, F>(byte* scales, nint unit, int row)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged =>
        SuperScales.Minimum<L, V, F>(scales, unit, row);

    public static void Pack(byte* block, nint index, byte* scales, byte* codes, int lane)
    {
        SuperScales.Pack(block, index, scales, lane);
        byte* first = codes + (index * SuperScales.Units * UnitBytes);
        SuperScales.PackNibbles(block + SuperScales.FileBytes + FifthBytes, first, UnitBytes, lane);
        for (int unit = 0; unit < SuperScales.Units; unit++)
        {
            CodeBits.StoreFifthBits(first + (unit * UnitBytes), lane, CodeBits.Column(block + SuperScales.FileBytes, unit));
        }
    }

    public static void Unpack(byte* block, nint index, byte* scales, byte* codes, int lane)
    {
        SuperScales.Unpack(block, index, scales, lane);
        new Span<byte>(block + SuperScales.FileBytes, FifthBytes).Clear();
        byte* first = codes + (index * SuperScales.Units * UnitBytes);
        SuperScales.UnpackNibbles(block + SuperScales.FileBytes + FifthBytes, first, UnitBytes, lane);
        for (int unit = 0; unit < SuperScales.Units; unit++)
        {
            CodeBits.OrColumn(block + SuperScales.FileBytes, unit, CodeBits.LoadFifthBits(first + (unit * UnitBytes), lane));
        }
    }
}
