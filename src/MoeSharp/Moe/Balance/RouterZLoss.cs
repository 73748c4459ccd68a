namespace MoeSharp.Moe.Balance;

/// <summary>Keeps router logits small: the mean squared log-sum-exp (ST-MoE, arXiv 2202.08906, equation 5).</summary>
public static class RouterZLoss
{
    /// <summary>The loss without its factor.</summary>
    /// <param name="logSumExp">Log of each token's sum of exponentials, [tokens].</param>
    /// <param name="isPadding">Tokens that do not count, [tokens]; empty for none.</param>
    public static double Measure(ReadOnlySpan<float> logSumExp, ReadOnlySpan<bool> isPadding = default)
    {
        (double sum, int count) = (0, 0);
        for (int token = 0; token < logSumExp.Length; token++)
        {
            if (isPadding.Length == 0 || !isPadding[token])
            {
                sum += (double)logSumExp[token] * logSumExp[token];
                count++;
            }
        }

        return count == 0 ? 0 : sum / count;
    }
}
