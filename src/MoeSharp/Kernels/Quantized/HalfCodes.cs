using System.Runtime.CompilerServices;
using MoeSharp.Kernels.Formats;

namespace MoeSharp.Kernels.Quantized;

/// <summary>Six bits around 32; a half per 256 columns times a signed byte per 16: 3360 bytes for 16 x 256 weights.</summary>
internal readonly unsafe struct Q6KCodes : IHalfCodes
{
    private const int HighBits = 128;  // offsets in a block of a file: four low bits of all columns stand before these
    private const int FileScales = 192;
    private const int FileHalf = 208;

    public static WeightFormat Format => WeightFormat.Q6K;

    public static CodeSize Size => CodeSize.Medium;

    public static int ZeroBits => 5;

    public static bool HasMinimum => false;

    // Files give six bits to the few matrices that the result is most sensitive to (values, part of the down projections, the head).
    public static bool TakesRest => true;

    public static int UnitBytes => CodeBits.SixBitBytes;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Half<L, V, F>(byte* unit, int half, out V c0, out V c1, out V c2, out V c3)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged => CodeBits.SixBits<L, V, F>(unit, half, out c0, out c1, out c2, out c3);

    // Of each 128 columns, 32 bytes hold the low bits of columns l and 64 + l, 32 more those of 32 + l and 96 + l; byte l of the high
    // bits holds those of all four.
    public static void Pack(byte* block, byte* scales, byte* codes, int lane)
    {
        ((ushort*)scales)[lane] = *(ushort*)(block + FileHalf);
        byte* low = stackalloc byte[32];
        for (int unit = 0; unit < HalfScales.Units; unit++)
        {
            byte* target = codes + (unit * UnitBytes);
            byte* nibbles = block + (64 * (unit / 4)) + (32 * (unit % 2));
            byte* high = block + HighBits + (32 * (unit / 4));
            for (int i = 0; i < 32; i++)
            {
                low[i] = (byte)(((nibbles[i] >> (unit % 4 < 2 ? 0 : 4)) & 15) | (((high[i] >> (2 * (unit % 4))) & 3) << 4));
            }

            CodeBits.StoreSix(target, lane, low);
            byte* whole = scales + HalfScales.WholeOffset(false) + (unit * HalfScales.WholeBytes(false)) + (2 * lane);
            whole[0] = block[FileScales + (2 * unit)];
            whole[1] = block[FileScales + (2 * unit) + 1];
        }
    }

    public static void Unpack(byte* block, byte* scales, byte* codes, int lane)
    {
        new Span<byte>(block, FileScales).Clear();
        *(ushort*)(block + FileHalf) = ((ushort*)scales)[lane];
        byte* six = stackalloc byte[32];
        for (int unit = 0; unit < HalfScales.Units; unit++)
        {
            CodeBits.LoadSix(codes + (unit * UnitBytes), lane, six);
            byte* nibbles = block + (64 * (unit / 4)) + (32 * (unit % 2));
            byte* high = block + HighBits + (32 * (unit / 4));
            for (int i = 0; i < 32; i++)
            {
                nibbles[i] |= (byte)((six[i] & 15) << (unit % 4 < 2 ? 0 : 4));
                high[i] |= (byte)((six[i] >> 4) << (2 * (unit % 4)));
            }

            byte* whole = scales + HalfScales.WholeOffset(false) + (unit * HalfScales.WholeBytes(false)) + (2 * lane);
            block[FileScales + (2 * unit)] = whole[0];
            block[FileScales + (2 * unit) + 1] = whole[1];
        }
    }
}

