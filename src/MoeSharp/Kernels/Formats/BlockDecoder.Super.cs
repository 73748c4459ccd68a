using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace MoeSharp.Kernels.Formats;

/// <summary>The formats of 256 values: groups with small integer scales, and one float scale over those.</summary>
public static unsafe partial class BlockDecoder
{
    private const int SuperLength = 256;

    /// <summary>Unpacks the eight 6-bit scales and minima of Q4_K and Q5_K.</summary>
    /// <param name="packed">12 bytes.</param>
    /// <param name="scales">= 8 scales.</param>
    /// <param name="minima">= 8 minima.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void UnpackScales(byte* packed, byte* scales, byte* minima)
    {
        for (int j = 0; j < 4; j++)
        {
            scales[j] = (byte)(packed[j] & 63);
            minima[j] = (byte)(packed[j + 4] & 63);
            scales[j + 4] = (byte)((packed[j + 8] & 15) | ((packed[j] >> 6) << 4));
            minima[j + 4] = (byte)((packed[j + 8] >> 4) | ((packed[j + 4] >> 6) << 4));
        }
    }

    /// <summary>Unpacks the sixteen 6-bit scales of Q3_K.</summary>
    /// <param name="packed">12 bytes.</param>
    /// <param name="scales">= 16 scales, -32 to 31.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void UnpackScales(byte* packed, sbyte* scales)
    {
        for (int j = 0; j < 16; j++)
        {
            int low = j < 8 ? packed[j] & 15 : packed[j - 8] >> 4;
            int top = (packed[8 + (j % 4)] >> (2 * (j / 4))) & 3;
            scales[j] = (sbyte)((low | (top << 4)) - 32);
        }
    }

    // scales[16] (low nibble scale, high nibble minimum), qs[64], d, dmin: y = (d scale) q - (dmin minimum)
    private static void DecodeQ2K(byte* block, float* y, int count)
    {
        for (int b = 0; b < count; b++, block += 84, y += SuperLength)
        {
            float d = Half(block + 80);
            float lowest = Half(block + 82);
            for (int group = 0; group < 16; group++)
            {
                // Groups 0 to 7 share the first 32 bytes, two bits at a time; 8 to 15 the rest.
                byte* quads = block + 16 + (32 * (group / 8)) + (16 * (group % 2));
                Vector128<byte> q = Sixteen.Bits(Vector128.Load(quads), 2 * (group % 8 / 2), 3);
                Sixteen.ScaleAdd(q.AsSByte(), d * (block[group] & 15), -(lowest * (block[group] >> 4)), y + (16 * group));
            }
        }
    }

    // hmask[32], qs[64], scales[12], d: y = (d scale) (q - (high bit ? 0 : 4))
    private static void DecodeQ3K(byte* block, float* y, int count)
    {
        sbyte* scales = stackalloc sbyte[16];
        Vector128<sbyte> middle = Vector128.Create((sbyte)4);
        for (int b = 0; b < count; b++, block += 110, y += SuperLength)
        {
            float d = Half(block + 108);
            UnpackScales(block + 96, scales);
            for (int group = 0; group < 16; group++)
            {
                byte* quads = block + 32 + (32 * (group / 8)) + (16 * (group % 2));
                Vector128<byte> low = Sixteen.Bits(Vector128.Load(quads), 2 * (group % 8 / 2), 3);
                Vector128<byte> high = Sixteen.Bits(Vector128.Load(block + (16 * (group % 2))), group / 2, 1);
                Sixteen.Scale((low | (high.AsUInt16() << 2).AsByte()).AsSByte() - middle, d * scales[group], y + (16 * group));
            }
        }
    }

    // d, dmin, scales[12], qs[128]: y = (d scale) q - (dmin minimum); 32 bytes hold two groups, low and high nibbles
    private static void DecodeQ4K(byte* block, float* y, int count)
    {
        byte* scales = stackalloc byte[16];
        for (int b = 0; b < count; b++, block += 144, y += SuperLength)
        {
            float d = Half(block);
            float lowest = Half(block + 2);
            UnpackScales(block + 4, scales, scales + 8);
            for (int pair = 0; pair < 4; pair++)
            {
                Vector128<byte> first = Vector128.Load(block + 16 + (32 * pair));
                Vector128<byte> second = Vector128.Load(block + 32 + (32 * pair));
                float* output = y + (64 * pair);
                float scale = d * scales[2 * pair];
                float minimum = -(lowest * scales[8 + (2 * pair)]);
                Sixteen.ScaleAdd(Sixteen.Low(first).AsSByte(), scale, minimum, output);
                Sixteen.ScaleAdd(Sixteen.Low(second).AsSByte(), scale, minimum, output + 16);
                scale = d * scales[(2 * pair) + 1];
                minimum = -(lowest * scales[9 + (2 * pair)]);
                Sixteen.ScaleAdd(Sixteen.High(first).AsSByte(), scale, minimum, output + 32);
                Sixteen.ScaleAdd(Sixteen.High(second).AsSByte(), scale, minimum, output + 48);
            }
        }
    }

