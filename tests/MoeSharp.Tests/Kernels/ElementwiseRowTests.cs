using MoeSharp.Kernels;

namespace MoeSharp.Tests.Kernels;

public sealed class ElementwiseRowTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(47)] // vectors and a tail
    [InlineData(40_003)] // several chunks
    public void Scaled_sums_gates_and_caps_are_their_formulas(int count)
    {
        float[] a = KernelCheck.Random(count, 1, 4f);
        float[] b = KernelCheck.Random(count, 2, 4f);
        (double[] x, double[] y) = (KernelCheck.Double(a), KernelCheck.Double(b));

        Check((workers, values) => Elementwise.ScaledSum(workers, values, 1.5f, b, -0.25f, values), i => (1.5 * x[i]) - (0.25 * y[i]), "scaled sum");
        Check((workers, values) => Elementwise.Silu(workers, values), i => x[i] / (1 + Math.Exp(-x[i])), "silu");
        Check((workers, values) => Elementwise.SigmoidGate(workers, b, values), i => x[i] / (1 + Math.Exp(-y[i])), "gate");
        Check((workers, values) => Elementwise.SoftCap(workers, values, 3f), i => 3 * Math.Tanh(x[i] / 3), "cap");

        void Check(Action<WorkerPool, float[]> kernel, Func<int, double> expected, string what)
        {
            float[] actual = KernelCheck.SameForAnyWorkers(workers =>
            {
                float[] values = [.. a];
                kernel(workers, values);
                return values;
            });
            KernelCheck.Close([.. Enumerable.Range(0, count).Select(expected)], actual, 1e-6, 1e-6, what);
        }
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(3, 7)] // less than a vector
    [InlineData(300, 83)] // several chunks, vectors and a tail
    public void Centered_rows_have_the_mean_taken_away(int rows, int cols)
    {
        float[] x = KernelCheck.Random(rows * cols, 1, 3f);
        float[] before = KernelCheck.Random(rows * cols, 2);
        double[] expected = [.. Enumerable.Range(0, rows * cols).Select(i => x[i] - x.AsSpan(i / cols * cols, cols).ToArray().Average(value => (double)value))];

        float[] centered = KernelCheck.SameForAnyWorkers(workers =>
        {
            float[] y = [.. x];
            Elementwise.Center(workers, rows, cols, y, y, false);
            return y;
        });
        float[] added = [.. before];
        using WorkerPool pool = new(2);
        Elementwise.Center(pool, rows, cols, x, added, true);

        KernelCheck.Close(expected, centered, 1e-6, 1e-6, "centered");
        KernelCheck.Close([.. expected.Zip(before, (a, b) => a + b)], added, 1e-6, 1e-6, "added");
    }

    [Theory]
    [InlineData(1, 1, 1)]
    [InlineData(5, 37, 41)]
    [InlineData(2000, 90, 100)]
    public void A_clamp_cuts_its_columns_and_masks_what_it_cut(int rows, int cols, int stride)
    {
        float[] x = KernelCheck.Random(rows * stride, 1, 2f);
        x[0] = 1f; // at the limit: not cut
        float[] result = KernelCheck.SameForAnyWorkers(workers =>
        {
            float[] values = [.. x];
            float[] mask = new float[rows * cols];
            Elementwise.Clamp(workers, rows, cols, values, stride, 1f, mask);
            return [.. values, .. mask];
        });
        float[] slopes = Enumerable.Repeat(3f, rows * stride).ToArray();
        using WorkerPool pool = new(2);
        Elementwise.MultiplyBy(pool, rows, cols, slopes, stride, result.AsSpan(rows * stride));

        for (int i = 0; i < rows * stride; i++)
        {
            bool isClamped = i % stride < cols;
            Assert.Equal(isClamped ? Math.Clamp(x[i], -1f, 1f) : x[i], result[i]);
            Assert.Equal(isClamped && Math.Abs(x[i]) > 1f ? 0f : 3f, slopes[i]);
        }
    }

    [Theory]
    [InlineData(1, 1, 1, 0)]
    [InlineData(4, 3, 5, 9)]
    [InlineData(1500, 4, 33, 0)] // one stretch for every head
    public void Heads_are_copied_to_their_places(int rows, int heads, int cols, int xStep)
    {
        int xStride = ((heads - 1) * xStep) + cols + 3;
        int yStep = cols + 2;
        int yStride = heads * yStep;
        float[] x = KernelCheck.Random(rows * xStride, 1);
        float[] y = KernelCheck.SameForAnyWorkers(workers =>
        {
            float[] values = new float[rows * yStride];
            Elementwise.CopyHeads(workers, rows, heads, cols, x, xStride, xStep, values, yStride, yStep);
            return values;
        });

        for (int i = 0; i < y.Length; i++)
        {
            (int row, int head, int column) = (i / yStride, i % yStride / yStep, i % yStride % yStep);
            Assert.Equal(column < cols ? x[(row * xStride) + (head * xStep) + column] : 0f, y[i]);
        }
    }

    [Fact]
    public void A_stretch_outside_its_row_is_refused()
    {
        using WorkerPool workers = new(1);
        Assert.Throws<ShapeException>(() => Elementwise.CopyHeads(workers, 2, 2, 3, new float[20], 5, 3, new float[20], 6, 3));
        Assert.Throws<ShapeException>(() => Elementwise.Clamp(workers, 2, 5, new float[9], 5, 1f, []));
    }
}
