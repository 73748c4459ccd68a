namespace MoeSharp.Kernels;

/// <summary>Fills memory with normally distributed numbers from a counter-based generator: the content depends on the seed alone, not on the workers.</summary>
public static class NormalFill
{
    private const int Block = 4096; // floats that share one generator state

    /// <summary>x[i] = mean 0, standard deviation <paramref name="deviation"/> (Box-Muller on SplitMix64).</summary>
    public static unsafe void Fill(WorkerPool workers, ulong seed, float deviation, Span<float> x)
    {
        fixed (float* pointer = x)
        {
            FillJob job = new() { X = pointer, Length = x.Length, Seed = seed, Deviation = deviation };
            workers.ForRows((x.Length + Block - 1) / Block, 4, ref job);
        }
    }

    private unsafe struct FillJob : IRowJob
    {
        public float* X;
        public int Length;
        public ulong Seed;
        public double Deviation;

        public readonly void Run(int begin, int end)
        {
            for (int block = begin; block < end; block++)
            {
                SplitMix64 random = new(SplitMix64.Mix(Seed ^ SplitMix64.Mix((ulong)block + 1)));
                int last = (int)Math.Min(((long)block + 1) * Block, Length);
                for (int i = block * Block; i < last; i += 2)
                {
                    double radius = Math.Sqrt(-2.0 * Math.Log(Uniform(ref random))) * Deviation;
                    (double sin, double cos) = Math.SinCos(2.0 * Math.PI * Uniform(ref random));
                    X[i] = (float)(radius * cos);
                    if (i + 1 < last)
                    {
                        X[i + 1] = (float)(radius * sin);
                    }
                }
            }
        }

        // In (0, 1]: 53 random bits and half a step, so that the logarithm is finite.
        private static double Uniform(ref SplitMix64 random) => ((random.Next() >> 11) + 0.5) * (1.0 / (1UL << 53));
    }
}
