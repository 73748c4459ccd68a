namespace MoeSharp.Verification;

/// <summary>How far logits are from others, row by row.</summary>
/// <param name="MaxAbsolute">Largest difference of a logit; infinite where one is not a number.</param>
/// <param name="At">Where it is.</param>
/// <param name="RootMeanSquare">Root of the mean square of all differences.</param>
/// <param name="MeanDivergence">Mean over rows of the Kullback-Leibler divergence of the softmax from the expected one, nats.</param>
/// <param name="NumOtherChoices">Rows whose largest logit is another one.</param>
/// <param name="LargestShortfall">How far the expected logit of such a choice stays below the largest, at worst.</param>
/// <param name="NumRows">Rows.</param>
internal readonly record struct LogitDistance(double MaxAbsolute, int At, double RootMeanSquare, double MeanDivergence, int NumOtherChoices, double LargestShortfall, int NumRows)
{
    /// <summary>Compares logits.</summary>
    /// <param name="actual">[rows, vocab].</param>
    /// <param name="expected">[rows, vocab].</param>
    /// <param name="vocab">Logits of a row.</param>
    public static LogitDistance Of(ReadOnlySpan<float> actual, ReadOnlySpan<float> expected, int vocab)
    {
        (double largest, int at, double squares, double divergence, int others, double shortfall) = (0, 0, 0, 0, 0, 0);
        int rows = expected.Length / vocab;
        for (int row = 0; row < rows; row++)
        {
            ReadOnlySpan<float> computed = actual.Slice(row * vocab, vocab);
            ReadOnlySpan<float> wanted = expected.Slice(row * vocab, vocab);
            (int choice, int best) = (Largest(computed), Largest(wanted));
            others += choice == best ? 0 : 1;
            shortfall = Math.Max(shortfall, wanted[best] - (double)wanted[choice]);
            divergence += Divergence(computed, wanted) / rows;
            for (int i = 0; i < vocab; i++)
            {
                double difference = Math.Abs(computed[i] - (double)wanted[i]);
                squares += difference * difference;
                if (!(difference <= largest))
                {
                    (largest, at) = (double.IsNaN(difference) ? double.PositiveInfinity : difference, (row * vocab) + i);
                }
            }
        }

        return new LogitDistance(largest, at, Math.Sqrt(squares / expected.Length), divergence, others, shortfall, rows);
    }

    // sum of p (log p - log q) with p from the expected logits; in double, so that near rows do not cancel.
    private static double Divergence(ReadOnlySpan<float> actual, ReadOnlySpan<float> expected)
    {
        (double actualLog, double expectedLog) = (LogSumExp(actual), LogSumExp(expected));
        double sum = 0;
        for (int i = 0; i < expected.Length; i++)
        {
            double logProbability = expected[i] - expectedLog;
            sum += Math.Exp(logProbability) * (logProbability - (actual[i] - actualLog));
        }

        return sum;
    }

    private static double LogSumExp(ReadOnlySpan<float> logits)
    {
        double largest = logits[Largest(logits)];
        double sum = 0;
        foreach (float logit in logits)
        {
            sum += Math.Exp(logit - largest);
        }

        return largest + Math.Log(sum);
    }

    private static int Largest(ReadOnlySpan<float> logits)
    {
        int largest = 0;
        for (int i = 1; i < logits.Length; i++)
        {
            largest = logits[i] > logits[largest] ? i : largest;
        }

        return largest;
    }
}
