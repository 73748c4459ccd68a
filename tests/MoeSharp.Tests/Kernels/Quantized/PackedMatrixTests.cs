using MoeSharp.Kernels.Formats;
using MoeSharp.Kernels.Quantized;

namespace MoeSharp.Tests.Kernels.Quantized;

/// <summary>Rows go in and come out unchanged, and decode to the values of their format.</summary>
public sealed class PackedMatrixTests
{
    public static TheoryData<WeightFormat> Formats => PackedSamples.All;

    [Theory]
    [MemberData(nameof(Formats))]
    public void Rows_come_back_byte_for_byte(WeightFormat format)
    {
        const int Rows = 37;
        const int Columns = 768;
        byte[] any = PackedSamples.Blocks(format, 2 * Rows, Columns, 7);
        new Random(8).NextBytes(any); // infinite and undefined scales included
        int half = any.Length / 2;
        using PackedMatrix matrix = new(2, Columns, new PackedPart(Rows, format));
        matrix.SetRows(1, 0, Rows, any.AsSpan(half));
        matrix.SetRows(0, 16, Rows - 16, any.AsSpan(0, half)[(int)(16 * format.RowBytes(Columns))..]);
        matrix.SetRows(0, 0, 16, any.AsSpan(0, half));
        for (int group = 0; group < 2; group++)
        {
            byte[] back = new byte[half];
            matrix.GetRows(group, 0, Rows, back);
            Assert.True(any.AsSpan(group * half, half).SequenceEqual(back), $"{format} group {group}");
        }
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public void Rows_decode_to_the_values_of_their_format(WeightFormat format)
    {
        using PackedMatrix matrix = PackedSamples.Pack(2, 512, 3, out float[] expected, new PackedPart(19, format), new PackedPart(5, WeightFormat.F16));
        float[] row = new float[512];
        for (int index = 0; index < 2 * 24; index++)
        {
            matrix.DecodeRow(index / 24, index % 24, row);
            KernelCheck.SameBits(expected.AsSpan(index * 512, 512), row, $"row {index}");
        }
    }

    [Fact]
    public void A_range_that_leaves_its_part_is_refused()
    {
        using PackedMatrix matrix = new(1, 32, new PackedPart(16, WeightFormat.Q8_0), new PackedPart(16, WeightFormat.Q4_0));
        Assert.Throws<ShapeException>(() => matrix.SetRows(0, 8, 16, new byte[16 * 34]));
        Assert.Throws<ShapeException>(() => matrix.SetRows(1, 0, 16, new byte[16 * 34]));
        Assert.Throws<ShapeException>(() => matrix.SetRows(0, 16, 16, new byte[(16 * 18) - 1]));
        Assert.Throws<ShapeException>(() => new PackedMatrix(1, 48, new PackedPart(16, WeightFormat.Q8_0)));
    }
}
