using MoeSharp.Kernels;

namespace MoeSharp.Tests.Kernels;

public sealed class RotaryTests
{
    [Theory]
    [InlineData(1, 1, 2)]
    [InlineData(5, 3, 24)] // a tail
    [InlineData(7, 2, 64)]
    [InlineData(200, 4, 38)] // several chunks, vectors and a tail
    public void Rotation_is_the_formula_and_the_inverse_undoes_it(int rows, int numHeads, int headDim)
    {
        int half = headDim / 2;
        int stride = (numHeads * headDim) + 5;
        float[] x = KernelCheck.Random(rows * stride, 1);
        int[] positions = [.. Enumerable.Range(0, rows).Select(t => t * 7 % 50)];
        float[] cos = new float[50 * half];
        float[] sin = new float[50 * half];
        for (int i = 0; i < cos.Length; i++)
        {
            (sin[i], cos[i]) = MathF.SinCos(i / half * MathF.Pow(10000f, -(float)(i % half) / half));
        }

        float[] rotated = KernelCheck.SameForAnyWorkers(workers =>
        {
            float[] y = [.. x];
            Rotary.Apply(workers, rows, new RotaryHeads(numHeads, headDim, headDim), positions, cos, sin, y, stride, false);
            return y;
        });
        double[] expected = KernelCheck.Double(x);
        for (int t = 0; t < rows; t++)
        {
            for (int pair = 0; pair < numHeads * half; pair++)
            {
                int first = (t * stride) + (pair / half * headDim) + (pair % half);
                double c = cos[(positions[t] * half) + (pair % half)];
                double s = sin[(positions[t] * half) + (pair % half)];
                (expected[first], expected[first + half]) = ((expected[first] * c) - (expected[first + half] * s), (expected[first + half] * c) + (expected[first] * s));
            }
        }

        KernelCheck.Close(expected, rotated, 1e-7, 1e-6, "rotated");
        using WorkerPool pool = new(2);
        Rotary.Apply(pool, rows, new RotaryHeads(numHeads, headDim, headDim), positions, cos, sin, rotated, stride, true);
        KernelCheck.Close(KernelCheck.Double(x), rotated, 5e-7, 1e-6, "rotated back");
        KernelCheck.AllocatesNothing(workers => Rotary.Apply(workers, rows, new RotaryHeads(numHeads, headDim, headDim), positions, cos, sin, rotated, stride, true));
    }

    [Theory]
    [InlineData(3, 1, 2, 2)]
    [InlineData(5, 3, 24, 20)] // lanes behind the turned ones
    [InlineData(300, 2, 70, 64)]
    public void Neighbouring_pairs_and_the_first_lanes_alone_are_turned(int rows, int numHeads, int headStep, int rotaryDim)
    {
        int half = rotaryDim / 2;
        int stride = (numHeads * headStep) + 3;
        float[] x = KernelCheck.Random(rows * stride, 1);
        int[] positions = [.. Enumerable.Range(0, rows).Select(t => t % 40)];
        float[] cos = KernelCheck.Random(40 * half, 2);
        float[] sin = KernelCheck.Random(40 * half, 3);
        foreach (bool isInterleaved in (bool[])[true, false])
        {
            RotaryHeads heads = new(numHeads, headStep, rotaryDim, isInterleaved);
            float[] rotated = KernelCheck.SameForAnyWorkers(workers =>
            {
                float[] y = [.. x];
                Rotary.Apply(workers, rows, heads, positions, cos, sin, y, stride, false);
                return y;
            });
            double[] expected = KernelCheck.Double(x);
            for (int t = 0; t < rows; t++)
            {
                for (int pair = 0; pair < numHeads * half; pair++)
                {
                    int first = (t * stride) + (pair / half * headStep) + (isInterleaved ? 2 * (pair % half) : pair % half);
                    int second = first + (isInterleaved ? 1 : half);
                    double c = cos[(positions[t] * half) + (pair % half)];
                    double s = sin[(positions[t] * half) + (pair % half)];
                    (expected[first], expected[second]) = ((expected[first] * c) - (expected[second] * s), (expected[second] * c) + (expected[first] * s));
                }
            }

            KernelCheck.Close(expected, rotated, 1e-7, 1e-6, $"interleaved {isInterleaved}");
        }
    }

    [Fact]
    public void A_position_outside_the_table_is_refused()
    {
        using WorkerPool workers = new(1);
        Assert.Throws<ShapeException>(() => Rotary.Apply(workers, 1, new RotaryHeads(1, 4, 4), [3], new float[6], new float[6], new float[4], 4, false));
    }
}
