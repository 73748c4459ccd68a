using MoeSharp.Kernels;
using MoeSharp.Tests.Reference;

namespace MoeSharp.Tests.Kernels;

public sealed class RmsNormTests
{
    private const float Epsilon = 1e-5f;

    [Theory]
    [InlineData(1, 1)] // one value
    [InlineData(3, 7)] // less than a vector
    [InlineData(5, 16)] // one vector
    [InlineData(2, 67)] // four vectors and a tail
    [InlineData(9, 512)]
    [InlineData(1, 2051)]
    public void Forward_is_the_formula(int rows, int cols)
    {
        float[] x = KernelCheck.Random(rows * cols, 1, 3f);
        float[] weight = KernelCheck.Random(cols, 2);
        float[] y = KernelCheck.SameForAnyWorkers(workers => Forward(workers, rows, cols, x, weight));
        double[] expected = RowReference.RmsNorm(rows, cols, KernelCheck.Double(x), KernelCheck.Double(weight), Epsilon);
        KernelCheck.Close(expected, y, 1e-7, 1e-6, "y");
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(3, 7)]
    [InlineData(37, 19)] // more than two blocks of rows, the last one short
    public void Gradients_match_finite_differences(int rows, int cols)
    {
        float[] x = KernelCheck.Random(rows * cols, 3, 2f);
        float[] weight = KernelCheck.Random(cols, 4);
        float[] dy = KernelCheck.Random(rows * cols, 5);
        float[] gradients = KernelCheck.SameForAnyWorkers(workers => Backward(workers, rows, cols, x, weight, dy, false));
        double[] expectedX = RowReference.Gradient(values => RowReference.RmsNorm(rows, cols, values, KernelCheck.Double(weight), Epsilon), KernelCheck.Double(x), KernelCheck.Double(dy));
        double[] expectedWeight = RowReference.Gradient(values => RowReference.RmsNorm(rows, cols, KernelCheck.Double(x), values, Epsilon), KernelCheck.Double(weight), KernelCheck.Double(dy));

        // dx of few columns is a small difference of values near 1 (absolute term); dWeight starts at 0.5 to show +=.
        KernelCheck.Close(expectedX, gradients[..(rows * cols)], 2e-6, 2e-5, "dx");
        KernelCheck.Close([.. expectedWeight.Select(value => value + 0.5)], gradients[(rows * cols)..], 1e-5, 1e-5, "dWeight");
    }

    [Theory]
    [InlineData(1, 1, 1)]
    [InlineData(4, 3, 19)]
    [InlineData(40, 5, 24)] // several blocks of rows
    public void Heads_of_a_wider_row_are_normed_like_rows(int rows, int heads, int cols)
    {
        int stride = (heads * cols) + 5;
        float[] x = KernelCheck.Random(rows * stride, 1, 2f);
        float[] dy = KernelCheck.Random(rows * stride, 2);
        float[] weight = KernelCheck.Random(cols, 3);
        using WorkerPool workers = new(2);
        float[] y = [.. x];
        float[] inverse = new float[rows * heads];
        RmsNorm.ForwardHeads(workers, rows, heads, cols, x, stride, weight, Epsilon, y, stride, inverse);
        float[] dx = new float[rows * stride];
        float[] dWeight = new float[cols];
        RmsNorm.BackwardHeads(workers, rows, heads, cols, dy, stride, x, stride, weight, inverse, dx, stride, dWeight, false);

        float[] dense = Dense(x);
        float[] denseY = Forward(workers, rows * heads, cols, dense, weight);
        float[] gradients = Backward(workers, rows * heads, cols, dense, weight, Dense(dy), false);
        KernelCheck.SameBits(denseY, Dense(y), "y");
        KernelCheck.SameBits(gradients.AsSpan(0, dense.Length), Dense(dx), "dx");
        KernelCheck.Close([.. gradients[dense.Length..].Select(value => value - 0.5)], dWeight, 1e-5, 1e-5, "dWeight");

        float[] Dense(float[] values) => [.. values.Chunk(stride).SelectMany(row => row[..(heads * cols)])];
    }

