using System.Text.Json;
using MoeSharp.Checkpoints;
using MoeSharp.Kernels;
using MoeSharp.Kernels.Formats;
using MoeSharp.Tests.Reference;

namespace MoeSharp.Tests.Kernels;

/// <summary>Decoding of stored weights: every format, bit for bit.</summary>
public sealed class BlockDecoderTests
{
    public static TheoryData<WeightFormat> BlockFormats => [.. WeightFormats.All.Where(format => format.BlockLength() > 1)];

    [Theory]
    [MemberData(nameof(BlockFormats))]
    public void Blocks_decode_to_the_values_of_their_definition(WeightFormat format)
    {
        const int Blocks = 37;
        byte[] bytes = new byte[1 + (Blocks * format.BlockBytes())];
        new Random(11).NextBytes(bytes);
        ReadOnlySpan<byte> blocks = bytes.AsSpan(1); // misaligned, as in files
        float[] values = new float[Blocks * format.BlockLength()];

        BlockDecoder.Decode(format, blocks, values);

        float[] expected = new float[values.Length];
        for (int i = 0; i < values.Length; i++)
        {
            expected[i] = ReferenceBlocks.Value(format, blocks.Slice(i / format.BlockLength() * format.BlockBytes(), format.BlockBytes()), i % format.BlockLength());
        }

        AssertSameBits(expected, values, format.Name());
    }

    [Fact]
    public void Halves_of_every_code_are_exact()
    {
        byte[] bytes = new byte[2 * 65536];
        for (int code = 0; code < 65536; code++)
        {
            BitConverter.TryWriteBytes(bytes.AsSpan(2 * code), (ushort)code);
        }

        float[] values = new float[65536];
        BlockDecoder.Decode(WeightFormat.F16, bytes, values);
        byte[] written = new byte[bytes.Length];
        NumberFormats.WriteFloat16(values, written);

        for (int code = 0; code < 65536; code++)
        {
            float expected = (float)BitConverter.UInt16BitsToHalf((ushort)code);
            Assert.True(float.IsNaN(expected) ? float.IsNaN(values[code]) : BitConverter.SingleToUInt32Bits(expected) == BitConverter.SingleToUInt32Bits(values[code]), $"code {code:x4}");
            Assert.True(float.IsNaN(expected) || BitConverter.ToUInt16(written, 2 * code) == code, $"code {code:x4} was written differently");
        }
    }

    [Fact]
    public void Integers_widen()
    {
        float[] values = new float[2];
        BlockDecoder.Decode(WeightFormat.I8, [0xFF, 5], values);
        Assert.Equal([-1f, 5f], values);
        BlockDecoder.Decode(WeightFormat.I16, [0xFE, 0xFF, 0, 1], values);
        Assert.Equal([-2f, 256f], values);
        BlockDecoder.Decode(WeightFormat.I32, [0xFE, 0xFF, 0xFF, 0xFF, 0, 0, 1, 0], values);
        Assert.Equal([-2f, 65536f], values);
        BlockDecoder.Decode(WeightFormat.I64, [0xFD, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 7, 0, 0, 0, 0, 0, 0, 0], values);
        Assert.Equal([-3f, 7f], values);
    }

    [Theory]
    [InlineData(WeightFormat.F8E5M2, 0x3C, 1f)]
    [InlineData(WeightFormat.F8E5M2, 0x7C, float.PositiveInfinity)]
    [InlineData(WeightFormat.F8E5M2, 0x81, -1.52587890625e-05f)] // smallest subnormal, 2^-16
    [InlineData(WeightFormat.F8E4M3, 0x7E, 448f)]
    [InlineData(WeightFormat.F8E4M3, 0x01, 0.001953125f)] // 2^-9
    [InlineData(WeightFormat.F8E4M3, 0xFF, float.NaN)]
    [InlineData(WeightFormat.F8E8M0, 127, 1f)]
    [InlineData(WeightFormat.F8E8M0, 0, 5.877471754111438e-39f)] // 2^-127, a subnormal
    [InlineData(WeightFormat.F8E8M0, 255, float.NaN)]
    public void Small_floats_have_their_published_values(WeightFormat format, int code, float expected)
    {
        float[] values = new float[1];
        BlockDecoder.Decode(format, [(byte)code], values);
        Assert.Equal(expected, values[0]);
    }

