using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace MoeSharp.Kernels.Quantized;

/// <summary>How codes of 2 to 8 bits lie in a unit, and how they get there.</summary>
/// <remarks>
/// Nibbles: vector g (64 bytes) holds column group g in its low nibbles and group g + 4 in its high ones; as in a file's block of 32,
/// where byte j holds columns j and j + 16. Fifth bits: one vector more, whose byte i of a row holds the bits of columns i, 4 + i, 8 + i, ...
/// </remarks>
internal static unsafe class CodeBits
{
    /// <summary>Bytes of a vector: sixteen rows of four.</summary>
    public const int Vector = 64;

    /// <summary>Bytes of a unit's nibbles.</summary>
    public const int NibbleBytes = 4 * Vector;

    /// <summary>Bytes of a unit's codes of two bits: byte i of a row in the first vector holds columns i, 4 + i, 8 + i and 12 + i, in the second those 16 further on.</summary>
    public const int TwoBitBytes = 2 * Vector;

    /// <summary>Bytes of a unit's codes of six bits: of each half, vector g holds column group g, and in its two highest bits a part of group 3, the highest bits first.</summary>
    public const int SixBitBytes = 6 * Vector;

    private const ulong LowNibbles = 0x0F0F0F0F0F0F0F0F;

    /// <summary>Groups g and g + 4 of nibbles.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Nibbles<L, V, F>(byte* unit, nint g, out V c0, out V c1)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged
    {
        V both = L.Load(unit + (g * Vector));
        c0 = L.And(both, L.BroadcastByte(0x0F));
        c1 = L.UpperNibbles(both);
    }

    /// <summary>Groups g and g + 4 of nibbles with a fifth bit.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void FiveBits<L, V, F>(byte* unit, nint g, out V c0, out V c1)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged
    {
        Nibbles<L, V, F>(unit, g, out c0, out c1);
        V high = L.ShiftRight(L.Load(unit + NibbleBytes), (int)g); // bit 0: group g, bit 4: group g + 4
        c0 = L.Or(c0, L.ShiftLeft(L.And(high, L.BroadcastByte(0x01)), 4));
        c1 = L.Or(c1, L.And(high, L.BroadcastByte(0x10)));
    }

    /// <summary>The four groups of a half (0 or 1) of two bits.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void TwoBits<L, V, F>(byte* unit, int half, out V c0, out V c1, out V c2, out V c3)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged
    {
        V all = L.Load(unit + (half * Vector)), mask = L.BroadcastByte(0x03);
        c0 = L.And(all, mask);
        c1 = L.And(L.ShiftRight(all, 2), mask);
        c2 = L.And(L.ShiftRight(all, 4), mask);
        c3 = L.And(L.ShiftRight(all, 6), mask);
    }

    /// <summary>The four groups of a half (0 or 1) of six bits: nine instructions.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void SixBits<L, V, F>(byte* unit, int half, out V c0, out V c1, out V c2, out V c3)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged
    {
        byte* source = unit + (half * SixBitBytes / 2);
        V mask = L.BroadcastByte(0x3F), v0 = L.Load(source), v1 = L.Load(source + Vector), v2 = L.Load(source + (2 * Vector));
        c0 = L.And(v0, mask);
        c1 = L.And(v1, mask);
        c2 = L.And(v2, mask);
        V lower = L.Or(L.And(L.ShiftRight(v1, 4), L.BroadcastByte(0x0C)), L.And(L.ShiftRight(v2, 6), L.BroadcastByte(0x03)));
        c3 = L.Or(L.And(L.ShiftRight(v0, 2), L.BroadcastByte(0x30)), lower);
    }

    /// <summary>Stores 32 codes of two bits of one row, taken from that place of 32 bytes.</summary>
    public static void StoreTwo(byte* unit, int lane, byte* source, int shift)
    {
        for (int half = 0; half < 2; half++)
        {
            uint packed = 0;
            for (int g = 0; g < 4; g++)
            {
                packed |= ((((uint*)source)[(4 * half) + g] >> shift) & 0x03030303) << (2 * g);
            }

            *(uint*)(unit + (half * Vector) + (4 * lane)) = packed;
        }
    }

    /// <summary>The opposite of <see cref="StoreTwo"/>, or-ed into the bytes.</summary>
    public static void OrTwo(byte* unit, int lane, byte* target, int shift)
    {
        for (int half = 0; half < 2; half++)
        {
            uint packed = *(uint*)(unit + (half * Vector) + (4 * lane));
            for (int g = 0; g < 4; g++)
            {
                ((uint*)target)[(4 * half) + g] |= ((packed >> (2 * g)) & 0x03030303) << shift;
            }
        }
    }