    // d, dmin, scales[12], qh[32], qs[128]: like Q4_K with a fifth bit: bit g of qh[l] for group g
    private static void DecodeQ5K(byte* block, float* y, int count)
    {
        byte* scales = stackalloc byte[16];
        for (int b = 0; b < count; b++, block += 176, y += SuperLength)
        {
            float d = Half(block);
            float lowest = Half(block + 2);
            UnpackScales(block + 4, scales, scales + 8);
            for (int group = 0; group < 8; group++)
            {
                float scale = d * scales[group];
                float minimum = -(lowest * scales[8 + group]);
                for (int half = 0; half < 32; half += 16)
                {
                    Vector128<byte> nibbles = Sixteen.Bits(Vector128.Load(block + 48 + (32 * (group / 2)) + half), 4 * (group % 2), 15);
                    Vector128<byte> fifth = (Sixteen.Bits(Vector128.Load(block + 16 + half), group, 1).AsUInt16() << 4).AsByte();
                    Sixteen.ScaleAdd((nibbles | fifth).AsSByte(), scale, minimum, y + (32 * group) + half);
                }
            }
        }
    }

    // ql[128], qh[64], scales i8[16], d: y = (d scale) (q - 32)
    private static void DecodeQ6K(byte* block, float* y, int count)
    {
        Vector128<sbyte> middle = Vector128.Create((sbyte)32);
        for (int b = 0; b < count; b++, block += 210, y += SuperLength)
        {
            float d = Half(block + 208);
            sbyte* scales = (sbyte*)block + 192;
            for (int group = 0; group < 16; group++)
            {
                // Group = 8 halves of the block + 2 quarters of the half + 1 of two sixteens.
                int half = group / 8;
                int quarter = group % 8 / 2;
                int place = 16 * (group % 2);
                Vector128<byte> low = Sixteen.Bits(Vector128.Load(block + (64 * half) + (32 * (quarter % 2)) + place), 4 * (quarter / 2), 15);
                Vector128<byte> top = Sixteen.Bits(Vector128.Load(block + 128 + (32 * half) + place), 2 * quarter, 3);
                Sixteen.Scale((low | (top.AsUInt16() << 4).AsByte()).AsSByte() - middle, d * scales[group], y + (16 * group));
            }
        }
    }

    // d f32, qs i8[256], sums i16[16]: y = d q
    private static void DecodeQ8K(byte* block, float* y, int count)
    {
        for (int b = 0; b < count; b++, block += 292, y += SuperLength)
        {
            float d = Unsafe.ReadUnaligned<float>(block);
            for (int i = 0; i < SuperLength; i += 16)
            {
                Sixteen.Scale(Vector128.Load((sbyte*)block + 4 + i), d, y + i);
            }
        }
    }

    // d, scales_h u16, scales_l[4], qs[128]: y = (d (scale - 32)) ladder[q]
    private static void DecodeIQ4XS(byte* block, float* y, int count)
    {
        for (int b = 0; b < count; b++, block += 136, y += SuperLength)
        {
            float d = Half(block);
            int high = Unsafe.ReadUnaligned<ushort>(block + 2);
            for (int group = 0; group < 8; group++)
            {
                int scale = ((block[4 + (group / 2)] >> (4 * (group % 2))) & 15) | (((high >> (2 * group)) & 3) << 4);
                Vector128<byte> nibbles = Vector128.Load(block + 8 + (16 * group));
                Sixteen.Scale(Vector128.Shuffle(UnevenLadder, Sixteen.Low(nibbles).AsSByte()), d * (scale - 32), y + (32 * group));
                Sixteen.Scale(Vector128.Shuffle(UnevenLadder, Sixteen.High(nibbles).AsSByte()), d * (scale - 32), y + (32 * group) + 16);
            }
        }
    }
}
