using MoeSharp.Checkpoints;
using MoeSharp.Kernels.Formats;
using MoeSharp.Tests.Reference;

namespace MoeSharp.Tests.Checkpoints;

/// <summary>Weights whose scales are tensors of their own.</summary>
public sealed class ScaledSourceTests
{
    private static readonly byte[] s_codes = [0x38, 0x40, 0x44, 0xB8, 0x7E, 0x01]; // 1, 2, 3, -1, 448, 2^-9

    [Theory]
    [InlineData("F32")]
    [InlineData("BF16")]
    public void A_scale_covers_a_rectangle_and_the_last_ones_are_cut_off(string scaleType)
    {
        // Two matrices of 3 x 5, scales per 2 x 2: 2 x 3 of them each.
        byte[] codes = [.. Enumerable.Range(0, 30).Select(i => s_codes[i % 6])];
        float[] scales = [.. Enumerable.Range(1, 12).Select(i => i * 0.5f)];
        using TemporaryFolder folder = new();
        using ScaledSource source = Open(folder, 2, 2, ("x", "F8_E4M3", [2, 3, 5], codes), ("x_scale_inv", scaleType, [2, 2, 3], Floats(scales, scaleType)), ("y", "F32", [1], GgufBytes.Floats(9)));
        float[] decoded = [1, 2, 3, -1, 448, 1f / 512];
        float[] expected = [.. Enumerable.Range(0, 30).Select(i => decoded[i % 6] * scales[(i / 15 * 6) + (i % 15 / 5 / 2 * 3) + (i % 5 / 2)])];

        WeightTensor tensor = source.Find("x")!;
        for (int first = 0; first < 30; first++)
        {
            for (int end = first; end <= 30; end++)
            {
                float[] values = new float[end - first];
                source.ReadFloats(tensor, first, values);
                Assert.Equal(expected[first..end], values);
            }
        }

        byte[] bytes = new byte[8];
        source.ReadBlocks(tensor, 3, 2, bytes);
        Assert.Equal(GgufBytes.Floats(expected[3], expected[4]), bytes);
        Assert.Equal(WeightFormat.F32, tensor.Format);
        Assert.Equal(["x", "y"], source.Names.Order());
        Assert.Null(source.Find("z"));
        float[] other = new float[1];
        source.ReadFloats(source.Find("y")!, 0, other);
        Assert.Equal([9f], other);
    }

    [Fact]
    public void Blocks_of_small_floats_are_reordered_without_loss()
    {
        // [2 experts, 3 rows, 2 blocks of 32]
        byte[] packed = new byte[2 * 3 * 2 * 16];
        byte[] scales = new byte[2 * 3 * 2];
        new Random(5).NextBytes(packed);
        new Random(6).NextBytes(scales);
        using TemporaryFolder folder = new();
        using ScaledSource source = Open(folder, 1, 1, ("x_blocks", "U8", [2, 3, 2, 16], packed), ("x_scales", "U8", [2, 3, 2], scales));
        WeightTensor tensor = source.Find("x")!;
        Assert.Equal([2L, 3L, 64L], tensor.Shape);
        Assert.Equal(WeightFormat.MXFP4, tensor.Format);
        Assert.Equal(["x"], source.Names);

        float[] values = new float[384];
        source.ReadFloats(tensor, 0, values);
        byte[] blocks = new byte[12 * 17];
        source.ReadBlocks(tensor, 0, 384, blocks);

        for (int i = 0; i < values.Length; i++)
        {
            int code = (packed[i / 2] >> (4 * (i % 2))) & 15;
            double[] floats = [0, 0.5, 1, 1.5, 2, 3, 4, 6];
            Assert.Equal((float)((code < 8 ? floats[code] : -floats[code - 8]) * Math.Pow(2, scales[i / 32] - 127)), values[i]);
            Assert.Equal(ReferenceBlocks.Value(WeightFormat.MXFP4, blocks.AsSpan(i / 32 * 17, 17), i % 32), values[i]);
        }

        foreach ((int first, int count) in ((int, int)[])[(0, 1), (31, 2), (5, 100), (33, 351), (64, 64), (383, 1), (7, 0)])
        {
            float[] part = new float[count];
            source.ReadFloats(tensor, first, part);
            Assert.Equal(values[first..(first + count)], part);
        }
    }

