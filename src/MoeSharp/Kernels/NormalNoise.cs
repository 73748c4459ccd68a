namespace MoeSharp.Kernels;

/// <summary>Fills memory with standard normal numbers, several times as fast as <see cref="NormalFill"/>: for noise that is drawn anew in every step.</summary>
/// <remarks>
/// The ziggurat method (Marsaglia and Tsang, Journal of Statistical Software 5(8), 2000): the area under the density is covered by 128 layers of equal area,
/// and a point of a layer is nearly always under the curve. The content depends on the seed alone, not on the workers.
/// </remarks>
public static class NormalNoise
{
    private const int Block = 1024; // floats that share one generator
    private const int Layers = 128;
    private const double Tail = 3.442619855899; // where the lowest layer's rectangle ends, for 128 layers
    private const double Area = 9.91256303526217e-3; // of a layer, for this tail
    private const double SignedStep = 1.0 / (1L << 52);
    private const double Step = 1.0 / (1L << 53);

    private static readonly double[] s_edges = Edges(); // right edge of each layer, from the lowest up; the last is 0
    private static readonly double[] s_heights = [.. s_edges.Select(edge => Math.Exp(-0.5 * edge * edge))];

    /// <summary>x[i] = mean 0, standard deviation 1.</summary>
    public static unsafe void Fill(WorkerPool workers, ulong seed, Span<float> x)
    {
        fixed (float* pointer = x)
        {
            FillJob job = new() { X = pointer, Length = x.Length, Seed = seed };
            workers.ForRows((x.Length + Block - 1) / Block, 2, ref job);
        }
    }

    private static double[] Edges()
    {
        double[] edges = new double[Layers + 1];
        (edges[0], edges[1]) = (Area / Math.Exp(-0.5 * Tail * Tail), Tail); // the lowest layer has the area of its rectangle and of the tail
        for (int layer = 2; layer < Layers; layer++)
        {
            double before = edges[layer - 1];
            edges[layer] = Math.Sqrt(-2 * Math.Log(Math.Exp(-0.5 * before * before) + (Area / before)));
        }

        return edges;
    }

    private unsafe struct FillJob : IRowJob
    {
        public float* X;
        public int Length;
        public ulong Seed;

        public readonly void Run(int begin, int end)
        {
            ReadOnlySpan<double> edges = s_edges;
            ReadOnlySpan<double> heights = s_heights;
            for (int block = begin; block < end; block++)
            {
                SplitMix64 random = new(SplitMix64.Mix(Seed ^ SplitMix64.Mix((ulong)block + 1)));
                int last = (int)Math.Min(((long)block + 1) * Block, Length);
                for (int i = block * Block; i < last; i++)
                {
                    X[i] = (float)Draw(ref random, edges, heights);
                }
            }
        }

        private static double Draw(ref SplitMix64 random, ReadOnlySpan<double> edges, ReadOnlySpan<double> heights)
        {
            while (true)
            {
                ulong bits = random.Next();
                int layer = (int)(bits & (Layers - 1));
                double u = ((long)bits >> 11) * SignedStep; // from -1 to 1
                double z = u * edges[layer];
                if (Math.Abs(z) < edges[layer + 1])
                {
                    return z; // under the layer above, so under the curve
                }

                if (layer == 0)
                {
                    return Math.CopySign(DrawTail(ref random), u);
                }

                double height = heights[layer] + (Uniform(ref random) * (heights[layer + 1] - heights[layer]));
                if (height < Math.Exp(-0.5 * z * z))
                {
                    return z;
                }
            }
        }

        // Marsaglia's exact method for the part beyond the last edge.
        private static double DrawTail(ref SplitMix64 random)
        {
            double beyond;
            double limit;
            do
            {
                beyond = -Math.Log(Uniform(ref random)) / Tail;
                limit = -Math.Log(Uniform(ref random));
            }
            while (2 * limit < beyond * beyond);
            return Tail + beyond;
        }

        // In (0, 1): half a step above each multiple, so that the logarithm is finite.
        private static double Uniform(ref SplitMix64 random) => ((random.Next() >> 11) + 0.5) * Step;
    }
}
