namespace MoeSharp.Moe.Balance;

/// <summary>Keeps experts equally used: scores of experts with more than their share of the choices are pushed down.</summary>
/// <remarks>
/// L = alpha sum over experts f_i P_i, P_i = mean score of expert i, f_i = N times its share of the choices, without gradient. Balanced routing gives exactly alpha,
/// a collapsed router alpha N. Which choices count is what sets the published losses apart:
/// <list type="bullet">
/// <item>expert level: all K of each token, those that were made (DeepSeekMoE, arXiv 2401.06066, equations 12 to 14);</item>
/// <item>first choice: the first of each token, before any capacity (Switch, arXiv 2101.03961, equations 4 to 6; GShard, arXiv 2006.16668, algorithm 1, as its authors' code has it);</item>
/// <item>per sequence and per batch: the K largest scores of each token, whatever groups and selection biases say (DeepSeek-V3, arXiv 2412.19437, equations 17 to 20).</item>
/// </list>
/// </remarks>
public static class LoadLoss
{
    /// <summary>Adds the loss's slope with respect to each P_i.</summary>
    /// <param name="loads">f, [experts].</param>
    /// <param name="meanScores">P, [experts].</param>
    /// <param name="alpha">alpha.</param>
    /// <param name="slopes">+= dL/dP, [experts].</param>
    /// <returns>sum f_i P_i, without alpha.</returns>
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
