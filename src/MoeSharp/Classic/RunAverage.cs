namespace MoeSharp.Classic;

/// <summary>A figure over several runs.</summary>
/// <param name="Mean">Mean of the runs; NaN without any.</param>
/// <param name="Deviation">Standard deviation over the runs; NaN for fewer than two.</param>
/// <param name="Count">Number of runs.</param>
public readonly record struct RunAverage(double Mean, double Deviation, int Count)
{
    /// <summary>Standard error of the mean.</summary>
    public double StandardError => Deviation / Math.Sqrt(Count);

    /// <summary>Averages runs.</summary>
    public static RunAverage Of(IEnumerable<double> values)
    {
        double[] all = [.. values];
        double mean = all.Length == 0 ? double.NaN : all.Average();
        double deviation = all.Length < 2 ? double.NaN : Math.Sqrt(all.Sum(value => (value - mean) * (value - mean)) / (all.Length - 1));
        return new RunAverage(mean, deviation, all.Length);
    }
}