    [Theory]
    [InlineData("F8_E4M3", "F32", 2, 2, 1)]
    [InlineData("F8_E4M3", "U8", 2, 3, 1)]
    [InlineData("U8", "F32", 2, 3, 1)]
    [InlineData("F8_E4M3", "F32", 2, 3, 2)]
    public void Scales_that_do_not_fit_are_refused(string type, string scaleType, int scaleRows, int scaleColumns, int blockRows)
    {
        using TemporaryFolder folder = new();
        byte[] scales = new byte[scaleRows * scaleColumns * (scaleType == "F32" ? 4 : 1)];
        using ScaledSource source = Open(folder, blockRows == 1 ? 2 : 3, 2, ("x", type, [3, 5], new byte[15]), ("x_scale_inv", scaleType, [scaleRows, scaleColumns], scales));

        FileFormatException error = Assert.Throws<FileFormatException>(() => source.Find("x"));

        Assert.Contains("do not fit together", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Blocks_that_do_not_fit_are_refused()
    {
        using TemporaryFolder folder = new();
        using ScaledSource source = Open(folder, 1, 1, ("x_blocks", "U8", [3, 2, 16], new byte[96]), ("x_scales", "U8", [3, 1], new byte[3]));
        Assert.Throws<FileFormatException>(() => source.Find("x"));
    }

    [Fact]
    public void A_scale_without_weights_stays_visible()
    {
        using TemporaryFolder folder = new();
        using ScaledSource source = Open(folder, 1, 1, ("x_scale_inv", "F32", [1], new byte[4]), ("y_blocks", "U8", [16], new byte[16]), ("z_scales", "U8", [1], new byte[1]));
        Assert.Equal(["x_scale_inv", "y_blocks", "z_scales"], source.Names.Order());
    }

    [Fact]
    public void Reading_row_by_row_allocates_nothing()
    {
        using TemporaryFolder folder = new();
        using ScaledSource source = Open(
            folder,
            2,
            2,
            ("x", "F8_E4M3", [4, 6], new byte[24]),
            ("x_scale_inv", "F32", [2, 3], new byte[24]),
            ("y_blocks", "U8", [4, 2, 16], new byte[128]),
            ("y_scales", "U8", [4, 2], new byte[8]),
            ("z", "BF16", [4, 6], new byte[48]));
        WeightTensor[] tensors = [source.Find("x")!, source.Find("y")!, source.Find("z")!];
        float[] values = new float[64];
        long before = 0;
        for (int row = 0; row < 4; row++)
        {
            foreach (WeightTensor tensor in tensors)
            {
                source.ReadFloats(tensor, row * tensor.Shape[1], values.AsSpan(0, (int)tensor.Shape[1]));
            }

            before = row == 0 ? GC.GetAllocatedBytesForCurrentThread() : before; // the first row fills pools
        }

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    [Theory]
    [InlineData("deepseek_v3_fp8", 16, "model.layers.0.mlp.gate_proj.weight", WeightFormat.F32)]
    [InlineData("qwen3_moe_fp8_v5cfg", 16, "model.layers.0.mlp.experts.3.down_proj.weight", WeightFormat.F32)]
    [InlineData("gpt_oss_mxfp4", 1, "model.layers.1.mlp.experts.down_proj", WeightFormat.MXFP4)]
    public void Published_layouts_open(string folder, int block, string name, WeightFormat format)
    {
        string? fixtures = Environment.GetEnvironmentVariable("MOE_FIXTURES");
        if (string.IsNullOrEmpty(fixtures))
        {
            Assert.Skip("MOE_FIXTURES is not set");
        }

        using ScaledSource source = new(SafetensorsFolder.Open(Path.Combine(fixtures, "hf", folder)), block, block);
        WeightTensor tensor = source.Find(name)!;
        float[] values = new float[tensor.Length];
        source.ReadFloats(tensor, 0, values);

        Assert.Equal(format, tensor.Format);
        Assert.InRange(Math.Sqrt(values.Average(value => (double)value * value)), 0.01, 1); // random weights of a small model, in their scale
        foreach (string each in source.Names)
        {
            Assert.NotNull(source.Find(each));
            Assert.DoesNotContain("scale", each, StringComparison.Ordinal);
        }
    }

    private static byte[] Floats(float[] values, string type) => type == "F32" ? GgufBytes.Floats(values) : [.. values.SelectMany(value => BitConverter.GetBytes(value)[2..])];

    private static ScaledSource Open(TemporaryFolder folder, int blockRows, int blockColumns, params (string Name, string Type, int[] Shape, byte[] Bytes)[] tensors)
    {
        List<string> entries = [];
        List<byte> data = [];
        foreach ((string name, string type, int[] shape, byte[] bytes) in tensors)
        {
            entries.Add($$"""{{'"'}}{{name}}{{'"'}}:{"dtype":"{{type}}","shape":[{{string.Join(',', shape)}}],"data_offsets":[{{data.Count}},{{data.Count + bytes.Length}}]}""");
            data.AddRange(bytes);
        }

        byte[] header = System.Text.Encoding.UTF8.GetBytes("{" + string.Join(',', entries) + "}");
        File.WriteAllBytes(folder["model.safetensors"], [.. BitConverter.GetBytes((ulong)header.Length), .. header, .. data]);
        return new ScaledSource(SafetensorsFolder.Open(folder.Path), blockRows, blockColumns);
    }
}
