using System.Buffers.Binary;
using MoeSharp.Checkpoints;

namespace MoeSharp.Tests.Checkpoints;

/// <summary>Writing safetensors.</summary>
public sealed class SafetensorsWriterTests
{
    private static readonly Dictionary<string, string> s_metadata = new() { ["note"] = "tab\tquote\"" };

    [Fact]
    public void What_is_written_in_pieces_is_read_back()
    {
        using TemporaryFolder folder = new();
        float[] values = [.. Enumerable.Range(0, 200_001).Select(index => MathF.Sin(index))];
        using (FileStream stream = File.Create(folder["x"]))
        {
            SafetensorsWriter writer = new(
                stream,
                [
                    new("odd name \u00fc\"", SafetensorsType.F32, [200_001]),
                    new("empty", SafetensorsType.F32, [0, 5]),
                    new("short", SafetensorsType.BF16, [3, 66667]),
                    new("scalar", SafetensorsType.I64, []),
                ],
                s_metadata);
            writer.Append(values.AsSpan(0, 70_000));
            writer.Append(values.AsSpan(70_000));
            writer.Append(values.AsSpan(0, 100_000));
            writer.Append(values.AsSpan(100_000));
            writer.Append([-5L]);
            writer.Finish();
        }

        using SafetensorsFile file = SafetensorsFile.Open(folder["x"]);
        float[] read = new float[values.Length];
        file.ReadFloats("odd name \u00fc\"", read);
        Assert.Equal(values, read);
        file.ReadFloats("short", read);
        for (int i = 0; i < values.Length; i++)
        {
            Assert.True(Math.Abs(values[i] - read[i]) <= Math.Abs(values[i]) / 256, $"element {i}: {values[i]} became {read[i]}"); // 8 bits of mantissa
        }

        long[] scalar = new long[1];
        file.ReadIntegers("scalar", scalar);
        Assert.Equal(-5, scalar[0]);
        Assert.Equal([0L, 5L], file.Tensor("empty").Shape);
        Assert.Equal("tab\tquote\"", file.Metadata["note"]);
        Assert.Equal("pt", file.Metadata["format"]);
    }

    [Fact]
    public void A_file_that_cannot_be_finished_leaves_nothing()
    {
        using TemporaryFolder folder = new();
        Assert.Throws<ArgumentException>(() => SafetensorsWriter.WriteFile(folder["x"], [new NamedTensor("a", [2], new float[2]), new NamedTensor("b", [3], new float[2])]));
        Assert.Empty(Directory.GetFileSystemEntries(folder.Path));
    }

    [Fact]
    public void Data_starts_on_a_multiple_of_8()
    {
        using TemporaryFolder folder = new();
        for (int length = 1; length < 12; length++)
        {
            SafetensorsWriter.WriteFile(folder["x"], [new NamedTensor(new string('n', length), [1], new float[1])]);
            byte[] bytes = File.ReadAllBytes(folder["x"]);
            Assert.Equal(0, BinaryPrimitives.ReadInt64LittleEndian(bytes) % 8);
            SafetensorsFile.Open(folder["x"]).Dispose();
        }
    }

    [Theory]
    [InlineData(0x3F800000, 0x3F80)] // 1
    [InlineData(0x3F808000, 0x3F80)] // half way, even below
    [InlineData(0x3F818000, 0x3F82)] // half way, even above
    [InlineData(0x3F808001, 0x3F81)]
    [InlineData(0x7F7FFFFF, 0x7F80)] // rounds to infinity
    [InlineData(0x7F800001, 0x7FC0)] // NaN with a payload in the dropped half
    [InlineData(0x00000001, 0x0000)]
    public void BFloat16_rounds_to_nearest_even(uint bits, int expected)
    {
        byte[] bytes = new byte[2];

        MoeSharp.Kernels.NumberFormats.WriteBFloat16([BitConverter.UInt32BitsToSingle(bits)], bytes);

        Assert.Equal(expected, BinaryPrimitives.ReadUInt16LittleEndian(bytes));
    }

    [Fact]
    public void Too_few_too_many_and_doubled_tensors_are_refused()
    {
        TensorLayout layout = new("x", SafetensorsType.F32, [2]);

        Assert.Throws<InvalidOperationException>(() => new SafetensorsWriter(new MemoryStream(), [layout], s_metadata).Finish());
        Assert.Throws<InvalidOperationException>(() => new SafetensorsWriter(new MemoryStream(), [layout], s_metadata).Append(new float[3]));
        Assert.Throws<InvalidOperationException>(() => new SafetensorsWriter(new MemoryStream(), [layout], s_metadata).Append(new long[1]));
        Assert.Throws<ArgumentException>(() => new SafetensorsWriter(new MemoryStream(), [layout, layout], s_metadata));
    }
}
