using MoeSharp.Kernels;

namespace MoeSharp.Tests.Kernels;

public sealed class RowSumsTests
{
    [Theory]
    [InlineData(0, 5)] // no row
    [InlineData(1, 1)]
    [InlineData(3, 8)] // whole vectors
    [InlineData(7, 15)] // and a tail
    [InlineData(2, 7)] // a tail alone
    public void Columns_are_added_in_order_of_rows_bit_for_bit(int rows, int cols)
    {
        float[] x = KernelCheck.Random(rows * cols, 3, 100f);
        double[] expected = [.. Enumerable.Range(0, cols).Select(c => 0.1 * c)];
        double[] actual = [.. expected];
        for (int index = 0; index < x.Length; index++)
        {
            expected[index % cols] += x[index];
        }

        RowSums.Add(rows, cols, x, actual);
        Assert.Equal(expected, actual);
    }

    [Fact]
    public void Too_short_spans_are_refused()
    {
        Assert.Throws<ShapeException>(() => RowSums.Add(2, 3, new float[5], new double[3]));
        Assert.Throws<ShapeException>(() => RowSums.Add(2, 3, new float[6], new double[2]));
    }
}
