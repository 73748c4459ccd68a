using MoeSharp.Kernels;
using MoeSharp.Tests.Reference;

namespace MoeSharp.Tests.Kernels;

/// <summary>Random numbers of routers: distributed as they should be, the same for any number of workers and from scalar arithmetic.</summary>
public sealed class RandomFillTests
{
    private const int Count = 200_001; // many blocks and a rest

    [Fact]
    public void Uniform_numbers_are_those_of_the_plain_generator()
    {
        float[] numbers = KernelCheck.SameForAnyWorkers(workers => Filled(x => UniformFill.Fill(workers, 9, x)));

        SplitMix64 random = new(SplitMix64.Mix(9 ^ SplitMix64.Mix(2))); // the second block of 4096
        for (int pair = 0; pair < 2048; pair++)
        {
            ulong bits = random.Next();
            Assert.Equal((uint)(bits & 0xFFFFFFFF) / 256, numbers[4096 + (2 * pair)] * (1 << 24));
            Assert.Equal(bits >> 40, numbers[4096 + (2 * pair) + 1] * (1 << 24));
        }

        Largest(numbers, x => Math.Clamp(x, 0, 1));
        Assert.NotEqual(numbers, KernelCheck.SameForAnyWorkers(workers => Filled(x => UniformFill.Fill(workers, 10, x))));
    }

    [Fact]
    public void Normal_numbers_follow_the_normal_distribution_into_its_tails()
    {
        float[] numbers = KernelCheck.SameForAnyWorkers(workers => Filled(x => NormalNoise.Fill(workers, 9, x)));

        Largest(numbers, Numerical.NormalBelow);
        Assert.InRange(numbers.Count(x => x > 3.4426), 35, 85); // 57.6 expected beyond the lowest layer's rectangle
        Assert.InRange(numbers.Count(x => x < -3.4426), 35, 85);
    }

    [Fact]
    public void Gumbel_numbers_follow_the_gumbel_distribution()
    {
        float[] numbers = KernelCheck.SameForAnyWorkers(workers => Filled(x => UniformFill.FillGumbel(workers, 9, x)));

        Largest(numbers, x => Math.Exp(-Math.Exp(-x)));
        float[] uniform = KernelCheck.SameForAnyWorkers(workers => Filled(x => UniformFill.Fill(workers, 9, x)));
        KernelCheck.Close([.. uniform.Select(u => -Math.Log(-Math.Log(Math.Max(u, 1.0 / (1 << 25)))))], numbers, 3e-6, 3e-6, "gumbel");
    }

    [Fact]
    public void Softplus_and_its_slope_equal_double_precision()
    {
        float[] x = [0f, -0f, 100f, -100f, 1e-20f, .. KernelCheck.Random(1000, 3, 12f)];
        float[] y = KernelCheck.SameForAnyWorkers(workers => Filled(target => Softplus.Forward(workers, x, 0.5f, target), x.Length));
        KernelCheck.Close([.. x.Select(value => Math.Max(value, 0) + Math.Log(1 + Math.Exp(-Math.Abs(value))) + 0.5)], y, 2e-7, 2e-7, "softplus");

        float[] dy = KernelCheck.Random(x.Length, 4);
        float[] slope = KernelCheck.SameForAnyWorkers(workers => Filled(target => Softplus.Backward(workers, dy, x, target, false), x.Length));
        KernelCheck.Close([.. x.Zip(dy, (value, d) => d / (1 + Math.Exp(-value)))], slope, 3e-7, 1e-6, "slope");
    }

    // Kolmogorov's largest distance between the numbers and their distribution; above 1.95 / sqrt(n) in one of a thousand seeds.
    private static void Largest(float[] numbers, Func<double, double> below)
    {
        float[] sorted = [.. numbers.Order()];
        double largest = 0;
        for (int i = 0; i < sorted.Length; i += 17)
        {
            largest = Math.Max(largest, Math.Abs(((i + 0.5) / sorted.Length) - below(sorted[i])));
        }

        Assert.InRange(largest, 0, 1.95 / Math.Sqrt(Count));
    }

    private delegate void Fill(Span<float> target);

    private static float[] Filled(Fill fill, int count = Count)
    {
        float[] values = new float[count];
        fill(values);
        return values;
    }
}
