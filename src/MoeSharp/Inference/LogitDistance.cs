namespace MoeSharp.Inference;

/// <summary>How far the logits of two models are apart, over any number of rows.</summary>
public sealed class LogitDistance
{
    private double _sumOfDifferences;
    private double _sumOfDivergences;
    private long _sameBest;
    private long _elements;

    /// <summary>Rows compared.</summary>
    public long Rows { get; private set; }

    /// <summary>Largest absolute difference of a logit.</summary>
    public double Largest { get; private set; }

    /// <summary>Mean absolute difference of a logit.</summary>
    public double Mean => _elements == 0 ? 0 : _sumOfDifferences / _elements;

    /// <summary>Mean Kullback-Leibler divergence of the second model's next-token distribution from the first's, nats.</summary>
    public double Divergence => Rows == 0 ? 0 : _sumOfDivergences / Rows;

    /// <summary>Share of rows whose most likely token is the same.</summary>
    public double SameBest => Rows == 0 ? 0 : (double)_sameBest / Rows;

    /// <summary>Compares rows.</summary>
    /// <param name="reference">Logits of the first model, [rows, vocab].</param>
    /// <param name="other">Logits of the second, [rows, vocab].</param>
    /// <param name="vocab">Tokens.</param>
    public void Add(ReadOnlySpan<float> reference, ReadOnlySpan<float> other, int vocab)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(other.Length, reference.Length);
        for (int row = 0; row < reference.Length; row += vocab)
        {
            AddRow(reference.Slice(row, vocab), other.Slice(row, vocab));
        }
    }

    /// <summary>Mean divergence of rows; see <see cref="Divergence"/>.</summary>
    public static double MeanDivergence(ReadOnlySpan<float> reference, ReadOnlySpan<float> other, int vocab)
    {
        LogitDistance distance = new();
        distance.Add(reference, other, vocab);
        return distance.Divergence;
    }

    private void AddRow(ReadOnlySpan<float> reference, ReadOnlySpan<float> other)
    {
        double first = LogSum(reference), second = LogSum(other), divergence = 0;
        int best = 0, otherBest = 0;
        for (int token = 0; token < reference.Length; token++)
        {
            double difference = Math.Abs((double)reference[token] - other[token]);
            Largest = double.IsNaN(difference) ? double.NaN : Math.Max(Largest, difference);
            _sumOfDifferences += difference;
            double log = reference[token] - first;
            divergence += Math.Exp(log) * (log - (other[token] - second));
            best = reference[token] > reference[best] ? token : best;
            otherBest = other[token] > other[otherBest] ? token : otherBest;
        }

        _sumOfDivergences += divergence;
        _sameBest += best == otherBest ? 1 : 0;
        _elements += reference.Length;
        Rows++;
    }

    // Logarithm of the sum of exponentials.
    private static double LogSum(ReadOnlySpan<float> row)
    {
        float largest = float.NegativeInfinity;
        foreach (float value in row)
        {
            largest = Math.Max(largest, value);
        }

        double sum = 0;
        foreach (float value in row)
        {
            sum += Math.Exp((double)value - largest);
        }

        return largest + Math.Log(sum);
    }
}
