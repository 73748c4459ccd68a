using MoeSharp.Kernels;
using MoeSharp.Tests.Reference;

namespace MoeSharp.Tests.Kernels;

public sealed class SoftmaxTests
{
    [Theory]
    [InlineData(0, 5, 1f)] // no rows
    [InlineData(3, 1, 1f)] // single column
    [InlineData(4, 7, 1f)] // less than a vector
    [InlineData(3, 33, 4f)] // three vectors, one value in the last
    [InlineData(2, 64, 4f)]
    [InlineData(3, 131, 30f)] // vectors, a tail, large logits
    [InlineData(700, 65, 2f)] // several chunks
    public void Forward_is_the_formula(int rows, int cols, float spread)
    {
        float[] x = KernelCheck.Random(rows * cols, 1, spread);
        float[] both = KernelCheck.SameForAnyWorkers(workers => Forward(workers, rows, cols, x));
        double[] exact = KernelCheck.Double(x);
        KernelCheck.Close(RowReference.Softmax(rows, cols, exact), both[..x.Length], 1e-37, 4e-6, "y"); // 30 ulp of x - max at |x| = 30
        KernelCheck.Close([.. Enumerable.Range(0, rows).Select(t => RowReference.LogSumExp(exact, t, cols))], both[x.Length..], 1e-6, 1e-6, "log-sum-exp");
    }

    [Fact]
    public void Equal_and_huge_logits_share_evenly()
    {
        using WorkerPool workers = new(1);
        Assert.All(Forward(workers, 1, 20, Enumerable.Repeat(1e30f, 20).ToArray())[..20], value => Assert.Equal(0.05f, value));
    }

    [Fact]
    public void A_masked_row_is_zero_and_a_masked_entry_exactly_zero()
    {
        float infinity = float.NegativeInfinity;
        using WorkerPool workers = new(1);
        Assert.Equal([0f, 0f, 0f, infinity], Forward(workers, 1, 3, [infinity, infinity, infinity]));
        Assert.Equal([0.5f, 0f, 0.5f, MathF.Log(2f)], Forward(workers, 1, 3, [0f, infinity, 0f]));
    }

    [Theory]
    [InlineData(2, 1)]
    [InlineData(3, 9)]
    [InlineData(2, 53)]
    public void Gradient_matches_finite_differences(int rows, int cols)
    {
        float[] x = KernelCheck.Random(rows * cols, 3, 2f);
        float[] dy = KernelCheck.Random(rows * cols, 4);
        float[] dx = KernelCheck.SameForAnyWorkers(workers =>
        {
            float[] y = Forward(workers, rows, cols, x)[..x.Length];
            float[] gradient = [.. dy];
            Softmax.Backward(workers, rows, cols, gradient, y, gradient); // in place, as documented
            return gradient;
        });
        double[] expected = RowReference.Gradient(values => RowReference.Softmax(rows, cols, values), KernelCheck.Double(x), KernelCheck.Double(dy));
        KernelCheck.Close(expected, dx, 2e-7, 1e-5, "dx");
    }

    [Fact]
    public void Nothing_is_allocated()
    {
        float[] x = KernelCheck.Random(500 * 64, 5);
        float[] logSumExp = new float[500];
        KernelCheck.AllocatesNothing(workers =>
        {
            Softmax.Forward(workers, 500, 64, x, x, logSumExp);
            Softmax.Backward(workers, 500, 64, x, x, x);
        });
    }

    private static float[] Forward(WorkerPool workers, int rows, int cols, float[] x)
    {
        float[] y = [.. x];
        float[] logSumExp = new float[rows];
        Softmax.Forward(workers, rows, cols, y, y, logSumExp);
        return [.. y, .. logSumExp];
    }
}
