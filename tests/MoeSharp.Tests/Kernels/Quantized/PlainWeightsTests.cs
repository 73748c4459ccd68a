using MoeSharp.Kernels;
using MoeSharp.Kernels.Formats;
using MoeSharp.Kernels.Quantized;

namespace MoeSharp.Tests.Kernels.Quantized;

/// <summary>Packed plain numbers: products that widen them in registers have the bits of products with decoded weights.</summary>
public sealed class PlainWeightsTests
{
    private static readonly WeightFormat[] s_formats = [WeightFormat.BF16, WeightFormat.F16, WeightFormat.F32];

    public static TheoryData<WeightFormat, string> FormatsAndInstructions
    {
        get
        {
            TheoryData<WeightFormat, string> cases = [];
            foreach (WeightFormat format in s_formats)
            {
                foreach (UnitInstructions instructions in Enum.GetValues<UnitInstructions>())
                {
                    cases.Add(format, instructions.ToString());
                }
            }

            return cases;
        }
    }

    [Theory]
    [MemberData(nameof(FormatsAndInstructions))]
    public void Few_rows_and_odd_shapes_have_the_bits_of_decoded_weights(WeightFormat format, string name)
    {
        UnitInstructions instructions = Enum.Parse<UnitInstructions>(name);
        Assert.SkipUnless(UnitInstruction.IsSupported(instructions), $"this processor has no {name}");
        using WorkerPool workers = new(2);
        foreach (int k in new[] { 1, 2, 17, 96, 511, 513, 1041, 1537 })
        {
            foreach (int n in new[] { 1, 15, 16, 17, 32, 47, 53 })
            {
                using PackedMatrix w = PackedSamples.Pack(1, k, k + n, out float[] decoded, new PackedPart(n, format));
                foreach (int m in new[] { 1, 2, 3, 4, 5, 8, 9 })
                {
                    float[] x = PackedSamples.Activations(m * (k + 3), m), expected = new float[m * (n + 5)], actual = new float[m * (n + 5)];
                    MatMul.NT(workers, m, n, k, x, k + 3, decoded, k, expected, n + 5, false);
                    QuantizedMatMul.NT(workers, m, x, k + 3, w, 0, actual, n + 5, ActivationPrecision.Int8, instructions);
                    KernelCheck.SameBits(expected, actual, $"{m} rows, {n} outputs, {k} columns");
                }
            }
        }
    }

    // Zeros of both signs, subnormal numbers, infinities and everything that is not a number.
    [Theory]
    [InlineData(WeightFormat.BF16)]
    [InlineData(WeightFormat.F16)]
    public void Every_number_of_16_bits_is_widened_exactly(WeightFormat format)
    {
        const int N = 1 << 16;
        using WorkerPool workers = new(1);
        byte[] blocks = new byte[2 * N];
        for (int code = 0; code < N; code++)
        {
            BitConverter.TryWriteBytes(blocks.AsSpan(2 * code), (ushort)code);
        }

        using PackedMatrix w = new(1, 1, new PackedPart(N, format));
        w.SetRows(0, 0, N, blocks);
        float[] decoded = new float[N], actual = new float[N];
        BlockDecoder.Decode(format, blocks, decoded);
        foreach (UnitInstructions instructions in Enum.GetValues<UnitInstructions>().Where(UnitInstruction.IsSupported))
        {
            QuantizedMatMul.NT(workers, 1, new float[] { 1f }, 1, w, 0, actual, N, ActivationPrecision.Int8, instructions);
            for (int code = 0; code < N; code++)
            {
                Assert.True(decoded[code].Equals(actual[code]), $"{format} {code:X4} {instructions}: {actual[code]} instead of {decoded[code]}");
            }
        }
    }

    [Fact]
    public void Rows_set_in_pieces_come_back_byte_for_byte()
    {
        const int Rows = 53;
        foreach (WeightFormat format in s_formats)
        {
            foreach (int columns in new[] { 1, 7, 8, 37, 200 })
            {
                int rowBytes = (int)format.RowBytes(columns);
                byte[] any = new byte[Rows * rowBytes], back = new byte[Rows * rowBytes];
                new Random(columns).NextBytes(any);
                using PackedMatrix matrix = new(1, columns, new PackedPart(Rows, format));
                for (int row = 0, count = 1; row < Rows; row += count, count += 4)
                {
                    count = Math.Min(count, Rows - row);
                    matrix.SetRows(0, row, count, any.AsSpan(row * rowBytes, count * rowBytes));
                }

                matrix.GetRows(0, 0, Rows, back);
                Assert.True(any.AsSpan().SequenceEqual(back), $"{format} {columns} columns");
            }
        }
    }
}
