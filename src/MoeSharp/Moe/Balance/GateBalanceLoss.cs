namespace MoeSharp.Moe.Balance;

/// <summary>StableMoE's balance loss: gates of experts with more than their share of tokens are pushed down, those of the others up (arXiv 2204.08396).</summary>
/// <remarks>sum over experts of (n_e - n) / n times the sum of the gates of the expert's tokens; n_e tokens of an expert, n their mean, both without gradient.</remarks>
public static class GateBalanceLoss
{
    /// <summary>The loss as a sum over tokens, without its factor.</summary>
    /// <param name="expertIds">Expert of each token, [tokens].</param>
    /// <param name="gates">Gate of each token at its expert, [tokens].</param>
    /// <param name="isPadding">Rows that do not count; empty for none.</param>
    /// <param name="slopes">= derivative by every gate of each expert, [experts].</param>
    /// <returns>The loss; 0 without a real token.</returns>
    public static double Measure(ReadOnlySpan<int> expertIds, ReadOnlySpan<float> gates, ReadOnlySpan<bool> isPadding, Span<float> slopes)
    {
        slopes.Clear();
        int tokens = 0;
        for (int token = 0; token < expertIds.Length; token++)
        {
            if (isPadding.Length == 0 || !isPadding[token])
            {
                slopes[expertIds[token]]++; // counts at first
                tokens++;
            }
        }

        double mean = Math.Max(1, tokens) / (double)slopes.Length;
        foreach (ref float slope in slopes)
        {
            slope = (float)((slope - mean) / mean);
        }

        double loss = 0;
        for (int token = 0; token < expertIds.Length; token++)
        {
            loss += isPadding.Length > 0 && isPadding[token] ? 0 : (double)slopes[expertIds[token]] * gates[token];
        }

        return loss;
    }
}
