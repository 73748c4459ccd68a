using MoeSharp.Kernels;

namespace MoeSharp.Tests.Kernels;

public sealed class RowSharesTests
{
    private const float Least = 1e-30f;

    [Theory]
    [InlineData(1, 1)]
    [InlineData(5, 7)]
    [InlineData(900, 63)] // several chunks
    public void Shares_and_their_gradient_agree_with_float64(int rows, int cols)
    {
        float[] x = [.. KernelCheck.Random(rows * cols, 1).Select(value => 0.01f + Math.Abs(value))];
        float[] dy = KernelCheck.Random(rows * cols, 2);
        float[] sums = new float[rows];
        float[] shares = KernelCheck.SameForAnyWorkers(workers =>
        {
            float[] y = new float[rows * cols];
            RowShares.Forward(workers, rows, cols, x, Least, sums, y);
            return y;
        });
        double[] expected = new double[rows * cols];
        double[] slopes = new double[rows * cols];
        for (int row = 0; row < rows; row++)
        {
            double sum = x.Skip(row * cols).Take(cols).Sum(value => (double)value);
            double dot = Enumerable.Range(row * cols, cols).Sum(i => dy[i] * x[i] / sum);
            for (int i = row * cols; i < (row + 1) * cols; i++)
            {
                (expected[i], slopes[i]) = (x[i] / sum, (dy[i] - dot) / sum);
            }
        }

        KernelCheck.Close(expected, shares, 1e-7, 2e-6, "shares");
        foreach (bool accumulate in new[] { false, true })
        {
            float[] dx = KernelCheck.SameForAnyWorkers(workers =>
            {
                float[] values = Enumerable.Repeat(0.5f, rows * cols).ToArray();
                RowShares.Backward(workers, rows, cols, dy, shares, sums, values, accumulate);
                return values;
            });
            KernelCheck.Close([.. slopes.Select(slope => accumulate ? 0.5 + slope : slope)], dx, 2e-6, 1e-5, "dx");
        }
    }

    [Fact]
    public void A_row_without_any_sum_has_no_infinite_share()
    {
        using WorkerPool workers = new(1);
        float[] sums = new float[1];
        float[] shares = new float[3];
        RowShares.Forward(workers, 1, 3, new float[3], Least, sums, shares);
        Assert.Equal([0f, 0f, 0f], shares);
        Assert.Equal([Least], sums);
    }
}
