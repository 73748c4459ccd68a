namespace MoeSharp.Moe.Balance;

/// <summary>How uneven the loads of experts are.</summary>
public static class LoadImbalance
{
    /// <summary>The largest load over the mean; 1 when balanced, the number of experts when collapsed, 0 without any load.</summary>
    public static double MaxOverMean(ReadOnlySpan<long> tokensPerExpert)
    {
        (long sum, long largest) = (0, 0);
        foreach (long count in tokensPerExpert)
        {
            sum += count;
            largest = Math.Max(largest, count);
        }

        return sum == 0 ? 0 : (double)largest * tokensPerExpert.Length / sum;
    }

    /// <summary>MaxVio: the largest load over the mean, minus 1 (arXiv 2408.15664); 0 when balanced.</summary>
    public static double MaxViolation(ReadOnlySpan<long> tokensPerExpert) => MaxOverMean(tokensPerExpert) is var ratio && ratio > 0 ? ratio - 1 : 0;
}
