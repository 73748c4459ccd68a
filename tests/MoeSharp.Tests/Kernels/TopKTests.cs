using MoeSharp.Kernels;

namespace MoeSharp.Tests.Kernels;

public sealed class TopKTests
{
    [Theory]
    [InlineData(1, 1, 1)] // one column
    [InlineData(5, 8, 8)] // all of them
    [InlineData(40, 64, 6)]
    [InlineData(31, 63, 7)] // four vectors with a tail
    [InlineData(40, 77, 3)] // a tail
    [InlineData(300, 1000, 9)] // several chunks
    public void Selects_what_a_stable_sort_puts_first(int rows, int cols, int k)
    {
        // Few different values: plenty of ties.
        float[] values = [.. KernelCheck.Random(rows * cols, 1, 12f).Select(value => MathF.Round(value))];
        foreach (int count in new[] { 1, 2, 3 })
        {
            using WorkerPool workers = new(count);
            int[] indices = new int[rows * k];
            TopK.Select(workers, rows, cols, k, values, indices);
            for (int t = 0; t < rows; t++)
            {
                IEnumerable<int> expected = Enumerable.Range(0, cols).OrderByDescending(i => values[(t * cols) + i]).ThenBy(i => i).Take(k);
                Assert.Equal(expected, indices[(t * k)..((t + 1) * k)]);
            }
        }
    }

    [Fact]
    public void Equal_values_choose_the_lowest_indices()
    {
        int[] indices = new int[4];
        using WorkerPool workers = new(1);
        TopK.Select(workers, 1, 50, 4, new float[50], indices);
        Assert.Equal([0, 1, 2, 3], indices);
    }

    [Fact]
    public void Not_a_number_comes_last_and_indices_stay_different()
    {
        int[] indices = new int[3];
        using WorkerPool workers = new(1);
        TopK.Select(workers, 1, 5, 3, [float.NaN, float.NegativeInfinity, float.NaN, 7f, float.NaN], indices);
        Assert.Equal([3, 0, 1], indices);
    }

    [Theory]
    [InlineData(5)]
    [InlineData(63)]
    [InlineData(150)] // more than registers hold
    public void Infinite_values_have_their_places(int cols)
    {
        float[] values = [.. Enumerable.Repeat(float.NegativeInfinity, cols)];
        (values[1], values[2], values[4]) = (float.PositiveInfinity, float.NaN, 3f);
        int[] indices = new int[5];
        using WorkerPool workers = new(1);
        TopK.Select(workers, 1, cols, 5, values, indices);
        Assert.Equal([1, 4, 0, 2, 3], indices);
    }

    [Fact]
    public void More_than_there_are_is_refused()
    {
        using WorkerPool workers = new(1);
        Assert.Throws<ShapeException>(() => TopK.Select(workers, 1, 3, 4, new float[3], new int[4]));
    }

    [Fact]
    public void Nothing_is_allocated()
    {
        float[] values = KernelCheck.Random(1000 * 64, 1);
        int[] indices = new int[1000 * 6];
        KernelCheck.AllocatesNothing(workers => TopK.Select(workers, 1000, 64, 6, values, indices));
    }
}
