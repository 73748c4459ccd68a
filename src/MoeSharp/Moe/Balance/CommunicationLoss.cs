namespace MoeSharp.Moe.Balance;

/// <summary>Keeps the tokens that groups of experts, one group a device, receive equally many.</summary>
/// <remarks>
/// L = alpha3 sum over groups f''_d P''_d, f''_d = D / (M T) * tokens that use at least one expert of the group, P''_d = sum of P over the group, per sequence
/// (DeepSeek-V2, arXiv 2405.04434, communication balance loss). When every token goes to exactly M groups and all are alike it is alpha3. f'' carries no gradient.
/// </remarks>
public static class CommunicationLoss
{
    private const int MostOnStack = 256; // devices; more are rare enough to allocate

    /// <summary>Adds the loss's slope with respect to each P_i.</summary>
    /// <param name="use">A group of tokens: a sequence.</param>
    /// <param name="devices">Groups of experts.</param>
    /// <param name="maxDevices">M, devices that a token is meant to use.</param>
    /// <param name="alpha">alpha3.</param>
    /// <param name="slopes">+= dL/dP, [experts].</param>
    /// <returns>sum f''_d P''_d, without alpha3.</returns>
    public static double Measure(in GroupUse use, DeviceGroups devices, int maxDevices, double alpha, Span<double> slopes)
    {
        Span<int> tokens = devices.Count <= MostOnStack ? stackalloc int[devices.Count] : new int[devices.Count];
        Span<int> lastTokens = devices.Count <= MostOnStack ? stackalloc int[devices.Count] : new int[devices.Count];
        CountTokens(use, devices.DeviceOf, lastTokens, tokens);
        double factor = (double)devices.Count / ((double)maxDevices * use.NumTokens);
        double loss = 0;
        for (int expert = 0; expert < use.MeanScores.Length; expert++)
        {
            double load = factor * tokens[devices.DeviceOf[expert]];
            loss += load * use.MeanScores[expert];
            slopes[expert] += alpha * load;
        }

        return loss;
    }

    // A token counts once for a device, however many of its experts are there.
    private static void CountTokens(in GroupUse use, ReadOnlySpan<int> deviceOf, Span<int> lastTokens, Span<int> tokens)
    {
        tokens.Clear();
        lastTokens.Fill(-1);
        for (int token = 0; token < use.NumTokens; token++)
        {
            foreach (int expert in use.ExpertIds.Slice(token * use.TopK, use.TopK))
            {
                if (expert >= 0 && lastTokens[deviceOf[expert]] != token)
                {
                    lastTokens[deviceOf[expert]] = token;
                    tokens[deviceOf[expert]]++;
                }
            }
        }
    }
}
