using System.Globalization;

namespace MoeSharp.Training.Comparison;

/// <summary>How numbers and their certainty are put into words, the same in all reports.</summary>
internal static class ComparisonWords
{
    /// <summary>Below this probability a difference counts as shown (the usual convention).</summary>
    public const double SignificantP = 0.05;

    private const double SmallestShown = 0.0001; // of probabilities
    private const double NotableT = 2; // more than two standard errors

    /// <summary>A score: four digits behind the point.</summary>
    public static string Score(double value) => double.IsFinite(value) ? value.ToString("0.0000", CultureInfo.InvariantCulture) : "-";

    /// <summary>A difference with its sign.</summary>
    public static string Signed(double value) => double.IsFinite(value) ? value.ToString("+0.0000;-0.0000;0.0000", CultureInfo.InvariantCulture) : "-";

    /// <summary>A mean with its standard error.</summary>
    public static string MeanAndError(SampleMean mean, string format = "0.0000") => (double.IsFinite(mean.Mean), double.IsFinite(mean.StandardError)) switch
    {
        (false, _) => "-",
        (_, false) => mean.Mean.ToString(format, CultureInfo.InvariantCulture),
        _ => string.Create(CultureInfo.InvariantCulture, $"{mean.Mean.ToString(format, CultureInfo.InvariantCulture)} \u00b1 {mean.StandardError.ToString(format, CultureInfo.InvariantCulture)}"),
    };

    /// <summary>Different values, smallest first: <c>480</c>, or <c>480 or 2000</c>.</summary>
    public static string Either(IEnumerable<int> values) => string.Join(" or ", values.Distinct().Order().Select(value => value.ToString(CultureInfo.InvariantCulture)));

    /// <summary>A paired difference with error and t.</summary>
    public static string Difference(SampleMean difference) => difference.Count < 2
        ? $"{Signed(difference.Mean)} (one seed)"
        : string.Create(CultureInfo.InvariantCulture, $"{Signed(difference.Mean)} \u00b1 {Score(difference.StandardError)} (t = {difference.T:+0.0;-0.0;0.0}, {difference.Count} seeds, p {(difference.PValue < SmallestShown ? "" : "= ")}{Probability(difference.PValue)})");

    /// <summary>A probability: small ones as a bound.</summary>
    public static string Probability(double p) => double.IsNaN(p) ? "-" : p < SmallestShown ? "< 0.0001" : p.ToString(p < 0.01 ? "0.0000" : "0.000", CultureInfo.InvariantCulture);

    /// <summary>Whether a difference is shown, notable only, or none that these seeds can tell.</summary>
    public static Certainty CertaintyOf(SampleMean difference) => difference switch
    {
        { Count: < 2 } => Certainty.OneSeed,
        { PValue: < SignificantP } => Certainty.Shown,
        _ when Math.Abs(difference.T) > NotableT => Certainty.Notable,
        _ => Certainty.Level,
    };

    /// <summary>What may be said about a difference.</summary>
    /// <param name="difference">The difference.</param>
    /// <param name="of">Name of the architecture.</param>
    /// <param name="against">Name of the one that was subtracted.</param>
    /// <param name="scoreName">What a score is called.</param>
    public static string Sentence(SampleMean difference, string of, string against, string scoreName)
    {
        string direction = difference.Mean < 0 ? "below" : "above";
        string amount = Difference(difference);
        return CertaintyOf(difference) switch
        {
            Certainty.Shown => $"{of} has {scoreName} {direction} {against}: {amount}. Beyond chance at the 5 % level.",
            Certainty.Notable => $"{of} stands {direction} {against}: {amount}. More than two standard errors, yet with {difference.Count} seeds chance alone gives so much in more than 5 % of cases: likely, not shown.",
            Certainty.Level => $"{of} and {against} cannot be told apart with {difference.Count} seeds: {amount}.",
            _ => $"{of} stands {direction} {against} with a single seed: {amount}. One seed says nothing about chance.",
        };
    }
}

/// <summary>How sure a difference is.</summary>
internal enum Certainty
{
    /// <summary>A single pair.</summary>
    OneSeed,

    /// <summary>Within two standard errors.</summary>
    Level,

    /// <summary>More than two standard errors, but not significant with so few pairs.</summary>
    Notable,

    /// <summary>Significant.</summary>
    Shown,
}
