using System.Runtime.CompilerServices;
using MoeSharp.Kernels.Formats;

namespace MoeSharp.Kernels.Quantized;

/// <summary>Nibbles around 8, a half per unit: 288 bytes for 16 x 32 weights.</summary>
internal readonly unsafe struct Q40Codes : IUnitCodes
{
    public static WeightFormat Format => WeightFormat.Q4_0;

    public static CodeSize Size => CodeSize.Small;

    public static int ZeroBits => 3;

    public static bool HasMinimum => false;

    public static int UnitBytes => CodeBits.NibbleBytes;

    public static long ScaleBytes(int units) => 2L * StripLayout.Rows * units;

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

/// <summary>Nibbles, scale and minimum as halves: 320 bytes for 16 x 32 weights.</summary>
internal readonly unsafe struct Q41Codes : IUnitCodes
{
    private const ushort SignBit = 0x8000; // the file adds its minimum, the kernel subtracts

    public static WeightFormat Format => WeightFormat.Q4_1;

    public static CodeSize Size => CodeSize.Small;

    public static int ZeroBits => 0;

    public static bool HasMinimum => true;

    public static int UnitBytes => CodeBits.NibbleBytes;

    public static long ScaleBytes(int units) => 4L * StripLayout.Rows * units;

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
        L.LoadHalves(scales + (unit * 4 * StripLayout.Rows) + (2 * row));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static F Minimum<L, V, F>(byte* scales, nint unit, int row)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged =>
        L.LoadHalves(scales + (unit * 4 * StripLayout.Rows) + (2 * StripLayout.Rows) + (2 * row));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pack(byte* block, nint index, byte* scales, byte* codes, int lane)
    {
        ushort* ends = (ushort*)scales + (index * 2 * StripLayout.Rows) + lane;
        ends[0] = *(ushort*)block;
        ends[StripLayout.Rows] = (ushort)(*(ushort*)(block + 2) ^ SignBit);
        CodeBits.StoreNibbles(codes + (index * UnitBytes), lane, block + 4);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Unpack(byte* block, nint index, byte* scales, byte* codes, int lane)
    {
        ushort* ends = (ushort*)scales + (index * 2 * StripLayout.Rows) + lane;
        *(ushort*)block = ends[0];
        *(ushort*)(block + 2) = (ushort)(ends[StripLayout.Rows] ^ SignBit);
        CodeBits.LoadNibbles(codes + (index * UnitBytes), lane, block + 4);
    }
}

/// <summary>Five bits around 16, a half per unit: 352 bytes for 16 x 32 weights.</summary>
internal readonly unsafe struct Q50Codes : IUnitCodes
{
    public static WeightFormat Format => WeightFormat.Q5_0;

    public static CodeSize Size => CodeSize.Medium;

    public static int ZeroBits => 4;

    public static bool HasMinimum => false;

    public static int UnitBytes => CodeBits.NibbleBytes + CodeBits.Vector;

    public static long ScaleBytes(int units) => 2L * StripLayout.Rows * units;

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
        L.LoadHalves(scales + (unit * 2 * StripLayout.Rows) + (2 * row));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pack(byte* block, nint index, byte* scales, byte* codes, int lane)
    {
        ((ushort*)scales)[(index * StripLayout.Rows) + lane] = *(ushort*)block;
        CodeBits.StoreFifthBits(codes + (index * UnitBytes), lane, *(uint*)(block + 2));
        CodeBits.StoreNibbles(codes + (index * UnitBytes), lane, block + 6);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Unpack(byte* block, nint index, byte* scales, byte* codes, int lane)
    {
        *(ushort*)block = ((ushort*)scales)[(index * StripLayout.Rows) + lane];
        *(uint*)(block + 2) = CodeBits.LoadFifthBits(codes + (index * UnitBytes), lane);
        CodeBits.LoadNibbles(codes + (index * UnitBytes), lane, block + 6);
    }
}

/// <summary>Five bits, scale and minimum as halves: 384 bytes for 16 x 32 weights.</summary>
internal readonly unsafe struct Q51Codes : IUnitCodes
{
    private const ushort SignBit = 0x8000; // the file adds its minimum, the kernel subtracts

    public static WeightFormat Format => WeightFormat.Q5_1;

    public static CodeSize Size => CodeSize.Medium;

    public static int ZeroBits => 0;

    public static bool HasMinimum => true;

    public static int UnitBytes => CodeBits.NibbleBytes + CodeBits.Vector;

    public static long ScaleBytes(int units) => 4L * StripLayout.Rows * units;

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
        L.LoadHalves(scales + (unit * 4 * StripLayout.Rows) + (2 * row));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static F Minimum<L, V, F>(byte* scales, nint unit, int row)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged =>
        L.LoadHalves(scales + (unit * 4 * StripLayout.Rows) + (2 * StripLayout.Rows) + (2 * row));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pack(byte* block, nint index, byte* scales, byte* codes, int lane)
    {
        ushort* ends = (ushort*)scales + (index * 2 * StripLayout.Rows) + lane;
        ends[0] = *(ushort*)block;
        ends[StripLayout.Rows] = (ushort)(*(ushort*)(block + 2) ^ SignBit);
        CodeBits.StoreFifthBits(codes + (index * UnitBytes), lane, *(uint*)(block + 4));
        CodeBits.StoreNibbles(codes + (index * UnitBytes), lane, block + 8);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Unpack(byte* block, nint index, byte* scales, byte* codes, int lane)
    {
        ushort* ends = (ushort*)scales + (index * 2 * StripLayout.Rows) + lane;
        *(ushort*)block = ends[0];
        *(ushort*)(block + 2) = (ushort)(ends[StripLayout.Rows] ^ SignBit);
        *(uint*)(block + 4) = CodeBits.LoadFifthBits(codes + (index * UnitBytes), lane);
        CodeBits.LoadNibbles(codes + (index * UnitBytes), lane, block + 8);
    }
}

/// <summary>Bytes, stored plus 128, a half per unit: 544 bytes for 16 x 32 weights.</summary>
internal readonly unsafe struct Q80Codes : IUnitCodes
{
    private const uint SignBits = 0x80808080;

    public static WeightFormat Format => WeightFormat.Q8_0;

    public static CodeSize Size => CodeSize.Wide;

    public static int ZeroBits => 7;

    public static bool HasMinimum => false;

    public static int UnitBytes => 8 * CodeBits.Vector;

    public static long ScaleBytes(int units) => 2L * StripLayout.Rows * units;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pair<L, V, F>(byte* unit, nint g, out V c0, out V c1)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged
    {
        c0 = L.Load(unit + (g * CodeBits.Vector));
        c1 = L.Load(unit + ((g + 4) * CodeBits.Vector));
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
        byte* unit = codes + (index * UnitBytes) + (4 * lane);
        for (int g = 0; g < 8; g++)
        {
            *(uint*)(unit + (g * CodeBits.Vector)) = *(uint*)(block + 2 + (4 * g)) ^ SignBits;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Unpack(byte* block, nint index, byte* scales, byte* codes, int lane)
    {
        *(ushort*)block = ((ushort*)scales)[(index * StripLayout.Rows) + lane];
        byte* unit = codes + (index * UnitBytes) + (4 * lane);
        for (int g = 0; g < 8; g++)
        {
            *(uint*)(block + 2 + (4 * g)) = *(uint*)(unit + (g * CodeBits.Vector)) ^ SignBits;
        }
    }
}
