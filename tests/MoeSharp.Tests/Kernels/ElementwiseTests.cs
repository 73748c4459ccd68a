using MoeSharp.Kernels;

namespace MoeSharp.Tests.Kernels;

public sealed class ElementwiseTests
{
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(47)] // vectors and a tail
    [InlineData(300_001)] // many chunks
    public void Add_accumulate_scale_and_clear_touch_every_element(int count)
    {
        float[] a = KernelCheck.Random(count, 1);
        float[] b = KernelCheck.Random(count, 2);
        float[] sum = KernelCheck.SameForAnyWorkers(workers =>
        {
            float[] y = new float[count];
            Elementwise.Add(workers, a, b, y);
            Elementwise.Accumulate(workers, b, y);
            Elementwise.Scale(workers, y, 0.3f);
            return y;
        });
        for (int i = 0; i < count; i++)
        {
            Assert.Equal((a[i] + b[i] + b[i]) * 0.3f, sum[i]);
        }

        using WorkerPool pool = new(2);
        Elementwise.Clear(pool, sum);
        Assert.All(sum, value => Assert.Equal(0f, value));
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(35, 7)] // less than a vector
    [InlineData(3000, 65)] // blocks of more than the least number of rows
    public void Bias_is_added_to_and_summed_from_every_row(int rows, int cols)
    {
        float[] bias = KernelCheck.Random(cols, 1);
        float[] y = KernelCheck.Random(rows * cols, 2);
        float[] both = KernelCheck.SameForAnyWorkers(workers =>
        {
            float[] sum = [.. y];
            float[] dBias = Enumerable.Repeat(0.5f, cols).ToArray();
            Elementwise.AddBias(workers, rows, cols, bias, sum);
            Elementwise.SumRows(workers, rows, cols, y, dBias);
            return [.. sum, .. dBias];
        });
        double[] expected = new double[cols];
        for (int i = 0; i < rows * cols; i++)
        {
            Assert.Equal(y[i] + bias[i % cols], both[i]);
            expected[i % cols] += y[i];
        }

        KernelCheck.Close([.. expected.Select(value => value + 0.5)], both[(rows * cols)..], 2e-5, 1e-6, "dBias");
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(31)]
    [InlineData(200_003)]
    public void Sum_of_squares_is_exact_to_double(int count)
    {
        float[] x = KernelCheck.Random(count, 1, 100f);
        using WorkerPool single = new(1);
        using WorkerPool three = new(3);
        double sum = Elementwise.SumOfSquares(single, x);
        Assert.Equal(BitConverter.DoubleToInt64Bits(sum), BitConverter.DoubleToInt64Bits(Elementwise.SumOfSquares(three, x)));
        Assert.Equal(x.Sum(value => (double)value * value), sum, 1e-11 * sum);
    }

    [Fact]
    public void Nothing_is_allocated()
    {
        float[] x = KernelCheck.Random(200_000, 1);
        float[] row = new float[100];
        KernelCheck.AllocatesNothing(workers =>
        {
            Elementwise.Accumulate(workers, x, x);
            Elementwise.Scale(workers, x, 0.5f);
            Elementwise.AddBias(workers, 2000, 100, row, x);
            Elementwise.SumRows(workers, 2000, 100, x, row);
            _ = Elementwise.SumOfSquares(workers, x);
            Elementwise.Clear(workers, x);
        });
    }
}
