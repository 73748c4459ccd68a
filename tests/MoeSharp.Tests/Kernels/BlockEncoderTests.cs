using MoeSharp.Kernels;
using MoeSharp.Kernels.Formats;

namespace MoeSharp.Tests.Kernels;

/// <summary>Quantising: errors against those of another quantiser, weights of columns, edges.</summary>
public sealed class BlockEncoderTests
{
    public static TheoryData<WeightFormat> Encoded => [.. WeightFormats.All.Where(format => BlockEncoder.CanEncode(format) && format.BlockLength() > 1)];

    // Q8_0 has no choice to make.
    public static TheoryData<WeightFormat> Searched => [.. Encoded.Select(row => row.Data).Where(format => format != WeightFormat.Q8_0)];

    [Theory]
    [MemberData(nameof(Encoded))]
    public void Errors_are_no_larger_than_those_of_another_quantiser(WeightFormat format)
    {
        string? fixtures = Environment.GetEnvironmentVariable("MOE_FIXTURES");
        if (string.IsNullOrEmpty(fixtures))
        {
            Assert.Skip("MOE_FIXTURES is not set");
        }

        string folder = Path.Combine(fixtures, "llamacpp", "dequant");
        float[] source = Floats(Path.Combine(folder, "source.f32"));
        float[] theirs = Floats(Path.Combine(folder, format.Name() + ".f32"));

        double ours = Error(source, RoundTrip(format, source, []));

        double other = Error(source, theirs);
        TestContext.Current.TestOutputHelper?.WriteLine($"{format.Name()}: {ours:g5} against {other:g5}, {ours / other:p1}");
        Assert.True(ours <= other, $"{format.Name()}: rms error {ours:g6}, {other:g6} elsewhere");
    }

    [Theory]
    [MemberData(nameof(Encoded))]
    public void Values_that_the_format_can_hold_come_back(WeightFormat format)
    {
        // What was decoded from any block of moderate scale is representable; encoding it again must lose next to nothing.
        float[] exact = RoundTrip(format, Gaussian(1024, 3), []);

        Assert.InRange(Error(exact, RoundTrip(format, exact, [])), 0, 0.35 * Error(Gaussian(1024, 3), exact));
    }

    [Theory]
    [MemberData(nameof(Searched))]
    public void Columns_of_importance_get_smaller_errors(WeightFormat format)
    {
        const int Columns = 512;
        float[] values = Gaussian(8 * Columns, 4);
        float[] importance = [.. Enumerable.Range(0, Columns).Select(i => i % 8 == 0 ? 50f : i % 8 == 1 ? 0f : 1f)];

        float[] plain = RoundTrip(format, values, []);
        float[] weighted = RoundTrip(format, values, importance);

        double WeightedError(float[] decoded) => values.Select((value, i) => importance[i % Columns] * Math.Pow(value - decoded[i], 2)).Sum();
        Assert.True(WeightedError(weighted) < 0.97 * WeightedError(plain), $"{format.Name()}: {WeightedError(weighted) / WeightedError(plain):p1}");
        Assert.True(Error(values, weighted) < 2.5 * Error(values, plain)); // columns without importance still count a little
    }

    [Theory]
    [MemberData(nameof(Encoded))]
    public void Extreme_values_stay_finite_and_zeros_stay_zero(WeightFormat format)
    {
        int length = format.BlockLength();
        Assert.All(RoundTrip(format, new float[length], []), value => Assert.Equal(0f, value));
        foreach (float size in (float[])[1e-38f, 1e-20f, 1e-7f, 1e-4f, 1e4f, 1e10f, 1e30f])
        {
            float[] values = [.. Gaussian(length, 5).Select(value => value * size)];
            float[] decoded = RoundTrip(format, values, []);
            Assert.All(decoded, value => Assert.True(float.IsFinite(value)));
            if (size is >= 1e-4f and <= 1e4f)
            {
                Assert.InRange(Error(values, decoded) / size, 0, 0.5);
            }
        }
    }

    [Theory]
    [MemberData(nameof(Encoded))]
    public void Constant_and_one_sided_blocks_are_close(WeightFormat format)
    {
        int length = format.BlockLength();
        double step = format is WeightFormat.Q2K or WeightFormat.Q3K or WeightFormat.MXFP4 ? 0.2 : 0.1;
        foreach (float sign in (float[])[1, -1])
        {
            float[] constant = [.. Enumerable.Repeat(sign * 0.75f, length)];
            Assert.InRange(Error(constant, RoundTrip(format, constant, [])), 0, 0.02);
            float[] ramp = [.. Enumerable.Range(0, length).Select(i => sign * (1 + (i % 32 / 32f)))];
            Assert.InRange(Error(ramp, RoundTrip(format, ramp, [])), 0, step);
        }
    }

