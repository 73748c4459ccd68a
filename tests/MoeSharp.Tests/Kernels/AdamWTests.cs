using MoeSharp.Kernels;

namespace MoeSharp.Tests.Kernels;

public sealed class AdamWTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(45)] // vectors and a tail
    [InlineData(100_003)] // many chunks
    public void Ten_steps_follow_the_formula(int count)
    {
        float[] gradient = KernelCheck.Random(count, 2);
        float[] all = KernelCheck.SameForAnyWorkers(workers =>
        {
            float[] w = KernelCheck.Random(count, 1);
            float[] m = new float[count];
            float[] v = new float[count];
            for (int step = 1; step <= 10; step++)
            {
                AdamW.Step(workers, Coefficients(step), w, gradient, m, v);
            }

            return [.. w, .. m, .. v];
        });

        double[] expected = KernelCheck.Double([.. KernelCheck.Random(count, 1), .. new float[2 * count]]);
        for (int step = 1; step <= 10; step++)
        {
            AdamWCoefficients c = Coefficients(step);
            for (int i = 0; i < count; i++)
            {
                double g = (double)gradient[i] * c.GradientScale;
                double m = expected[count + i] = (0.9 * expected[count + i]) + (0.1 * g);
                double v = expected[(2 * count) + i] = (0.95 * expected[(2 * count) + i]) + (0.05 * g * g);
                expected[i] -= 0.01 * ((0.1 * expected[i]) + (m / c.BiasCorrection1 / (Math.Sqrt(v / c.BiasCorrection2) + 1e-8)));
            }
        }

        KernelCheck.Close(expected, all, 2e-7, 5e-6, "weights, moments");
    }

    [Fact]
    public void Nothing_is_allocated()
    {
        float[] w = KernelCheck.Random(50_000, 1);
        float[] m = new float[50_000];
        float[] v = new float[50_000];
        KernelCheck.AllocatesNothing(workers => AdamW.Step(workers, Coefficients(1), w, w, m, v));
    }

    private static AdamWCoefficients Coefficients(int step) => new(0.01f, 0.9f, 0.95f, 1e-8f, 0.1f, (float)(1 - Math.Pow(0.9, step)), (float)(1 - Math.Pow(0.95, step)), 0.7f);
}