    [Fact]
    public void Lengths_are_checked()
    {
        Assert.Throws<ShapeException>(() => BlockDecoder.Decode(WeightFormat.Q4_0, new byte[18], new float[31]));
        Assert.Throws<ShapeException>(() => BlockDecoder.Decode(WeightFormat.Q4_0, new byte[17], new float[32]));
        Assert.Throws<ShapeException>(() => BlockDecoder.Decode(WeightFormat.F16, new byte[3], new float[2]));
        Assert.Throws<ShapeException>(() => WeightFormat.Q4K.RowBytes(255));
        BlockDecoder.Decode(WeightFormat.Q4_0, [], []);
    }

    [Fact]
    public void Formats_are_found_by_name_and_number()
    {
        foreach (WeightFormat format in WeightFormats.All)
        {
            Assert.Equal(format, WeightFormats.Find(format.Name().ToUpperInvariant()));
            Assert.True(format.GgmlType() is not { } type || WeightFormats.FromGgmlType(type) == format, format.Name());
        }

        Assert.Equal(WeightFormat.Q4K, WeightFormats.FromGgmlType(12));
        Assert.Null(WeightFormats.FromGgmlType(4));
        Assert.Null(WeightFormats.FromGgmlType(uint.MaxValue));
        Assert.Null(WeightFormats.Find("q7"));
        Assert.Equal(144 * 4, WeightFormat.Q4K.RowBytes(1024));
    }

    [Fact]
    public void Collected_blocks_decode_bit_for_bit()
    {
        using SafetensorsFile file = SafetensorsFile.Open(Path.Combine(Fixtures(), "ggml-quants", "blocks.safetensors"));
        int formats = 0;
        foreach (string raw in file.Names.Where(name => name.EndsWith(".raw", StringComparison.Ordinal)))
        {
            string name = raw[..^".raw".Length];
            WeightFormat format = Assert.NotNull(WeightFormats.Find(name));
            long[] codes = new long[file.Tensor(raw).Length];
            file.ReadIntegers(raw, codes);
            byte[] blocks = [.. codes.Select(code => (byte)code)];
            float[] expected = new float[file.Tensor(name + ".expected").Length];
            file.ReadFloats(name + ".expected", expected);

            float[] values = new float[expected.Length];
            BlockDecoder.Decode(format, blocks, values);

            AssertSameBits(expected, values, name);
            formats++;
        }

        Assert.Equal(17, formats);
    }

    [Fact]
    public void Rows_quantised_elsewhere_decode_bit_for_bit()
    {
        string folder = Path.Combine(Fixtures(), "llamacpp", "dequant");
        using JsonDocument index = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "index.json")));
        foreach (JsonElement entry in index.RootElement.EnumerateArray())
        {
            string name = entry.GetProperty("type").GetString() ?? "";
            WeightFormat format = Assert.NotNull(WeightFormats.FromGgmlType(entry.GetProperty("ggml_type").GetUInt32()));
            Assert.Equal(name, format.Name());
            Assert.Equal(entry.GetProperty("row_bytes").GetInt64(), format.RowBytes(entry.GetProperty("cols").GetInt32()));
            float[] expected = new float[new FileInfo(Path.Combine(folder, name + ".f32")).Length / sizeof(float)];
            NumberFormats.ReadFloat32(File.ReadAllBytes(Path.Combine(folder, name + ".f32")), expected);

            float[] values = new float[expected.Length];
            BlockDecoder.Decode(format, File.ReadAllBytes(Path.Combine(folder, name + ".bin")), values);

            AssertSameBits(expected, values, name);
        }
    }

    private static string Fixtures()
    {
        string? fixtures = Environment.GetEnvironmentVariable("MOE_FIXTURES");
        if (string.IsNullOrEmpty(fixtures))
        {
            Assert.Skip("MOE_FIXTURES is not set");
        }

        return fixtures;
    }

    private static void AssertSameBits(float[] expected, float[] actual, string name)
    {
        for (int i = 0; i < expected.Length; i++)
        {
            bool isSame = float.IsNaN(expected[i]) ? float.IsNaN(actual[i]) : BitConverter.SingleToInt32Bits(expected[i]) == BitConverter.SingleToInt32Bits(actual[i]) || (expected[i] == 0 && actual[i] == 0);
            Assert.True(isSame, $"{name}[{i}]: expected {expected[i]:g9}, got {actual[i]:g9}");
        }
    }
}
