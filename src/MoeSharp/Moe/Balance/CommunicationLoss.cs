namespace MoeSharp.Moe.Balance;

/// <summary>Keeps the tokens that groups of experts, one group a device, receive equally many.</summary>
/// <remarks>
/// L = alpha3 sum over groups f''_d P''_d, f''_d = D / (M T) * tokens that use at least one expert of the group, P''_d = sum of P over the group, per sequence
/// (DeepSeek-V2, arXiv 2405.04434, communication balance loss). When every token goes to exactly M groups and all are alike it is alpha3. f'' carries no gradient.
/// </remarks>
public static class CommunicationLoss
{
    /// <summary>Adds the loss's slope with respect to each P_i.</summary>
    /// <param name="expertIds">Chosen experts of the sequence's tokens, [tokens * topK].</param>
    /// <param name="topK">Experts per token.</param>
    /// <param name="meanScores">P, [experts].</param>
    /// <param name="numGroups">D; divides the number of experts.</param>
    /// <param name="maxGroups">M, groups that a token is meant to use.</param>
    /// <param name="alpha">alpha3.</param>
    /// <param name="slopes">+= dL/dP, [experts].</param>
    /// <returns>sum f''_d P''_d, without alpha3.</returns>
    public static double Measure(ReadOnlySpan<int> expertIds, int topK, ReadOnlySpan<double> meanScores, int numGroups, int maxGroups, double alpha, Span<double> slopes)
    {
        int size = meanScores.Length / numGroups;
        int tokens = expertIds.Length / topK;
        double loss = 0;
        for (int group = 0; group < numGroups; group++)
        {
            double load = (double)numGroups / ((double)maxGroups * tokens) * CountTokens(expertIds, topK, group * size, (group + 1) * size);
            for (int expert = group * size; expert < (group + 1) * size; expert++)
            {
                loss += load * meanScores[expert];
                slopes[expert] += alpha * load;
            }
        }

        return loss;
    }

    private static int CountTokens(ReadOnlySpan<int> expertIds, int topK, int firstExpert, int endExpert)
    {
        int count = 0;
        for (int token = 0; token < expertIds.Length; token += topK)
        {
            foreach (int expert in expertIds.Slice(token, topK))
            {
                if (expert >= firstExpert && expert < endExpert)
                {
                    count++;
                    break;
                }
            }
        }

        return count;
    }
}
