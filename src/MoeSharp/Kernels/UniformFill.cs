using System.Runtime.Intrinsics;

namespace MoeSharp.Kernels;

/// <summary>Fills memory with evenly distributed numbers from a counter-based generator: the content depends on the seed alone, not on the workers or the machine.</summary>
public static class UniformFill
{
    private const int Block = 4096; // floats that share one generator; even
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

    /// <summary>x[i] = -log(-log u): the largest of logits plus such numbers is a sample from their softmax.</summary>
    public static unsafe void FillGumbel(WorkerPool workers, ulong seed, Span<float> x)
    {
        fixed (float* pointer = x)
        {
            FillJob job = new() { X = pointer, Length = x.Length, Seed = seed, IsGumbel = true };
            workers.ForRows((x.Length + Block - 1) / Block, 1, ref job);
        }
    }

    private unsafe struct FillJob : IRowJob
    {
        private const float Least = Step / 2; // in place of 0, whose logarithm is infinite

        public float* X;
        public int Length;
        public ulong Seed;
        public bool IsGumbel;

        public readonly void Run(int begin, int end)
        {
            for (int block = begin; block < end; block++)
            {
                ulong seed = SplitMix64.Mix(Seed ^ SplitMix64.Mix((ulong)block + 1));
                float* x = X + ((long)block * Block);
                int count = (int)Math.Min(Block, Length - ((long)block * Block));
                Fill(seed, x, count);
                int i = IsGumbel ? 0 : count;
                for (; Vector512.IsHardwareAccelerated && i <= count - Vector512<float>.Count; i += Vector512<float>.Count)
                {
                    (-Log(-Log(Vector512.Max(Vector512.Load(x + i), Vector512.Create(Least))))).Store(x + i);
                }

                for (; i < count; i++)
                {
                    x[i] = -Log(-Log(MathF.Max(x[i], Least)));
                }
            }
        }

        // Number n of the generator, from 1, is Mix(seed + n * Increment) and gives two floats: its low half, then its high half.
        private static void Fill(ulong seed, float* x, int count)
        {
            int n = 0;
            if (Vector512.IsHardwareAccelerated)
            {
                Vector512<ulong> counter = Vector512.Create(seed) + (Vector512.Create(1UL, 2, 3, 4, 5, 6, 7, 8) * SplitMix64.Increment);
                for (; n + 8 <= count / 2; n += 8)
                {
                    Vector512<uint> bits = Mix(counter).AsUInt32() >>> 8;
                    (Vector512.ConvertToSingle(bits.AsInt32()) * Step).Store(x + (2 * n));
                    counter += Vector512.Create(unchecked(8 * SplitMix64.Increment));
                }
            }

            for (; 2 * n < count; n++)
            {
                ulong bits = SplitMix64.Mix(seed + ((ulong)(n + 1) * SplitMix64.Increment));
                x[2 * n] = ((uint)bits >> 8) * Step;
                if ((2 * n) + 1 < count)
                {
                    x[(2 * n) + 1] = (uint)(bits >> 40) * Step;
                }
            }
        }

        private static Vector512<ulong> Mix(Vector512<ulong> value)
        {
            value = (value ^ (value >>> 30)) * SplitMix64.Multiplier1;
            value = (value ^ (value >>> 27)) * SplitMix64.Multiplier2;
            return value ^ (value >>> 31);
        }

        private const int HalfSqrt = 0x3F3504F3; // bits of sqrt(1/2)
        private const float Ln2 = 0.693147181f;

        // Natural logarithm of a positive number, error about 1e-7: exponent ln 2 + log(1 + r) with 1 + r from sqrt(1/2) to sqrt(2),
        // log(1 + r) / r by Chebyshev interpolation cut after degree 8 (error 3.1e-8).
        private static float Log(float value)
        {
            int bits = BitConverter.SingleToInt32Bits(value);
            int exponent = (bits - HalfSqrt) >> 23;
            float r = BitConverter.Int32BitsToSingle(bits - (exponent << 23)) - 1f;
            float p = 0.08743945f;
            p = (p * r) - 0.1437733f;
            p = (p * r) + 0.14949095f;
            p = (p * r) - 0.16560696f;
            p = (p * r) + 0.19956977f;
            p = (p * r) - 0.25002153f;
            p = (p * r) + 0.33334183f;
            p = (p * r) - 0.49999987f;
            p = (p * r) + 0.99999997f;
            return (exponent * Ln2) + (p * r);
        }

        // The same arithmetic for sixteen numbers, with the same bits.
        private static Vector512<float> Log(Vector512<float> value)
        {
            Vector512<int> bits = value.AsInt32();
            Vector512<int> exponent = (bits - Vector512.Create(HalfSqrt)) >> 23;
            Vector512<float> r = (bits - (exponent << 23)).AsSingle() - Vector512.Create(1f);
            Vector512<float> p = Vector512.Create(0.08743945f);
            p = (p * r) - Vector512.Create(0.1437733f);
            p = (p * r) + Vector512.Create(0.14949095f);
            p = (p * r) - Vector512.Create(0.16560696f);
            p = (p * r) + Vector512.Create(0.19956977f);
            p = (p * r) - Vector512.Create(0.25002153f);
            p = (p * r) + Vector512.Create(0.33334183f);
            p = (p * r) - Vector512.Create(0.49999987f);
            p = (p * r) + Vector512.Create(0.99999997f);
            return (Vector512.ConvertToSingle(exponent) * Ln2) + (p * r);
        }
    }
}
