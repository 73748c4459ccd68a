namespace MoeSharp.Kernels;

/// <summary>The chance that a token would choose an expert if the noise on this expert's logit alone were drawn anew.</summary>
/// <remarks>
/// P[t, e] = Phi((clean[t, e] - bar) / deviation[t, e]), bar = the k-th largest noisy logit of the others (Shazeer et al., arXiv 1701.06538, equations 8 and 9).
/// Among the k best the bar of a token's expert is the (k + 1)-th largest, elsewhere the k-th. Legend: t token, e expert.
/// </remarks>
public static unsafe class ChoiceChances
{
    private const int Chunk = 64; // tokens that a worker takes at a time

    /// <summary>The probabilities.</summary>
    /// <param name="workers">Worker pool.</param>
    /// <param name="experts">Experts; more than <paramref name="topK"/>.</param>
    /// <param name="topK">Experts per token.</param>
    /// <param name="best">Experts with the k + 1 largest noisy logits, falling, [tokens, topK + 1].</param>
    /// <param name="clean">[tokens, experts].</param>
    /// <param name="noisy">[tokens, experts].</param>
    /// <param name="deviation">Standard deviations of the noise, positive, [tokens, experts].</param>
    /// <param name="probabilities">=, [tokens, experts].</param>
    public static void Forward(WorkerPool workers, int experts, int topK, ReadOnlySpan<int> best, ReadOnlySpan<float> clean, ReadOnlySpan<float> noisy, ReadOnlySpan<float> deviation, Span<float> probabilities)
    {
        const string Operation = "ChoiceChances.Forward";
        int tokens = Check(Operation, experts, topK, best, clean, noisy, deviation);
        Require.Length(probabilities.Length, clean.Length, Operation, nameof(probabilities));
        fixed (int* bests = best)
        fixed (float* cleans = clean, noisies = noisy, deviations = deviation, results = probabilities)
        {
            ForwardJob job = new() { Rows = new Rows { Experts = experts, TopK = topK, Best = bests, Clean = cleans, Noisy = noisies, Deviation = deviations }, P = results };
            workers.ForRows(tokens, Chunk, ref job);
        }
    }

    /// <summary>The gradient of the probabilities; each target is added to.</summary>
    /// <param name="workers">Worker pool.</param>
    /// <param name="experts">Experts.</param>
    /// <param name="topK">Experts per token.</param>
    /// <param name="best">As forward.</param>
    /// <param name="clean">As forward.</param>
    /// <param name="noisy">As forward.</param>
    /// <param name="deviation">As forward.</param>
    /// <param name="dProbabilities">[tokens, experts].</param>
    /// <param name="dClean">+=, [tokens, experts].</param>
    /// <param name="dNoisy">+=, [tokens, experts]: the bars move with the noisy logits.</param>
    /// <param name="dDeviation">+=, [tokens, experts].</param>
    public static void Backward(WorkerPool workers, int experts, int topK, ReadOnlySpan<int> best, ReadOnlySpan<float> clean, ReadOnlySpan<float> noisy, ReadOnlySpan<float> deviation, ReadOnlySpan<float> dProbabilities, Span<float> dClean, Span<float> dNoisy, Span<float> dDeviation)
    {
        const string Operation = "ChoiceChances.Backward";
        int tokens = Check(Operation, experts, topK, best, clean, noisy, deviation);
        Require.Length(dProbabilities.Length, clean.Length, Operation, nameof(dProbabilities));
        Require.Length(dClean.Length, clean.Length, Operation, nameof(dClean));
        Require.Length(dNoisy.Length, clean.Length, Operation, nameof(dNoisy));
        Require.Length(dDeviation.Length, clean.Length, Operation, nameof(dDeviation));
        fixed (int* bests = best)
        fixed (float* cleans = clean, noisies = noisy, deviations = deviation, slopes = dProbabilities, dCleans = dClean, dNoisies = dNoisy, dDeviations = dDeviation)
        {
            BackwardJob job = new()
            {
                Rows = new Rows { Experts = experts, TopK = topK, Best = bests, Clean = cleans, Noisy = noisies, Deviation = deviations },
                DP = slopes,
                DClean = dCleans,
                DNoisy = dNoisies,
                DDeviation = dDeviations,
            };
            workers.ForRows(tokens, Chunk, ref job);
        }
    }

    private static int Check(string operation, int experts, int topK, ReadOnlySpan<int> best, ReadOnlySpan<float> clean, ReadOnlySpan<float> noisy, ReadOnlySpan<float> deviation)
    {
        int tokens = clean.Length / experts;
        Require.Length(experts, topK + 1, operation, nameof(experts));
        Require.Length(best.Length, (long)tokens * (topK + 1), operation, nameof(best));
        Require.Length(noisy.Length, clean.Length, operation, nameof(noisy));
        Require.Length(deviation.Length, clean.Length, operation, nameof(deviation));
        return tokens;
    }

    private struct Rows
    {
        public int Experts;
        public int TopK;
        public int* Best;
        public float* Clean;
        public float* Noisy;
        public float* Deviation;

        // Expert that sets the bar for e: the (k + 1)-th best for one of the k best, the k-th best for another.
        public readonly int BarOf(int t, int e)
        {
            int* best = Best + ((long)t * (TopK + 1));
            for (int slot = 0; slot < TopK; slot++)
            {
                if (best[slot] == e)
                {
                    return best[TopK];
                }
            }

            return best[TopK - 1];
        }

        public readonly double Score(int t, int e, int bar)
        {
            long row = (long)t * Experts;
            return ((double)Clean[row + e] - Noisy[row + bar]) / Deviation[row + e];
        }
    }

    private struct ForwardJob : IRowJob
    {
        public Rows Rows;
        public float* P;

        public readonly void Run(int begin, int end)
        {
            for (int t = begin; t < end; t++)
            {
                for (int e = 0; e < Rows.Experts; e++)
                {
                    P[((long)t * Rows.Experts) + e] = (float)NormalDistribution.Below(Rows.Score(t, e, Rows.BarOf(t, e)));
                }
            }
        }
    }

    private struct BackwardJob : IRowJob
    {
        public Rows Rows;
        public float* DP;
        public float* DClean;
        public float* DNoisy;
        public float* DDeviation;

        // z = (clean_e - noisy_bar) / deviation_e, dP/dz = phi(z)
        public readonly void Run(int begin, int end)
        {
            for (int t = begin; t < end; t++)
            {
                long row = (long)t * Rows.Experts;
                for (int e = 0; e < Rows.Experts; e++)
                {
                    int bar = Rows.BarOf(t, e);
                    double z = Rows.Score(t, e, bar);
                    double slope = DP[row + e] * NormalDistribution.Density(z) / Rows.Deviation[row + e];
                    DClean[row + e] += (float)slope;
                    DNoisy[row + bar] -= (float)slope;
                    DDeviation[row + e] -= (float)(slope * z);
                }
            }
        }
    }
}
