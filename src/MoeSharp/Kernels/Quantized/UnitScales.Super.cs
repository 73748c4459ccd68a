using System.Runtime.CompilerServices;

namespace MoeSharp.Kernels.Quantized;

/// <summary>Scales and minima of 6 bits per unit with a half for each per 256 columns, as q4_k and q5_k have them.</summary>
/// <remarks>In a strip, 320 bytes for 16 x 256 weights: halves of the scales, halves of the minima, then per unit sixteen scales and sixteen minima as bytes.</remarks>
internal readonly unsafe struct SixBitScales : IUnitScales
{
    private const int Halves = 4 * StripLayout.Rows;

    public static int Units => 8;

    public static bool HasMinimum => true;

    public static int Bytes => Halves + (2 * Units * StripLayout.Rows);

    public static int FileBytes => 16;

    // The product of half and 6 bits is exact.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static F Scale<L, V, F>(byte* scales, nint unit, int row)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged
    {
        byte* super = scales + ((unit >> 3) * Bytes);
        return L.Multiply(L.LoadHalves(super + (2 * row)), L.LoadBytes(super + Halves + ((unit & 7) * 2 * StripLayout.Rows) + row));
    }

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

    public static void Store(byte* block, byte* super, int lane)
    {
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

    public static void Load(byte* block, byte* super, int lane)
    {
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
}

/// <summary>A half per 256 columns times a 6-bit scale around 32 per unit, as iq4_xs has them: 160 bytes for 16 x 256 weights.</summary>
internal readonly unsafe struct CenteredScales : IUnitScales
{
    public static int Units => 8;

    public static bool HasMinimum => false;

    public static int Bytes => (2 + Units) * StripLayout.Rows;

    public static int FileBytes => 8; // the half, two upper bits of each unit, then four lower bits of each

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static F Scale<L, V, F>(byte* scales, nint unit, int row)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged
    {
        byte* super = scales + ((unit >> 3) * Bytes);
        F small = L.LoadBytes(super + ((2 + (unit & 7)) * StripLayout.Rows) + row);
        return L.Multiply(L.LoadHalves(super + (2 * row)), L.AddFloats(small, -32f));
    }

    public static void Store(byte* block, byte* super, int lane)
    {
        ((ushort*)super)[lane] = *(ushort*)block;
        int high = *(ushort*)(block + 2);
        for (int unit = 0; unit < Units; unit++)
        {
            int low = (block[4 + (unit / 2)] >> (4 * (unit % 2))) & 15;
            super[((2 + unit) * StripLayout.Rows) + lane] = (byte)(low | (((high >> (2 * unit)) & 3) << 4));
        }
    }

    public static void Load(byte* block, byte* super, int lane)
    {
        *(ushort*)block = ((ushort*)super)[lane];
        int high = 0;
        for (int unit = 0; unit < Units; unit++)
        {
            byte scale = super[((2 + unit) * StripLayout.Rows) + lane];
            int low = unit % 2 == 0 ? 0 : block[4 + (unit / 2)];
            block[4 + (unit / 2)] = (byte)(low | ((scale & 15) << (4 * (unit % 2))));
            high |= (scale >> 4) << (2 * unit);
        }

        *(ushort*)(block + 2) = (ushort)high;
    }
}
