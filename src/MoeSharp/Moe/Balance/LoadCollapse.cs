namespace MoeSharp.Moe.Balance;

/// <summary>A layer whose experts are not in use as they should be: some take next to nothing, or one takes nearly everything.</summary>
/// <param name="Layer">Decoder layer.</param>
/// <param name="NumExperts">Routed experts.</param>
/// <param name="Idle">Experts with less than <see cref="IdleBelow"/> of an even load.</param>
/// <param name="Fullest">The expert with the largest load.</param>
/// <param name="MaxOverMean">Its load over the mean.</param>
/// <param name="IsCrowded">Whether that is more than <see cref="CrowdedAbove"/>.</param>
public sealed record LoadCollapse(int Layer, int NumExperts, IReadOnlyList<int> Idle, int Fullest, double MaxOverMean, bool IsCrowded)
{
    /// <summary>An expert with less than this share of an even load is idle.</summary>
    public const double IdleBelow = 0.01;

    private const double IdleNoMoreAbove = 0.05; // of an even load: an expert on the edge is not told again and again (arbitrary)
    private const double CrowdedNoMoreBelow = 0.8; // of the bound
    private const double SmallestBound = 2; // one expert with twice its share is no collapse
    private const double LargestBound = 4; // balanced runs of experiment balance-off stay below 2.4, collapsed ones reach 5 to 9 (bench/results)
    private const long FewestMean = 20; // tokens per expert: with fewer, an expert may be idle by chance

    /// <summary>Load over the mean from which a layer counts as crowded: half-way between balanced (1) and all tokens at the same experts (experts / top_k), at least 2 and at most 4.</summary>
    /// <param name="numExperts">Routed experts.</param>
    /// <param name="topK">Experts per token.</param>
    public static double CrowdedAbove(int numExperts, int topK) => Math.Clamp((1 + (numExperts / (double)topK)) / 2, SmallestBound, LargestBound);

    /// <summary>Experts with less than <see cref="IdleBelow"/> of an even load; 0 without any load.</summary>
    /// <param name="tokensPerExpert">Loads, [experts].</param>
    public static int NumIdle(ReadOnlySpan<long> tokensPerExpert)
    {
        long sum = Sum(tokensPerExpert);
        int idle = 0;
        foreach (long count in tokensPerExpert)
        {
            idle += IsIdle(count, sum, tokensPerExpert.Length) ? 1 : 0;
        }

        return idle;
    }

    /// <summary>Judges the loads of a layer.</summary>
    /// <param name="layer">Decoder layer.</param>
    /// <param name="tokensPerExpert">Loads, [experts].</param>
    /// <param name="topK">Experts per token.</param>
    /// <returns>What is wrong; null where nothing is, or where there are too few tokens to say.</returns>
    public static LoadCollapse? Of(int layer, ReadOnlySpan<long> tokensPerExpert, int topK)
    {
        long sum = Sum(tokensPerExpert);
        double ratio = LoadImbalance.MaxOverMean(tokensPerExpert);
        bool isCrowded = ratio > CrowdedAbove(tokensPerExpert.Length, topK);
        if (sum < FewestMean * tokensPerExpert.Length || (!isCrowded && NumIdle(tokensPerExpert) == 0))
        {
            return null;
        }

        List<int> idle = [];
        int fullest = 0;
        for (int expert = 0; expert < tokensPerExpert.Length; expert++)
        {
            fullest = tokensPerExpert[expert] > tokensPerExpert[fullest] ? expert : fullest;
            if (IsIdle(tokensPerExpert[expert], sum, tokensPerExpert.Length))
            {
                idle.Add(expert);
            }
        }

        return new LoadCollapse(layer, tokensPerExpert.Length, idle, fullest, ratio, isCrowded);
    }

    /// <summary>Whether a layer that had collapsed is well again: a little more is asked than not to be collapsed, so that a layer on the edge is told once.</summary>
    /// <param name="tokensPerExpert">Loads, [experts].</param>
    /// <param name="topK">Experts per token.</param>
    public static bool HasRecovered(ReadOnlySpan<long> tokensPerExpert, int topK)
    {
        long sum = Sum(tokensPerExpert);
        foreach (long count in tokensPerExpert)
        {
            if (count * (double)tokensPerExpert.Length < IdleNoMoreAbove * sum)
            {
                return false;
            }
        }

        return sum > 0 && LoadImbalance.MaxOverMean(tokensPerExpert) <= Math.Max(1, CrowdedNoMoreBelow * CrowdedAbove(tokensPerExpert.Length, topK));
    }

    private static bool IsIdle(long count, long sum, int numExperts) => count * (double)numExperts < IdleBelow * sum;

    private static long Sum(ReadOnlySpan<long> counts)
    {
        long sum = 0;
        foreach (long count in counts)
        {
            sum += count;
        }

        return sum;
    }
}
