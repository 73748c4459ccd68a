using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using MoeSharp.Kernels.Formats;

namespace MoeSharp.Kernels.Quantized;

/// <summary>Fills packed matrices with random weights in place, at the speed of memory: models of any size to measure with, without a file.</summary>
/// <remarks>Codes are any bytes, so values are uniform rather than normal; the scales of all strips are alike and give the deviation asked for.</remarks>
internal static unsafe class RandomWeights
{
    /// <summary>Fills every row of every group.</summary>
    /// <param name="workers">Workers; their number does not change the result.</param>
    /// <param name="seed">Seed.</param>
    /// <param name="deviation">Standard deviation of the values, roughly.</param>
    /// <param name="matrix">= weights.</param>
    public static void Fill(WorkerPool workers, ulong seed, float deviation, PackedMatrix matrix)
    {
        foreach (StripPart part in matrix.Strips)
        {
            using NativeBuffer template = new(part.StripBytes / sizeof(float));
            byte* strip = (byte*)template.Pointer;
            PackTemplate(part.Layout, matrix.Columns, seed, deviation, strip);
            FillJob job = new() { Matrix = matrix, Part = part, Template = strip, Seed = seed };
            workers.ForRows(matrix.Groups * part.NumStrips, 16, ref job);
        }
    }

    private static void PackTemplate(StripLayout layout, int columns, ulong seed, float deviation, byte* strip)
    {
        int rowBytes = checked((int)layout.Format.RowBytes(columns));
        byte[] row = new byte[rowBytes];
        float[] values = new float[columns];
        Random random = new((int)seed);
        for (int lane = 0; lane < StripLayout.Rows; lane++)
        {
            random.NextBytes(row);
            SetScales(layout.Format, row, 1f / 64, new Random(lane));
            BlockDecoder.Decode(layout.Format, row, values);
            double squares = 0;
            foreach (float value in values)
            {
                squares += (double)value * value;
            }

            SetScales(layout.Format, row, deviation / 64 / (float)Math.Sqrt(squares / columns), new Random(lane));
            fixed (byte* source = row)
            {
                layout.Pack(source, rowBytes, lane, 1, columns, strip);
            }
        }
    }

    // Codes lie half a step off the centre; without signs that differ, every row would lean to the same side and all tokens would end up alike.
    private static void SetScales(WeightFormat format, Span<byte> row, float magnitude, Random signs)
    {
        for (int at = 0; at < row.Length; at += format.BlockBytes())
        {
            Span<byte> block = row[at..];
            float scale = signs.Next(2) == 0 ? magnitude : -magnitude;
            foreach (int offset in HalvesOf(format))
            {
                BitConverter.TryWriteBytes(block[offset..], (Half)(scale * (offset == HalvesOf(format)[0] ? 1 : -MinimumShare(format))));
            }

            switch (format)
            {
                case WeightFormat.MXFP4:
                    block[0] = (byte)Math.Clamp(128 + Math.ILogB(magnitude), 2, 250);
                    break;
                case WeightFormat.F32 or WeightFormat.Q8K:
                    BitConverter.TryWriteBytes(block, scale * (1 + (at % 97 / 97f)));
                    break;
                case WeightFormat.F16:
                    BitConverter.TryWriteBytes(block, (Half)(scale * (1 + (at % 97 / 97f))));
                    break;
                case WeightFormat.BF16:
                    BitConverter.TryWriteBytes(block, (ushort)(BitConverter.SingleToUInt32Bits(scale * (1 + (at % 97 / 97f))) >> 16));
                    break;
            }
        }
    }

    // Where the halves of a block lie, the scale first, the minimum second.
    private static int[] HalvesOf(WeightFormat format) => format switch
    {
        WeightFormat.Q8_0 or WeightFormat.Q4_0 or WeightFormat.Q5_0 or WeightFormat.IQ4NL or WeightFormat.IQ4XS => [0],
        WeightFormat.Q4_1 or WeightFormat.Q5_1 or WeightFormat.Q4K or WeightFormat.Q5K => [0, 2],
        WeightFormat.Q2K => [80, 82],
        WeightFormat.Q3K => [108],
        WeightFormat.Q6K => [208],
        _ => [],
    };

    // The minimum that centres the values: half the largest code, counted in the units of the minimum.
    private static float MinimumShare(WeightFormat format) => format switch
    {
        WeightFormat.Q4_1 => 7.5f,
        WeightFormat.Q5_1 => 15.5f,
        WeightFormat.Q4K => -7.5f,
        WeightFormat.Q5K => -15.5f,
        WeightFormat.Q2K => -1.5f,
        _ => 0f,
    };

    private struct FillJob : IRowJob
    {
        public PackedMatrix Matrix;
        public StripPart Part;
        public byte* Template;
        public ulong Seed;

        public readonly void Run(int begin, int end)
        {
            for (int index = begin; index < end; index++)
            {
                byte* strip = Matrix.Strip(index / Part.NumStrips, Part, index % Part.NumStrips * StripLayout.Rows);
                long codes = Part.Layout.CodesBegin(Matrix.Columns);
                Buffer.MemoryCopy(Template, strip, Part.StripBytes, codes);
                FillBytes(strip + codes, strip + Part.StripBytes, (Seed * 0x9E3779B97F4A7C15) ^ ((ulong)index << 1) ^ 0x5DEECE66D);
            }
        }
    }

    // Eight xorshift generators (Marsaglia, 2003) of 64 bits; a strip is a multiple of 64 bytes.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void FillBytes(byte* from, byte* end, ulong seed)
    {
        Vector512<ulong> state = Vector512.Create(seed) * Vector512.Create(0xD1342543DE82EF95UL, 0xAF251AF3B0F025B5, 0xB564EF22EC7AECE5, 0xF7C2EBC08F67F2B5, 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93);
        for (; from < end; from += 64)
        {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.AsByte().Store(from);
        }
    }
}
