namespace MoeSharp.Moe.Balance;

/// <summary>Keeps router logits small: the mean squared log-sum-exp (ST-MoE, arXiv 2202.08906, equation 5).</summary>
public static class RouterZLoss
{
    /// <summary>The loss without its factor.</summary>
    /// <param name="logSumExp">Log of each token's sum of exponentials, [tokens].</param>
    public static double Measure(ReadOnlySpan<float> logSumExp)
    {
        double sum = 0;
        foreach (float value in logSumExp)
        {
            sum += (double)value * value;
        }

        return sum / logSumExp.Length;
    }
}