    [Fact]
    public void Accumulation_adds_the_same_gradient()
    {
        const int Rows = 5;
        const int Cols = 50;
        float[] x = KernelCheck.Random(Rows * Cols, 3);
        float[] weight = KernelCheck.Random(Cols, 4);
        float[] dy = KernelCheck.Random(Rows * Cols, 5);
        using WorkerPool workers = new(2);
        float[] plain = Backward(workers, Rows, Cols, x, weight, dy, false);
        float[] added = Backward(workers, Rows, Cols, x, weight, dy, true);
        for (int i = 0; i < Rows * Cols; i++)
        {
            Assert.Equal(plain[i] + 0.25f, added[i]);
        }
    }

    [Fact]
    public void Many_rows_give_the_same_bits_for_any_workers()
    {
        const int Rows = 1500;
        const int Cols = 65;
        float[] x = KernelCheck.Random(Rows * Cols, 6);
        float[] weight = KernelCheck.Random(Cols, 7);
        float[] dy = KernelCheck.Random(Rows * Cols, 8);
        KernelCheck.SameForAnyWorkers(workers => Backward(workers, Rows, Cols, x, weight, dy, false));
    }

    [Fact]
    public void A_row_does_not_depend_on_its_neighbours()
    {
        const int Cols = 93;
        float[] x = KernelCheck.Random(40 * Cols, 9);
        float[] weight = KernelCheck.Random(Cols, 10);
        using WorkerPool workers = new(2);
        float[] all = Forward(workers, 40, Cols, x, weight);
        float[] one = Forward(workers, 1, Cols, x[(23 * Cols)..(24 * Cols)], weight);
        KernelCheck.SameBits(one, all.AsSpan(23 * Cols, Cols), "row 23");
    }

    [Fact]
    public void Nothing_is_allocated()
    {
        const int Rows = 100;
        const int Cols = 300;
        float[] x = KernelCheck.Random(Rows * Cols, 9);
        float[] weight = KernelCheck.Random(Cols, 10);
        float[] y = new float[Rows * Cols];
        float[] inverseRms = new float[Rows];
        float[] dWeight = new float[Cols];
        KernelCheck.AllocatesNothing(workers =>
        {
            RmsNorm.Forward(workers, Rows, Cols, x, weight, Epsilon, y, inverseRms);
            RmsNorm.Backward(workers, Rows, Cols, y, x, weight, inverseRms, y, dWeight, false);
        });
    }

    [Fact]
    public void A_short_span_is_refused_by_name()
    {
        using WorkerPool workers = new(1);
        ShapeException error = Assert.Throws<ShapeException>(() => RmsNorm.Forward(workers, 2, 4, new float[7], new float[4], Epsilon, new float[8], new float[2]));
        Assert.Equal("RmsNorm.Forward: x has shape [7], expected [at least 8]", error.Message);
    }

    private static float[] Forward(WorkerPool workers, int rows, int cols, float[] x, float[] weight)
    {
        float[] y = new float[rows * cols];
        RmsNorm.Forward(workers, rows, cols, x, weight, Epsilon, y, new float[rows]);
        return y;
    }

    private static float[] Backward(WorkerPool workers, int rows, int cols, float[] x, float[] weight, float[] dy, bool accumulate)
    {
        float[] y = new float[rows * cols];
        float[] inverseRms = new float[rows];
        float[] dx = Enumerable.Repeat(0.25f, rows * cols).ToArray();
        float[] dWeight = Enumerable.Repeat(0.5f, cols).ToArray();
        RmsNorm.Forward(workers, rows, cols, x, weight, Epsilon, y, inverseRms);
        RmsNorm.Backward(workers, rows, cols, dy, x, weight, inverseRms, dx, dWeight, accumulate);
        return [.. dx, .. dWeight];
    }
}
