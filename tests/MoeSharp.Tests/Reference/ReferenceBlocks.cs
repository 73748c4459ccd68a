using MoeSharp.Kernels.Formats;

namespace MoeSharp.Tests.Reference;

/// <summary>One value of a block at a time, by the definition of each format; slow and plain.</summary>
internal static class ReferenceBlocks
{
    private static readonly int[] s_ladder = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
    private static readonly float[] s_float4 = [0, 0.5f, 1, 1.5f, 2, 3, 4, 6];

    public static float Value(WeightFormat format, ReadOnlySpan<byte> block, int i)
    {
        int nibbleOf(ReadOnlySpan<byte> qs) => i < 16 ? qs[i] & 15 : qs[i - 16] >> 4;
        switch (format)
        {
            case WeightFormat.Q8_0:
                return Half(block) * (sbyte)block[2 + i];
            case WeightFormat.Q4_0:
                return Half(block) * (nibbleOf(block[2..]) - 8);
            case WeightFormat.Q4_1:
                return (Half(block) * nibbleOf(block[4..])) + Half(block[2..]);
            case WeightFormat.Q5_0:
                return Half(block) * ((nibbleOf(block[6..]) | (Bit(block[2..], i) << 4)) - 16);
            case WeightFormat.Q5_1:
                return (Half(block) * (nibbleOf(block[8..]) | (Bit(block[4..], i) << 4))) + Half(block[2..]);
            case WeightFormat.IQ4NL:
                return Half(block) * s_ladder[nibbleOf(block[2..])];
            case WeightFormat.MXFP4:
                int code = nibbleOf(block[1..]);
                double value = Math.ScaleB(code < 8 ? s_float4[code] : -s_float4[code - 8], block[0] - 127);
                return code == 8 ? 0f : (float)value;
            case WeightFormat.Q8K:
                return BitConverter.ToSingle(block) * (sbyte)block[4 + i];
            default:
                return Super(format, block, i);
        }
    }

    private static float Super(WeightFormat format, ReadOnlySpan<byte> block, int i)
    {
        int half = i / 128;
        int place = i % 32;
        int plane = i % 128 / 32;
        switch (format)
        {
            case WeightFormat.Q2K:
                int scale = block[i / 16];
                return (Half(block[80..]) * (scale & 15) * ((block[16 + (32 * half) + place] >> (2 * plane)) & 3)) - (Half(block[82..]) * (scale >> 4));
            case WeightFormat.Q3K:
                int bit = (block[place] >> ((4 * half) + plane)) & 1;
                int low = (block[32 + (32 * half) + place] >> (2 * plane)) & 3;
                return Half(block[108..]) * SixBits(block[96..], i / 16) * (low - (bit == 1 ? 0 : 4));
            case WeightFormat.Q4K:
                return Paired(block, (block[16 + (32 * (i / 64)) + place] >> (4 * (i / 32 % 2))) & 15, i / 32);
            case WeightFormat.Q5K:
                int four = (block[48 + (32 * (i / 64)) + place] >> (4 * (i / 32 % 2))) & 15;
                return Paired(block, four | (((block[16 + place] >> (i / 32)) & 1) << 4), i / 32);
            case WeightFormat.Q6K:
                int lower = (block[(64 * half) + (32 * (plane % 2)) + place] >> (4 * (plane / 2))) & 15;
                int upper = (block[128 + (32 * half) + place] >> (2 * plane)) & 3;
                return Half(block[208..]) * (sbyte)block[192 + (i / 16)] * ((lower | (upper << 4)) - 32);
            case WeightFormat.IQ4XS:
                int group = i / 32;
                int ls = ((block[4 + (group / 2)] >> (4 * (group % 2))) & 15) | (((BitConverter.ToUInt16(block[2..]) >> (2 * group)) & 3) << 4);
                int nibble = (block[8 + (16 * group) + (i % 16)] >> (4 * (i / 16 % 2))) & 15;
                return Half(block) * (ls - 32) * s_ladder[nibble];
            default:
                throw new ArgumentOutOfRangeException(nameof(format));
        }
    }

    private static float Paired(ReadOnlySpan<byte> block, int q, int j)
    {
        ReadOnlySpan<byte> s = block.Slice(4, 12);
        int scale = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | (s[j - 4] >> 6 << 4);
        int minimum = j < 4 ? s[j + 4] & 63 : (s[j + 4] >> 4) | (s[j] >> 6 << 4);
        return (Half(block) * scale * q) - (Half(block[2..]) * minimum);
    }

    private static int SixBits(ReadOnlySpan<byte> s, int b) => ((b < 8 ? s[b] & 15 : s[b - 8] >> 4) | (((s[8 + (b % 4)] >> (2 * (b / 4))) & 3) << 4)) - 32;

    private static int Bit(ReadOnlySpan<byte> bytes, int i) => (bytes[i / 8] >> (i % 8)) & 1;

    private static float Half(ReadOnlySpan<byte> bytes) => (float)BitConverter.ToHalf(bytes);
}
