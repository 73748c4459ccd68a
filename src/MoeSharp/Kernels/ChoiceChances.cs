using System.Runtime.CompilerServices;

namespace MoeSharp.Kernels;

/// <summary>The chance that a token would choose an expert if the noise on this expert's logit alone were drawn anew.</summary>
/// <remarks>
/// P[t, e] = Phi(z[t, e]), z = (clean - bar) / deviation, bar = the k-th largest noisy logit of the others (Shazeer et al., arXiv 1701.06538, equations 8 and 9).
/// Among the k best the bar of a token's expert is the (k + 1)-th largest, elsewhere the k-th. Legend: t token, e expert.
/// </remarks>
public static unsafe class ChoiceChances
{
    /// <summary>The probabilities.</summary>
    /// <param name="workers">Worker pool.</param>
    /// <param name="experts">Experts; more than <paramref name="topK"/>.</param>
    /// <param name="topK">Experts per token.</param>
    /// <param name="best">Experts with the k + 1 largest noisy logits, falling, [tokens, topK + 1].</param>
    /// <param name="clean">[tokens, experts].</param>
    /// <param name="noisy">[tokens, experts].</param>
    /// <param name="deviation">Standard deviations of the noise, positive, [tokens, experts].</param>
    /// <param name="z">= what <see cref="Backward"/> needs, [tokens, experts].</param>
    /// <param name="probabilities">=, [tokens, experts].</param>
    public static void Forward(WorkerPool workers, int experts, int topK, ReadOnlySpan<int> best, ReadOnlySpan<float> clean, ReadOnlySpan<float> noisy, ReadOnlySpan<float> deviation, Span<float> z, Span<float> probabilities)
    {
        const string Operation = "ChoiceChances.Forward";
        int tokens = Check(Operation, experts, topK, best, deviation);
        Require.Length(clean.Length, deviation.Length, Operation, nameof(clean));
        Require.Length(noisy.Length, deviation.Length, Operation, nameof(noisy));
        Require.Length(z.Length, deviation.Length, Operation, nameof(z));
        Require.Length(probabilities.Length, deviation.Length, Operation, nameof(probabilities));
        fixed (int* bests = best)
        fixed (float* cleans = clean, noisies = noisy, deviations = deviation, zs = z, results = probabilities)
        {
            LaneRows.For(workers, tokens, experts, new ForwardJob { Experts = experts, TopK = topK, Best = bests, Clean = cleans, Noisy = noisies, Deviation = deviations, Z = zs, P = results });
        }
    }

    /// <summary>The gradient of the probabilities; each target is added to.</summary>
    /// <param name="workers">Worker pool.</param>
    /// <param name="experts">Experts.</param>
    /// <param name="topK">Experts per token.</param>
    /// <param name="best">As forward.</param>
    /// <param name="z">From forward.</param>
    /// <param name="deviation">As forward.</param>
    /// <param name="dProbabilities">[tokens, experts]; used up.</param>
    /// <param name="dClean">+=, [tokens, experts].</param>
    /// <param name="dNoisy">+=, [tokens, experts]: the bars move with the noisy logits.</param>
    /// <param name="dDeviation">+=, [tokens, experts].</param>
    public static void Backward(WorkerPool workers, int experts, int topK, ReadOnlySpan<int> best, ReadOnlySpan<float> z, ReadOnlySpan<float> deviation, Span<float> dProbabilities, Span<float> dClean, Span<float> dNoisy, Span<float> dDeviation)
    {
        const string Operation = "ChoiceChances.Backward";
        int tokens = Check(Operation, experts, topK, best, deviation);
        Require.Length(z.Length, deviation.Length, Operation, nameof(z));
        Require.Length(dProbabilities.Length, deviation.Length, Operation, nameof(dProbabilities));
        Require.Length(dClean.Length, deviation.Length, Operation, nameof(dClean));
        Require.Length(dNoisy.Length, deviation.Length, Operation, nameof(dNoisy));
        Require.Length(dDeviation.Length, deviation.Length, Operation, nameof(dDeviation));
        fixed (int* bests = best)
        fixed (float* zs = z, deviations = deviation, slopes = dProbabilities, dCleans = dClean, dNoisies = dNoisy, dDeviations = dDeviation)
        {
            LaneRows.For(workers, tokens, experts, new BackwardJob { Experts = experts, TopK = topK, Best = bests, Z = zs, Deviation = deviations, DP = slopes, DClean = dCleans, DNoisy = dNoisies, DDeviation = dDeviations });
        }
    }

    private static int Check(string operation, int experts, int topK, ReadOnlySpan<int> best, ReadOnlySpan<float> deviation)
    {
        int tokens = deviation.Length / experts;
        Require.Length(experts, topK + 1, operation, nameof(experts));
        Require.Length(best.Length, (long)tokens * (topK + 1), operation, nameof(best));
        return tokens;
    }

