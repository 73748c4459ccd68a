namespace MoeSharp.Moe.Balance;

/// <summary>Keeps groups of experts, one group a device, equally used.</summary>
/// <remarks>
/// L = alpha2 sum over groups f'_d P'_d, f'_d = mean of f over the group, P'_d = sum of P over the group
/// (DeepSeekMoE, arXiv 2401.06066, equations 15 to 17). Balanced routing gives exactly alpha2. Groups are contiguous and of equal size.
/// </remarks>
public static class DeviceLevelLoss
{
    /// <summary>Adds the loss's slope with respect to each P_i.</summary>
    /// <param name="loads">f, [experts].</param>
    /// <param name="meanScores">P, [experts].</param>
    /// <param name="numGroups">D; divides the number of experts.</param>
    /// <param name="alpha">alpha2.</param>
    /// <param name="slopes">+= dL/dP, [experts].</param>
    /// <returns>sum f'_d P'_d, without alpha2.</returns>
    public static double Measure(ReadOnlySpan<double> loads, ReadOnlySpan<double> meanScores, int numGroups, double alpha, Span<double> slopes)
    {
        int size = loads.Length / numGroups;
        double loss = 0;
        for (int group = 0; group < numGroups; group++)
        {
            double load = 0;
            double score = 0;
            for (int expert = group * size; expert < (group + 1) * size; expert++)
            {
                load += loads[expert] / size;
                score += meanScores[expert];
            }

            loss += load * score;
            for (int expert = group * size; expert < (group + 1) * size; expert++)
            {
                slopes[expert] += alpha * load;
            }
        }

        return loss;
    }
}
