namespace MoeSharp.Moe.Balance;

/// <summary>Keeps routed experts equally used.</summary>
/// <remarks>
/// L = alpha1 sum over experts f_i P_i, f_i = N / (K T) * slots of expert i, P_i = mean score of expert i
/// (DeepSeekMoE, arXiv 2401.06066, equations 12 to 14). Balanced routing gives exactly alpha1. f carries no gradient.
/// </remarks>
public static class ExpertLevelLoss
{
    /// <summary>Adds the loss's slope with respect to each P_i.</summary>
    /// <param name="loads">f, [experts].</param>
    /// <param name="meanScores">P, [experts].</param>
    /// <param name="alpha">alpha1.</param>
    /// <param name="slopes">+= dL/dP, [experts].</param>
    /// <returns>sum f_i P_i, without alpha1.</returns>
    public static double Measure(ReadOnlySpan<double> loads, ReadOnlySpan<double> meanScores, double alpha, Span<double> slopes)
    {
        double loss = 0;
        for (int expert = 0; expert < loads.Length; expert++)
        {
            loss += loads[expert] * meanScores[expert];
            slopes[expert] += alpha * loads[expert];
        }

        return loss;
    }
}
