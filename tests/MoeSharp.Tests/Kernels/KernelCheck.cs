using System.Runtime.InteropServices;
using MoeSharp.Kernels;

namespace MoeSharp.Tests.Kernels;

/// <summary>What every kernel test asks: close to the reference, the same for any number of workers, no allocation.</summary>
internal static class KernelCheck
{
    public static float[] Random(int count, int seed, float spread = 1f)
    {
        Random random = new(seed);
        float[] values = new float[count];
        for (int i = 0; i < count; i++)
        {
            values[i] = (float)((random.NextDouble() * 2) - 1) * spread;
        }

        return values;
    }

    public static double[] Double(float[] values) => Array.ConvertAll(values, value => (double)value);

    public static void Close(double[] expected, float[] actual, double absolute, double relative, string what)
    {
        Assert.Equal(expected.Length, actual.Length);
        double worst = 0;
        int at = -1;
        for (int i = 0; i < expected.Length; i++)
        {
            double excess = Math.Abs(expected[i] - actual[i]) / (absolute + (relative * Math.Abs(expected[i])));
            if (!(excess <= 1) && expected[i] != actual[i] && (at < 0 || excess > worst || double.IsNaN(excess)))
            {
                worst = excess;
                at = i;
            }
        }

        if (at >= 0)
        {
            Assert.Fail($"{what}[{at}]: expected {expected[at]:g9}, actual {actual[at]:g9}, {worst:g3} times the tolerance");
        }
    }

    /// <summary>Runs the kernel on pools of 1, 2 and 3 workers and compares every bit of what it returns.</summary>
    public static float[] SameForAnyWorkers(Func<WorkerPool, float[]> kernel)
    {
        using WorkerPool single = new(1);
        float[] expected = kernel(single);
        foreach (int count in new[] { 2, 3 })
        {
            using WorkerPool workers = new(count);
            SameBits(expected, kernel(workers), $"{count} workers");
        }

        return expected;
    }

    public static void SameBits(ReadOnlySpan<float> expected, ReadOnlySpan<float> actual, string what)
    {
        Assert.Equal(expected.Length, actual.Length);
        ReadOnlySpan<int> expectedBits = MemoryMarshal.Cast<float, int>(expected);
        ReadOnlySpan<int> actualBits = MemoryMarshal.Cast<float, int>(actual);
        int common = expectedBits.CommonPrefixLength(actualBits);
        if (common < expected.Length)
        {
            Assert.Fail($"{what}: value {common} differs: {expected[common]:g9} and {actual[common]:g9}");
        }
    }

    /// <summary>A second call leaves no garbage on the calling thread.</summary>
    public static void AllocatesNothing(Action<WorkerPool> kernel)
    {
        using WorkerPool workers = new(2);
        kernel(workers);
        kernel(workers);
        long before = GC.GetAllocatedBytesForCurrentThread();
        kernel(workers);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }
}
