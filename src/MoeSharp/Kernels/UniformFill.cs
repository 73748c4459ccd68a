namespace MoeSharp.Kernels;

/// <summary>Fills memory with evenly distributed numbers from a counter-based generator: the content depends on the seed alone, not on the workers.</summary>
public static class UniformFill
{
    private const int Block = 4096; // floats that share one generator state; even
    private const float Step = 1f / (1 << 24); // 24 bits are what a float below 1 holds exactly

    /// <summary>x[i] from 0 (inclusive) to 1 (exclusive), a multiple of 2^-24.</summary>
    public static unsafe void Fill(WorkerPool workers, ulong seed, Span<float> x)
    {
        fixed (float* pointer = x)
        {
            FillJob job = new() { X = pointer, Length = x.Length, Seed = seed };
            workers.ForRows((x.Length + Block - 1) / Block, 8, ref job);
        }
    }

    private unsafe struct FillJob : IRowJob
    {
        public float* X;
        public int Length;
        public ulong Seed;

        public readonly void Run(int begin, int end)
        {
            for (int block = begin; block < end; block++)
            {
                SplitMix64 random = new(SplitMix64.Mix(Seed ^ SplitMix64.Mix((ulong)block + 1)));
                int last = (int)Math.Min(((long)block + 1) * Block, Length);
                int i = block * Block;
                for (; i < last - 1; i += 2)
                {
                    ulong bits = random.Next(); // two numbers, one from each half
                    X[i] = (uint)(bits >> 40) * Step;
                    X[i + 1] = ((uint)bits >> 8) * Step;
                }

                if (i < last)
                {
                    X[i] = (uint)(random.Next() >> 40) * Step;
                }
            }
        }
    }
}
