using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using MoeSharp.Kernels.Formats;

namespace MoeSharp.Kernels.Quantized;

/// <summary>Nibbles that choose from an uneven ladder, a half per unit.</summary>
internal readonly unsafe struct IQ4NLCodes : IUnitCodes
{
    // The numbers that the codes stand for, plus 128.
    private static Vector128<byte> Ladder
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => Vector128.Create((byte)1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241);
    }

    public static WeightFormat Format => WeightFormat.IQ4NL;

    public static CodeSize Size => CodeSize.Wide;

    public static int ZeroBits => 7;

    public static bool HasMinimum => false;

    public static int UnitBytes => CodeBits.NibbleBytes;

    public static long ScaleBytes(int units) => 2L * StripLayout.Rows * units;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pair<L, V, F>(byte* unit, nint g, out V c0, out V c1)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged
    {
        CodeBits.Nibbles<L, V, F>(unit, g, out V n0, out V n1);
        c0 = L.Lookup(Ladder, n0);
        c1 = L.Lookup(Ladder, n1);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static F Scale<L, V, F>(byte* scales, nint unit, int row)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged =>
        L.LoadHalves(scales + (unit * 2 * StripLayout.Rows) + (2 * row));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pack(byte* block, nint index, byte* scales, byte* codes, int lane)
    {
        ((ushort*)scales)[(index * StripLayout.Rows) + lane] = *(ushort*)block;
        CodeBits.StoreNibbles(codes + (index * UnitBytes), lane, block + 2);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Unpack(byte* block, nint index, byte* scales, byte* codes, int lane)
    {
        *(ushort*)block = ((ushort*)scales)[(index * StripLayout.Rows) + lane];
        CodeBits.LoadNibbles(codes + (index * UnitBytes), lane, block + 2);
    }
}

/// <summary>Floats of 4 bits, doubled to be whole, and half of a power of two per unit.</summary>
internal readonly unsafe struct MXFP4Codes : IUnitCodes
{
    // The numbers that the codes stand for, plus 16.
    private static Vector128<byte> Ladder
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => Vector128.Create((byte)16, 17, 18, 19, 20, 22, 24, 28, 16, 15, 14, 13, 12, 10, 8, 4);
    }

    public static WeightFormat Format => WeightFormat.MXFP4;

    public static CodeSize Size => CodeSize.Medium;

    public static int ZeroBits => 4;

    public static bool HasMinimum => false;

    public static int UnitBytes => CodeBits.NibbleBytes;

    public static long ScaleBytes(int units) => (long)StripLayout.Rows * units;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pair<L, V, F>(byte* unit, nint g, out V c0, out V c1)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged
    {
        CodeBits.Nibbles<L, V, F>(unit, g, out V n0, out V n1);
        c0 = L.Lookup(Ladder, n0);
        c1 = L.Lookup(Ladder, n1);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static F Scale<L, V, F>(byte* scales, nint unit, int row)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged =>
        L.LoadHalfPowers(scales + (unit * StripLayout.Rows) + row);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pack(byte* block, nint index, byte* scales, byte* codes, int lane)
    {
        scales[(index * StripLayout.Rows) + lane] = block[0];
        CodeBits.StoreNibbles(codes + (index * UnitBytes), lane, block + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Unpack(byte* block, nint index, byte* scales, byte* codes, int lane)
    {
        block[0] = scales[(index * StripLayout.Rows) + lane];
        CodeBits.LoadNibbles(codes + (index * UnitBytes), lane, block + 1);
    }
}

/// <summary>Nibbles that choose from an uneven ladder; a half per 256 columns times a 6-bit scale around 32 per unit.</summary>
internal readonly unsafe struct IQ4XSCodes : IUnitCodes
{
    private const int SuperBytes = 10 * StripLayout.Rows;

    public static WeightFormat Format => WeightFormat.IQ4XS;

    public static CodeSize Size => CodeSize.Wide;

    public static int ZeroBits => 7;

    public static bool HasMinimum => false;

    public static int UnitBytes => CodeBits.NibbleBytes;

    public static long ScaleBytes(int units) => (long)SuperBytes * (units / SuperScales.Units);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pair<L, V, F>(byte* unit, nint g, out V c0, out V c1)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged =>
        IQ4NLCodes.Pair<L, V, F>(unit, g, out c0, out c1);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static F Scale<L, V, F>(byte* scales, nint unit, int row)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged
    {
        byte* super = scales + ((unit >> 3) * SuperBytes);
        F small = L.LoadBytes(super + ((2 + (unit & 7)) * StripLayout.Rows) + row);
        return L.Multiply(L.LoadHalves(super + (2 * row)), L.AddFloats(small, -32f));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pack(byte* block, nint index, byte* scales, byte* codes, int lane)
    {
        byte* super = scales + (index * SuperBytes);
        ((ushort*)super)[lane] = *(ushort*)block;
        int high = *(ushort*)(block + 2);
        for (int unit = 0; unit < SuperScales.Units; unit++)
        {
            int low = (block[4 + (unit / 2)] >> (4 * (unit % 2))) & 15;
            super[((2 + unit) * StripLayout.Rows) + lane] = (byte)(low | (((high >> (2 * unit)) & 3) << 4));
            CodeBits.StoreNibbles(codes + (((index * SuperScales.Units) + unit) * UnitBytes), lane, block + 8 + (16 * unit));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Unpack(byte* block, nint index, byte* scales, byte* codes, int lane)
    {
        byte* super = scales + (index * SuperBytes);
        *(ushort*)block = ((ushort*)super)[lane];
        int high = 0;
        for (int unit = 0; unit < SuperScales.Units; unit++)
        {
            byte scale = super[((2 + unit) * StripLayout.Rows) + lane];
            int low = unit % 2 == 0 ? 0 : block[4 + (unit / 2)];
            block[4 + (unit / 2)] = (byte)(low | ((scale & 15) << (4 * (unit % 2))));
            high |= (scale >> 4) << (2 * unit);
            CodeBits.LoadNibbles(codes + (((index * SuperScales.Units) + unit) * UnitBytes), lane, block + 8 + (16 * unit));
        }

        *(ushort*)(block + 2) = (ushort)high;
    }
}