    /// <summary>Stores 32 codes of six bits of one row.</summary>
    public static void StoreSix(byte* unit, int lane, byte* source)
    {
        for (int half = 0; half < 2; half++)
        {
            uint* groups = (uint*)source + (4 * half);
            for (int g = 0; g < 3; g++)
            {
                uint part = (groups[3] >> (4 - (2 * g))) & 0x03030303;
                *(uint*)(unit + (((3 * half) + g) * Vector) + (4 * lane)) = groups[g] | (part << 6);
            }
        }
    }

    /// <summary>The opposite of <see cref="StoreSix"/>.</summary>
    public static void LoadSix(byte* unit, int lane, byte* target)
    {
        for (int half = 0; half < 2; half++)
        {
            uint* groups = (uint*)target + (4 * half);
            groups[3] = 0;
            for (int g = 0; g < 3; g++)
            {
                uint stored = *(uint*)(unit + (((3 * half) + g) * Vector) + (4 * lane));
                groups[g] = stored & 0x3F3F3F3F;
                groups[3] |= ((stored >> 6) & 0x03030303) << (4 - (2 * g));
            }
        }
    }

    /// <summary>Stores sixteen bytes of nibbles of one row.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreNibbles(byte* unit, int lane, byte* source)
    {
        for (int g = 0; g < 4; g++)
        {
            *(uint*)(unit + (g * Vector) + (4 * lane)) = *(uint*)(source + (4 * g));
        }
    }

    /// <summary>The opposite of <see cref="StoreNibbles"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void LoadNibbles(byte* unit, int lane, byte* target)
    {
        for (int g = 0; g < 4; g++)
        {
            *(uint*)(target + (4 * g)) = *(uint*)(unit + (g * Vector) + (4 * lane));
        }
    }

    /// <summary>Stores the fifth bits of one row: bit j belongs to column j.</summary>
    public static void StoreFifthBits(byte* unit, int lane, uint bits)
    {
        byte* target = unit + NibbleBytes + (4 * lane);
        for (int i = 0; i < 4; i++)
        {
            target[i] = (byte)EveryFourth(bits >> i);
        }
    }

    /// <summary>The opposite of <see cref="StoreFifthBits"/>.</summary>
    public static uint LoadFifthBits(byte* unit, int lane)
    {
        byte* source = unit + NibbleBytes + (4 * lane);
        uint bits = 0;
        for (int i = 0; i < 4; i++)
        {
            bits |= Spread(source[i]) << i;
        }

        return bits;
    }

    /// <summary>Splits 32 bytes of a super-block, low nibbles columns 0 to 31 and high nibbles 32 to 63, into the nibbles of two units.</summary>
    public static void SplitNibbles(byte* source, byte* even, byte* odd)
    {
        for (int i = 0; i < 2; i++)
        {
            ulong first = ((ulong*)source)[i], second = ((ulong*)source)[i + 2]; // columns 8i... and 16 + 8i...
            ((ulong*)even)[i] = (first & LowNibbles) | ((second & LowNibbles) << 4);
            ((ulong*)odd)[i] = ((first >> 4) & LowNibbles) | (second & ~LowNibbles);
        }
    }

    /// <summary>The opposite of <see cref="SplitNibbles"/>.</summary>
    public static void JoinNibbles(byte* even, byte* odd, byte* target)
    {
        for (int i = 0; i < 2; i++)
        {
            ulong low = ((ulong*)even)[i], high = ((ulong*)odd)[i];
            ((ulong*)target)[i] = (low & LowNibbles) | ((high & LowNibbles) << 4);
            ((ulong*)target)[i + 2] = ((low >> 4) & LowNibbles) | (high & ~LowNibbles);
        }
    }

    /// <summary>Bit k of each of 32 bytes, the first byte's lowest.</summary>
    public static uint Column(byte* bytes, int k)
    {
        uint bits = 0;
        for (int i = 0; i < 4; i++)
        {
            ulong eight = (((ulong*)bytes)[i] >> k) & 0x0101010101010101;
            bits |= (uint)((eight * 0x0102040810204080) >> 56) << (8 * i); // the factor brings bit 0 of byte j to bit 56 + j
        }

        return bits;
    }

    /// <summary>Ors bit j of <paramref name="bits"/> into bit k of byte j of 32.</summary>
    public static void OrColumn(byte* bytes, int k, uint bits)
    {
        for (int j = 0; j < 32; j++)
        {
            bytes[j] |= (byte)(((bits >> j) & 1) << k);
        }
    }

    private static uint EveryFourth(uint bits)
    {
        if (Bmi2.IsSupported)
        {
            return Bmi2.ParallelBitExtract(bits, 0x11111111);
        }

        uint result = 0;
        for (int g = 0; g < 8; g++)
        {
            result |= ((bits >> (4 * g)) & 1) << g;
        }

        return result;
    }

    private static uint Spread(uint eight)
    {
        if (Bmi2.IsSupported)
        {
            return Bmi2.ParallelBitDeposit(eight, 0x11111111);
        }

        uint result = 0;
        for (int g = 0; g < 8; g++)
        {
            result |= ((eight >> g) & 1) << (4 * g);
        }

        return result;
    }
}
