using MoeSharp.Kernels;
using MoeSharp.Kernels.Formats;
using MoeSharp.Kernels.Quantized;

namespace MoeSharp.Tests.Kernels.Quantized;

/// <summary>Products with packed weights: right, and the same bits however they are asked for.</summary>
public sealed class QuantizedMatMulTests
{
    public static TheoryData<WeightFormat> Formats => PackedSamples.All;

    [Theory]
    [MemberData(nameof(Formats))]
    public void Float_activations_give_the_bits_of_the_decoded_weights(WeightFormat format)
    {
        const int M = 5, N = 53, K = 768;
        using WorkerPool workers = new(2);
        using PackedMatrix w = PackedSamples.Pack(1, K, 11, out float[] decoded, new PackedPart(N, format));
        float[] x = PackedSamples.Activations(M * K, 1), expected = new float[M * N], actual = new float[M * N];
        MatMul.NT(workers, M, N, K, x, K, decoded, K, expected, N, false);
        QuantizedMatMul.NT(workers, M, x, K, w, 0, actual, N, ActivationPrecision.Float32);
        Assert.Equal(expected, actual);
    }

    // Rounding to 8 bits moves each activation by at most half a step, scale / 2; the errors of a row add up like a random walk.
    [Theory]
    [MemberData(nameof(Formats))]
    public void Rounded_activations_stay_within_their_rounding_error(WeightFormat format)
    {
        const int M = 7, N = 48, K = 768;
        using WorkerPool workers = new(1);
        using PackedMatrix w = PackedSamples.Pack(1, K, 21, out float[] decoded, new PackedPart(N, format));
        float[] x = PackedSamples.Activations(M * K, 2), actual = new float[M * N];
        QuantizedMatMul.NT(workers, M, x, K, w, 0, actual, N, ActivationPrecision.Int8);
        for (int m = 0; m < M; m++)
        {
            for (int n = 0; n < N; n++)
            {
                (double expected, double rounded, double size) = ReferenceDot(x.AsSpan(m * K, K), decoded.AsSpan(n * K, K));
                bool isRounded = StripLayouts.Of(format).TakesBytes && !StripLayouts.Of(format).TakesRest;
                double exact = isRounded ? rounded : expected;
                double tolerance = StripLayouts.Of(format).TakesRest ? 2e-5 : 3e-6; // what two roundings to 8 bits leave
                Assert.True(Math.Abs(actual[(m * N) + n] - exact) <= tolerance * size, $"{format} [{m}, {n}]: {actual[(m * N) + n]} instead of {exact}, sum of magnitudes {size}");
            }
        }
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public void A_row_has_the_same_bits_alone_and_in_company(WeightFormat format)
    {
        const int M = 21, N = 80, K = 512;
        using WorkerPool one = new(1), two = new(2);
        using PackedMatrix w = PackedSamples.Pack(1, K, 31, out _, new PackedPart(N, format));
        float[] x = PackedSamples.Activations(M * K, 3), alone = new float[M * N];
        for (int m = 0; m < M; m++)
        {
            QuantizedMatMul.NT(one, 1, x.AsSpan(m * K), K, w, 0, alone.AsSpan(m * N), N, ActivationPrecision.Int8);
        }

        for (int m = 2; m <= M; m++)
        {
            float[] together = new float[m * N];
            QuantizedMatMul.NT(m % 2 == 0 ? one : two, m, x, K, w, 0, together, N, ActivationPrecision.Int8);
            KernelCheck.SameBits(alone.AsSpan(0, m * N), together, $"{m} rows");
        }
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public void Grouped_rows_have_the_bits_of_single_products(WeightFormat format)
    {
        const int Groups = 6, N = 40, K = 256, Tokens = 9;
        int[] offsets = [0, 0, 3, 4, 4, 13, 14];
        int[] gather = [8, 0, 3, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8, 1];
        using WorkerPool workers = new(2);
        using PackedMatrix w = PackedSamples.Pack(Groups, K, 41, out _, new PackedPart(N - 8, format), new PackedPart(8, WeightFormat.Q8_0));
        float[] x = PackedSamples.Activations(Tokens * K, 4), actual = new float[14 * N], direct = new float[14 * N], expected = new float[14 * N];
        QuantizedMatMul.GroupedNT(workers, offsets, x, K, gather, w, actual, N, ActivationPrecision.Int8);
        float[] gathered = new float[14 * K];
        for (int g = 0; g < Groups; g++)
        {
            for (int row = offsets[g]; row < offsets[g + 1]; row++)
            {
                x.AsSpan(gather[row] * K, K).CopyTo(gathered.AsSpan(row * K));
                QuantizedMatMul.NT(workers, 1, gathered.AsSpan(row * K), K, w, g, expected.AsSpan(row * N), N, ActivationPrecision.Int8);
            }
        }

        QuantizedMatMul.GroupedNT(workers, offsets, gathered, K, [], w, direct, N, ActivationPrecision.Int8);
        Assert.Equal(expected, actual);
        Assert.Equal(expected, direct);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(64)]
    public void Batched_groups_have_the_bits_of_single_products(int step)
    {
        const int Groups = 3, N = 24, K = 64, M = 5, Width = 200, OutWidth = 90;
        using WorkerPool workers = new(2);
        using PackedMatrix w = PackedSamples.Pack(Groups, K, 51, out _, new PackedPart(N, WeightFormat.Q8_0));
        float[] x = PackedSamples.Activations(M * Width, 5), actual = new float[M * OutWidth], expected = new float[M * OutWidth];
        QuantizedMatMul.BatchedNT(workers, M, x, Width, step, w, actual, OutWidth, 30, ActivationPrecision.Int8);
        for (int g = 0; g < Groups; g++)
        {
            QuantizedMatMul.NT(workers, M, x.AsSpan(g * step), Width, w, g, expected.AsSpan(g * 30), OutWidth, ActivationPrecision.Int8);
        }

        Assert.Equal(expected, actual);
    }

    public static TheoryData<WeightFormat, string> FormatsAndInstructions
    {
        get
        {
            TheoryData<WeightFormat, string> cases = [];
            foreach (WeightFormat format in PackedSamples.Formats.Where(format => StripLayouts.Of(format).TakesBytes))
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
    public void Every_instruction_set_gives_the_same_bits(WeightFormat format, string name)
    {
        const int M = 11, N = 45, K = 512;
        UnitInstructions instructions = Enum.Parse<UnitInstructions>(name);
        Assert.SkipUnless(UnitInstruction.IsSupported(instructions), $"this processor has no {name}");
        using WorkerPool workers = new(1);
        using PackedMatrix w = PackedSamples.Pack(1, K, 71, out _, new PackedPart(N, format));
        float[] x = PackedSamples.Activations(M * K, 7);
        foreach (int m in new[] { 1, M })
        {
            float[] expected = new float[m * N], actual = new float[m * N];
            QuantizedMatMul.NT(workers, m, x, K, w, 0, expected, N, ActivationPrecision.Int8, UnitInstruction.Best);
            QuantizedMatMul.NT(workers, m, x, K, w, 0, actual, N, ActivationPrecision.Int8, instructions);
            KernelCheck.SameBits(expected, actual, $"{m} rows");
        }
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public void Extreme_codes_and_activations_do_not_overflow(WeightFormat format)
    {
        const int N = 16, K = 256;
        using WorkerPool workers = new(1);
        foreach (byte fill in new byte[] { 0x00, 0xFF })
        {
            byte[] blocks = PackedSamples.Blocks(format, N, K, 5);
            foreach (int at in Enumerable.Range(0, blocks.Length).Where(at => !PackedSamples.IsScale(format, at)))
            {
                blocks[at] = fill;
            }

            using PackedMatrix w = new(1, K, new PackedPart(N, format));
            w.SetRows(0, 0, N, blocks);
            float[] decoded = new float[N * K], x = new float[K], y = new float[N];
            BlockDecoder.Decode(format, blocks, decoded);
            Array.Fill(x, 127f); // rounds to 127 of 127 in every column
            foreach (UnitInstructions instructions in Enum.GetValues<UnitInstructions>().Where(UnitInstruction.IsSupported))
            {
                QuantizedMatMul.NT(workers, 1, x, K, w, 0, y, N, ActivationPrecision.Int8, instructions);
                for (int n = 0; n < N; n++)
                {
                    (double exact, _, double size) = ReferenceDot(x, decoded.AsSpan(n * K, K));
                    Assert.True(Math.Abs(y[n] - exact) <= 3e-6 * size, $"{format} {instructions} {n}: {y[n]} instead of {exact}");
                }
            }
        }
    }

    [Fact]
    public void A_value_that_is_not_a_number_is_not_hidden()
    {
        using WorkerPool workers = new(1);
        using PackedMatrix w = PackedSamples.Pack(1, 64, 61, out _, new PackedPart(16, WeightFormat.Q8_0));
        float[] x = PackedSamples.Activations(64, 6), y = new float[16];
        x[40] = float.NaN;
        QuantizedMatMul.NT(workers, 1, x, 64, w, 0, y, 16, ActivationPrecision.Int8);
        Assert.All(y, value => Assert.True(float.IsNaN(value)));
    }

    // The sums in double precision: with the activations as they are, and rounded as the product rounds them.
    private static (double Exact, double Rounded, double Size) ReferenceDot(ReadOnlySpan<float> x, ReadOnlySpan<float> w)
    {
        double exact = 0, rounded = 0, size = 0;
        for (int unit = 0; unit < x.Length; unit += 32)
        {
            float largest = 0;
            foreach (float value in x.Slice(unit, 32))
            {
                largest = Math.Max(largest, Math.Abs(value));
            }

            float scale = largest / 127f, inverse = 127f / largest;
            for (int k = unit; k < unit + 32; k++)
            {
                exact += (double)x[k] * w[k];
                rounded += (double)scale * MathF.Round(x[k] * inverse) * w[k];
                size += Math.Abs((double)x[k] * w[k]);
            }
        }

        return (exact, rounded, size);
    }
}
