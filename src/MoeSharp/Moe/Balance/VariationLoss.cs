namespace MoeSharp.Moe.Balance;

/// <summary>The squared coefficient of variation of something that experts should have equally much of.</summary>
/// <remarks>
/// CV^2 = population variance / (mean^2 + 1e-10) (Shazeer et al., arXiv 1701.06538, equations 6 to 11): of importance, the sum of an expert's routing weights,
/// or of its smooth load. 0 when all are equal.
/// </remarks>
public static class VariationLoss
{
    private const double Epsilon = 1e-10; // of the authors' code

    /// <summary>The loss without its factor, and its slopes.</summary>
    /// <param name="amounts">What each expert has, [experts].</param>
    /// <param name="slopes">= d(CV^2)/d(amount), [experts].</param>
    public static double Measure(ReadOnlySpan<double> amounts, Span<double> slopes)
    {
        double mean = 0;
        foreach (double amount in amounts)
        {
            mean += amount / amounts.Length;
        }

        double variance = 0;
        foreach (double amount in amounts)
        {
            variance += (amount - mean) * (amount - mean) / amounts.Length;
        }

        // d var / d a = 2 (a - mean) / n; d mean / d a = 1 / n
        double divisor = (mean * mean) + Epsilon;
        for (int expert = 0; expert < amounts.Length; expert++)
        {
            slopes[expert] = ((2 * (amounts[expert] - mean)) - (2 * mean * variance / divisor)) / (amounts.Length * divisor);
        }

        return variance / divisor;
    }
}
