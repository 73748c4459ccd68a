using MoeSharp.Kernels.Formats;
using MoeSharp.Kernels.Quantized;

namespace MoeSharp.Tests.Kernels.Quantized;

/// <summary>Random weights in every format, as bytes of a file.</summary>
internal static class PackedSamples
{
    /// <summary>Formats that weights of models come in.</summary>
    public static readonly WeightFormat[] Formats =
    [
        WeightFormat.F32, WeightFormat.F16, WeightFormat.BF16, WeightFormat.Q8_0, WeightFormat.Q4_0, WeightFormat.Q4_1, WeightFormat.Q5_0, WeightFormat.Q5_1,
        WeightFormat.Q2K, WeightFormat.Q3K, WeightFormat.Q4K, WeightFormat.Q5K, WeightFormat.Q6K, WeightFormat.Q8K, WeightFormat.IQ4NL, WeightFormat.IQ4XS, WeightFormat.MXFP4,
    ];

    public static TheoryData<WeightFormat> All => new(Formats);

    // Where the 16-bit scales of a block lie, that is, the bytes that must not be any bytes: NaN and infinity would hide everything.
    private static int[] HalfScales(WeightFormat format) => format switch
    {
        WeightFormat.Q8_0 or WeightFormat.Q4_0 or WeightFormat.Q5_0 or WeightFormat.IQ4NL or WeightFormat.IQ4XS => [0],
        WeightFormat.Q4_1 or WeightFormat.Q5_1 or WeightFormat.Q4K or WeightFormat.Q5K => [0, 2],
        WeightFormat.Q2K => [80, 82],
        WeightFormat.Q3K => [108],
        WeightFormat.Q6K => [208],
        _ => [],
    };

    /// <summary>Whether the byte at this place of a run of blocks belongs to a floating-point number.</summary>
    public static bool IsScale(WeightFormat format, int at)
    {
        int offset = at % format.BlockBytes();
        return format switch
        {
            WeightFormat.F32 or WeightFormat.F16 or WeightFormat.BF16 => true,
            WeightFormat.Q8K => offset < 4,
            WeightFormat.MXFP4 => offset == 0,
            _ => HalfScales(format).Any(scale => offset == scale || offset == scale + 1),
        };
    }

    /// <summary>Blocks whose integers are any bytes and whose scales make values of ordinary size.</summary>
    public static byte[] Blocks(WeightFormat format, int rows, int columns, int seed)
    {
        Random random = new(seed);
        byte[] bytes = new byte[rows * format.RowBytes(columns)];
        random.NextBytes(bytes);
        for (int at = 0; at < bytes.Length; at += format.BlockBytes())
        {
            Span<byte> block = bytes.AsSpan(at, format.BlockBytes());
            foreach (int offset in HalfScales(format))
            {
                BitConverter.TryWriteBytes(block[offset..], (Half)((random.NextDouble() - 0.3) * 0.02));
            }

            switch (format)
            {
                case WeightFormat.F32 or WeightFormat.Q8K:
                    BitConverter.TryWriteBytes(block, (float)((random.NextDouble() - 0.5) * 0.1));
                    break;
                case WeightFormat.F16:
                    BitConverter.TryWriteBytes(block, (Half)((random.NextDouble() - 0.5) * 0.1));
                    break;
                case WeightFormat.BF16:
                    BitConverter.TryWriteBytes(block, (ushort)(BitConverter.SingleToUInt32Bits((float)((random.NextDouble() - 0.5) * 0.1)) >> 16));
                    break;
                case WeightFormat.MXFP4:
                    block[0] = (byte)random.Next(115, 125);
                    break;
            }
        }

        return bytes;
    }

    /// <summary>A packed stack of such weights, and its decoded values [groups, rows, columns].</summary>
    public static PackedMatrix Pack(int groups, int columns, int seed, out float[] decoded, params PackedPart[] parts)
    {
        PackedMatrix matrix = new(groups, columns, parts);
        decoded = new float[groups * matrix.Rows * columns];
        for (int group = 0; group < groups; group++)
        {
            int row = 0;
            foreach (PackedPart part in parts)
            {
                byte[] blocks = Blocks(part.Format, part.Rows, columns, seed++);
                matrix.SetRows(group, row, part.Rows, blocks);
                BlockDecoder.Decode(part.Format, blocks, decoded.AsSpan(((group * matrix.Rows) + row) * columns, part.Rows * columns));
                row += part.Rows;
            }
        }

        return matrix;
    }

    /// <summary>Normal-like activations with a few large values.</summary>
    public static float[] Activations(int count, int seed)
    {
        Random random = new(seed);
        float[] x = new float[count];
        for (int i = 0; i < count; i++)
        {
            x[i] = (float)((random.NextDouble() + random.NextDouble() + random.NextDouble() - 1.5) * (random.Next(50) == 0 ? 8 : 1));
        }

        return x;
    }
}
