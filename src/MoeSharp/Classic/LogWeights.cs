namespace MoeSharp.Classic;

/// <summary>Sums of exponentials without overflow or underflow: the largest exponent is taken out first.</summary>
internal static class LogWeights
{
    /// <summary>log sum exp(x).</summary>
    public static double LogSumExp(ReadOnlySpan<double> x)
    {
        double largest = double.NegativeInfinity;
        foreach (double value in x)
        {
            largest = Math.Max(largest, value);
        }

        if (!double.IsFinite(largest))
        {
            return largest;
        }

        double sum = 0;
        foreach (double value in x)
        {
            sum += Math.Exp(value - largest);
        }

        return largest + Math.Log(sum);
    }

    /// <summary>x = x - log sum exp(x): logits become log probabilities.</summary>
    public static void LogSoftmax(Span<double> x)
    {
        double total = LogSumExp(x);
        for (int i = 0; i < x.Length; i++)
        {
            x[i] -= total;
        }
    }

    /// <summary>x = exp(x - log sum exp(x)): log weights become weights that sum to one.</summary>
    /// <returns>log sum exp of the values before.</returns>
    public static double Normalize(Span<double> x)
    {
        double total = LogSumExp(x);
        for (int i = 0; i < x.Length; i++)
        {
            x[i] = Math.Exp(x[i] - total);
        }

        return total;
    }
}