    [Theory]
    [MemberData(nameof(Encoded))]
    public void Blocks_do_not_depend_on_their_neighbours(WeightFormat format)
    {
        float[] values = Gaussian(4 * 256, 6);
        byte[] whole = new byte[format.RowBytes(values.Length)];
        BlockEncoder.Encode(format, values, [], whole);
        byte[] parts = new byte[whole.Length];
        int length = format.BlockLength();
        for (int block = 0; block < values.Length / length; block++)
        {
            BlockEncoder.Encode(format, values.AsSpan(block * length, length), [], parts.AsSpan(block * format.BlockBytes()));
        }

        Assert.Equal(whole, parts);
    }

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.PositiveInfinity)]
    public void Values_that_are_not_finite_are_refused(float value)
    {
        float[] values = new float[256];
        values[77] = value;
        FileFormatException error = Assert.Throws<FileFormatException>(() => BlockEncoder.Encode(WeightFormat.Q4K, values, [], new byte[144]));
        Assert.Contains("77", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Lengths_are_checked()
    {
        Assert.Throws<ShapeException>(() => BlockEncoder.Encode(WeightFormat.Q4_0, new float[31], [], new byte[18]));
        Assert.Throws<ShapeException>(() => BlockEncoder.Encode(WeightFormat.Q4_0, new float[32], [], new byte[17]));
        Assert.Throws<ShapeException>(() => BlockEncoder.Encode(WeightFormat.Q4_0, new float[96], new float[64], new byte[54]));
        Assert.Throws<ShapeException>(() => BlockEncoder.Encode(WeightFormat.Q4_0, new float[64], new float[16], new byte[36]));
        Assert.Throws<ArgumentOutOfRangeException>(() => BlockEncoder.Encode(WeightFormat.Q8K, new float[256], [], new byte[292]));
        BlockEncoder.Encode(WeightFormat.Q4_0, [], [], []);
    }

    [Fact]
    public void Plain_formats_are_written()
    {
        byte[] bytes = new byte[4];
        BlockEncoder.Encode(WeightFormat.F16, [1f, -2f], [], bytes);
        Assert.Equal([0x00, 0x3C, 0x00, 0xC0], bytes);
        BlockEncoder.Encode(WeightFormat.BF16, [1f, -2f], [], bytes);
        Assert.Equal([0x80, 0x3F, 0x00, 0xC0], bytes);
        BlockEncoder.Encode(WeightFormat.F32, [1f], [], bytes);
        Assert.Equal([0, 0, 0x80, 0x3F], bytes);
    }

    private static float[] RoundTrip(WeightFormat format, float[] values, float[] importance)
    {
        byte[] blocks = new byte[format.RowBytes(values.Length)];
        BlockEncoder.Encode(format, values, importance, blocks);
        float[] decoded = new float[values.Length];
        BlockDecoder.Decode(format, blocks, decoded);
        return decoded;
    }

    private static double Error(float[] expected, float[] actual) => Math.Sqrt(expected.Select((value, i) => Math.Pow((double)value - actual[i], 2)).Average());

    private static float[] Gaussian(int count, int seed)
    {
        Random random = new(seed);
        return [.. Enumerable.Range(0, count).Select(_ => (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble())))];
    }

    private static float[] Floats(string path)
    {
        byte[] bytes = File.ReadAllBytes(path);
        float[] values = new float[bytes.Length / sizeof(float)];
        NumberFormats.ReadFloat32(bytes, values);
        return values;
    }
}

/// <summary>The bytes that quantising gives; <see cref="SimdWidthTests"/> runs this with narrower registers.</summary>
public sealed class BlockEncoderBytesTests
{
    [Theory]
    [MemberData(nameof(BlockEncoderTests.Encoded), MemberType = typeof(BlockEncoderTests))]
    public void Bytes_are_the_same_for_every_width_of_registers(WeightFormat format)
    {
        // The sums do not depend on the width, so the known bytes hold everywhere.
        Random random = new(7);
        float[] values = [.. Enumerable.Range(0, 512).Select(_ => (float)(random.NextDouble() + random.NextDouble() + random.NextDouble() - 1.5))];
        byte[] blocks = new byte[format.RowBytes(values.Length)];
        BlockEncoder.Encode(format, values, [], blocks);

        Assert.Equal(Known.GetValueOrDefault(format, ""), Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(blocks))[..16]);
    }

    // Change only together with the search, and then only if the errors got smaller.
    private static readonly Dictionary<WeightFormat, string> Known = new()
    {
        [WeightFormat.MXFP4] = "BB3371315FE135F7",
        [WeightFormat.IQ4XS] = "70D1D467EA90553D",
        [WeightFormat.IQ4NL] = "97F0D5CEB8CB6E70",
        [WeightFormat.Q6K] = "47CDD5F1F492CAFA",
        [WeightFormat.Q5K] = "A4AABB8208876674",
        [WeightFormat.Q4K] = "595254D98E76051D",
        [WeightFormat.Q3K] = "91FDBC8FC398A0F5",
        [WeightFormat.Q2K] = "95A50943BF6ADBC2",
        [WeightFormat.Q5_1] = "FFB3C8E9C91E8D2C",
        [WeightFormat.Q5_0] = "B91E0FC36A16BACA",
        [WeightFormat.Q4_1] = "ADA7508C64B491B4",
        [WeightFormat.Q4_0] = "31E55EB71234190F",
        [WeightFormat.Q8_0] = "A25CE157E9EAEC7B",
    };
}