    private struct ForwardJob : ILaneRows
    {
        public int Experts;
        public int TopK;
        public int* Best;
        public float* Clean;
        public float* Noisy;
        public float* Deviation;
        public float* Z;
        public float* P;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public readonly void Run<L, V>(int begin, int end)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            for (int t = begin; t < end; t++)
            {
                long row = (long)t * Experts;
                int* best = Best + ((long)t * (TopK + 1));
                new Span<float>(Z + row, Experts).Fill(Noisy[row + best[TopK - 1]]); // the bars first
                for (int slot = 0; slot < TopK; slot++)
                {
                    Z[row + best[slot]] = Noisy[row + best[TopK]];
                }

                LaneLoop.Map<L, V, ForwardMap>(0, Experts, new ForwardMap { Clean = Clean + row, Deviation = Deviation + row, Z = Z + row, P = P + row });
            }
        }
    }

    // z holds the bars at first. Lanes behind the row divide by 0; they are never stored.
    private struct ForwardMap : ILaneMap
    {
        public float* Clean;
        public float* Deviation;
        public float* Z;
        public float* P;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public readonly void At<W, L, V>(W at)
            where W : struct, ILaneWindow<V>
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            V z = L.Divide(L.Subtract(at.Load(Clean), at.Load(Z)), at.Load(Deviation));
            at.Store(Z, z);
            at.Store(P, Below<L, V>(z));
        }

        // Phi(z) = 1 - erfc(|z| / sqrt 2) / 2 for positive z, erfc(x) = t e^(p(u) - x^2) with t = 2 / (2 + x) and u = t stretched from [1/4, 1] to [-1, 1].
        // p: Chebyshev interpolation of log(erfc(x) e^(x^2) / t) at 200 nodes, cut after degree 9; error of erfc at most 1.8e-8, beyond x = 6 it is 0.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static V Below<L, V>(V z)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            V x = L.Min(L.Broadcast(6f), L.Multiply(L.Broadcast(0.707106781f), L.Max(z, L.Subtract(L.Zero, z))));
            V t = L.Divide(L.Broadcast(2f), L.Add(L.Broadcast(2f), x));
            V u = L.MultiplyAdd(t, L.Broadcast(8f / 3f), L.Broadcast(-5f / 3f));
            V p = L.MultiplyAdd(L.Broadcast(1.2131580e-05f), u, L.Broadcast(5.3070896e-05f));
            p = L.MultiplyAdd(p, u, L.Broadcast(-0.00019725357f));
            p = L.MultiplyAdd(p, u, L.Broadcast(-0.00030696280f));
            p = L.MultiplyAdd(p, u, L.Broadcast(0.0020296118f));
            p = L.MultiplyAdd(p, u, L.Broadcast(0.00048550462f));
            p = L.MultiplyAdd(p, u, L.Broadcast(-0.021523777f));
            p = L.MultiplyAdd(p, u, L.Broadcast(0.0055717447f));
            p = L.MultiplyAdd(p, u, L.Broadcast(0.51531269f));
            p = L.MultiplyAdd(p, u, L.Broadcast(-0.50143675f));
            V tail = L.Multiply(L.Multiply(L.Broadcast(0.5f), t), VectorMath.Exp<L, V>(L.SubtractProduct(x, x, p)));
            return L.WhereLess(z, L.Zero, tail, L.Subtract(L.Broadcast(1f), tail));
        }
    }

    private struct BackwardJob : ILaneRows
    {
        public int Experts;
        public int TopK;
        public int* Best;
        public float* Z;
        public float* Deviation;
        public float* DP;
        public float* DClean;
        public float* DNoisy;
        public float* DDeviation;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public readonly void Run<L, V>(int begin, int end)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            for (int t = begin; t < end; t++)
            {
                long row = (long)t * Experts;
                LaneLoop.Map<L, V, SlopeMap>(0, Experts, new SlopeMap { Z = Z + row, Deviation = Deviation + row, DP = DP + row, DClean = DClean + row, DDeviation = DDeviation + row });
                MoveBars(row, Best + ((long)t * (TopK + 1)));
            }
        }

        // A bar falls away from the clean logits that are measured against it.
        private readonly void MoveBars(long row, int* best)
        {
            (float chosen, float others) = (0f, 0f);
            for (int slot = 0; slot < TopK; slot++)
            {
                chosen += DP[row + best[slot]];
                DP[row + best[slot]] = 0f;
            }

            for (int e = 0; e < Experts; e++)
            {
                others += DP[row + e];
            }

            DNoisy[row + best[TopK]] -= chosen;
            DNoisy[row + best[TopK - 1]] -= others;
        }
    }

    // dP/dclean = phi(z) / deviation, left in place of dP; lanes behind the row divide by 0 and are never stored.
    private struct SlopeMap : ILaneMap
    {
        private const float InverseSqrt2Pi = 0.39894228f;

        public float* Z;
        public float* Deviation;
        public float* DP;
        public float* DClean;
        public float* DDeviation;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public readonly void At<W, L, V>(W at)
            where W : struct, ILaneWindow<V>
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            V z = at.Load(Z);
            V density = VectorMath.Exp<L, V>(L.Multiply(L.Broadcast(-0.5f), L.Multiply(z, z)));
            V slope = L.Divide(L.Multiply(L.Multiply(L.Broadcast(InverseSqrt2Pi), at.Load(DP)), density), at.Load(Deviation));
            at.Store(DP, slope);
            at.Store(DClean, L.Add(at.Load(DClean), slope));
            at.Store(DDeviation, L.SubtractProduct(slope, z, at.Load(DDeviation)));
        }
    }
}