/// <summary>Three bits around 4; a half per 256 columns times 6 bits around 32 per 16: 1824 bytes for 16 x 256 weights.</summary>
internal readonly unsafe struct Q3KCodes : IHalfCodes
{
    private const int LowBits = 32; // offsets in a block of a file: the third bits stand before these
    private const int FileScales = 96;
    private const int FileHalf = 108;

    public static WeightFormat Format => WeightFormat.Q3K;

    public static CodeSize Size => CodeSize.Small;

    public static int ZeroBits => 2;

    public static bool HasMinimum => false;

    public static bool TakesRest => false;

    public static int UnitBytes => CodeBits.TwoBitBytes + CodeBits.Vector;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Half<L, V, F>(byte* unit, int half, out V c0, out V c1, out V c2, out V c3)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged
    {
        CodeBits.TwoBits<L, V, F>(unit, half, out c0, out c1, out c2, out c3);
        V third = L.Load(unit + CodeBits.TwoBitBytes), mask = L.BroadcastByte(0x04); // bit g: group g of the first half, bit 4 + g: of the second
        c0 = L.Or(c0, L.And(half == 0 ? L.ShiftLeft(third, 2) : L.ShiftRight(third, 2), mask));
        c1 = L.Or(c1, L.And(half == 0 ? L.ShiftLeft(third, 1) : L.ShiftRight(third, 3), mask));
        c2 = L.Or(c2, L.And(half == 0 ? third : L.ShiftRight(third, 4), mask));
        c3 = L.Or(c3, L.And(L.ShiftRight(third, half == 0 ? 1 : 5), mask));
    }

    public static void Pack(byte* block, byte* scales, byte* codes, int lane)
    {
        ((ushort*)scales)[lane] = *(ushort*)(block + FileHalf);
        for (int unit = 0; unit < HalfScales.Units; unit++)
        {
            byte* target = codes + (unit * UnitBytes);
            CodeBits.StoreTwo(target, lane, block + LowBits + (32 * (unit / 4)), 2 * (unit % 4));
            CodeBits.StoreFifthBits(target + CodeBits.TwoBitBytes - CodeBits.NibbleBytes, lane, CodeBits.Column(block, unit));
            byte* whole = scales + HalfScales.WholeOffset(false) + (unit * HalfScales.WholeBytes(false)) + (2 * lane);
            whole[0] = (byte)(Scale(block + FileScales, 2 * unit) - 32);
            whole[1] = (byte)(Scale(block + FileScales, (2 * unit) + 1) - 32);
        }
    }

    public static void Unpack(byte* block, byte* scales, byte* codes, int lane)
    {
        new Span<byte>(block, FileHalf).Clear();
        *(ushort*)(block + FileHalf) = ((ushort*)scales)[lane];
        for (int unit = 0; unit < HalfScales.Units; unit++)
        {
            byte* source = codes + (unit * UnitBytes);
            CodeBits.OrTwo(source, lane, block + LowBits + (32 * (unit / 4)), 2 * (unit % 4));
            CodeBits.OrColumn(block, unit, CodeBits.LoadFifthBits(source + CodeBits.TwoBitBytes - CodeBits.NibbleBytes, lane));
            byte* whole = scales + HalfScales.WholeOffset(false) + (unit * HalfScales.WholeBytes(false)) + (2 * lane);
            OrScale(block + FileScales, 2 * unit, (whole[0] + 32) & 63);
            OrScale(block + FileScales, (2 * unit) + 1, (whole[1] + 32) & 63);
        }
    }

    // Four low bits of sixteen scales in eight bytes, the upper nibbles for the second eight; then two high bits each in four bytes.
    private static int Scale(byte* packed, int k) => ((packed[k % 8] >> (4 * (k / 8))) & 15) | (((packed[8 + (k % 4)] >> (2 * (k / 4))) & 3) << 4);

    private static void OrScale(byte* packed, int k, int scale)
    {
        packed[k % 8] |= (byte)((scale & 15) << (4 * (k / 8)));
        packed[8 + (k % 4)] |= (byte)((scale >> 4) << (2 * (k / 4)));
    }
}

/// <summary>Two bits; halves for scale and minimum per 256 columns, times 4 bits for each per 16: 1600 bytes for 16 x 256 weights.</summary>
internal readonly unsafe struct Q2KCodes : IHalfCodes
{
    private const int FileCodes = 16; // offsets in a block of a file: scales and minima of 4 bits stand before these
    private const int FileHalves = 80;

    public static WeightFormat Format => WeightFormat.Q2K;

    public static CodeSize Size => CodeSize.Small;

    public static int ZeroBits => 0;

    public static bool HasMinimum => true;

    public static bool TakesRest => false;

    public static int UnitBytes => CodeBits.TwoBitBytes;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Half<L, V, F>(byte* unit, int half, out V c0, out V c1, out V c2, out V c3)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged => CodeBits.TwoBits<L, V, F>(unit, half, out c0, out c1, out c2, out c3);

    public static void Pack(byte* block, byte* scales, byte* codes, int lane)
    {
        ((ushort*)scales)[lane] = *(ushort*)(block + FileHalves);
        ((ushort*)scales)[StripLayout.Rows + lane] = *(ushort*)(block + FileHalves + 2);
        for (int unit = 0; unit < HalfScales.Units; unit++)
        {
            CodeBits.StoreTwo(codes + (unit * UnitBytes), lane, block + FileCodes + (32 * (unit / 4)), 2 * (unit % 4));
            byte* whole = scales + HalfScales.WholeOffset(true) + (unit * HalfScales.WholeBytes(true)) + (2 * lane);
            for (int half = 0; half < 2; half++)
            {
                byte both = block[(2 * unit) + half];
                whole[half] = (byte)(both & 15);
                whole[(2 * StripLayout.Rows) + half] = (byte)(both >> 4);
            }
        }
    }

    public static void Unpack(byte* block, byte* scales, byte* codes, int lane)
    {
        new Span<byte>(block, FileHalves).Clear();
        *(ushort*)(block + FileHalves) = ((ushort*)scales)[lane];
        *(ushort*)(block + FileHalves + 2) = ((ushort*)scales)[StripLayout.Rows + lane];
        for (int unit = 0; unit < HalfScales.Units; unit++)
        {
            CodeBits.OrTwo(codes + (unit * UnitBytes), lane, block + FileCodes + (32 * (unit / 4)), 2 * (unit % 4));
            byte* whole = scales + HalfScales.WholeOffset(true) + (unit * HalfScales.WholeBytes(true)) + (2 * lane);
            for (int half = 0; half < 2; half++)
            {
                block[(2 * unit) + half] = (byte)(whole[half] | (whole[(2 * StripLayout.Rows) + half] << 4));
            }
        }
    }
}
