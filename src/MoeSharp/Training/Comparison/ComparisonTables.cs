using System.Globalization;
using MoeSharp.Training.Report;

namespace MoeSharp.Training.Comparison;

/// <summary>The tables of a comparison, for every kind of report.</summary>
public static class ComparisonTables
{
    private const int MostInMatrix = 8; // architectures; more do not fit a page

    /// <summary>Scores, recall, seconds and loads of every architecture.</summary>
    public static ReportTable Scores(ConditionResult condition)
    {
        bool hasRecall = condition.IsRegret;
        List<string> headings = ["architecture", $"{condition.ScoreName}, nats#", "per seed", "seconds a run#", "fullest / mean#", "idle experts#"];
        if (hasRecall)
        {
            headings.Insert(3, "top-1 recall#");
        }

        List<IReadOnlyList<string>> rows = [];
        foreach (ArchitectureResult row in condition.Rows)
        {
            List<string> cells =
            [
                row.Architecture.Title,
                ComparisonWords.MeanAndError(row.Score),
                string.Join(" ", row.Runs.Select(run => ComparisonWords.Score(run.Score))),
                row.Seconds.Mean.ToString("0.0", CultureInfo.InvariantCulture),
                row.LoadMaxOverMean.Count > 0 ? row.LoadMaxOverMean.Mean.ToString("0.00", CultureInfo.InvariantCulture) : "-",
                row.IdleExperts.Count > 0 ? $"{row.IdleExperts.Mean.ToString("0.#", CultureInfo.InvariantCulture)}{(row.NumCollapsed > 0 ? " (collapsed)" : "")}" : "-",
            ];
            if (hasRecall)
            {
                cells.Insert(3, ComparisonWords.MeanAndError(row.Recall, "0.000"));
            }

            rows.Add(cells);
        }

        string seeds = string.Join(", ", condition.Rows.SelectMany(row => row.Runs).Select(run => run.Run.Seed).Distinct().Order());
        string loads = condition.Rows.Any(row => row.LoadMaxOverMean.Count > 0)
            ? " Loads are those of all held-out data at the end of a run: the fullest expert over the mean, worst layer, and experts of all layers with less than 1 % of an even load."
            : "";
        string what = condition.IsRegret
            ? "Regret is the exact divergence of the model from the true next-symbol distribution on held-out lines: 0 is perfect."
            : "Cross-entropy per token of held-out text.";
        string note = condition.HasEqualSeeds
            ? $"{what} Mean and standard error over seeds {seeds}.{loads}"
            : $"{what} Mean and standard error over what is finished of seeds {seeds}; rows rest on different seeds, so compare them by the paired differences.{loads}";
        return new ReportTable($"Results: {condition.Label}", note, headings, rows);
    }

    /// <summary>Every architecture against the one that it is compared with.</summary>
    public static ReportTable Differences(ConditionResult condition) => new(
        $"Paired differences: {condition.Label}",
        "Row by row over the same seeds: same lines in the same order, same first values of shared weights. Below 0 the first is better. p is two-sided, without correction for the number of rows.",
        ["architecture", "minus", "difference, nats#", "relative#", "t#", "seeds#", "p#"],
        [.. condition.Differences.Select(one => (IReadOnlyList<string>)
        [
            one.Of.Architecture.Title,
            one.Against.Architecture.Title,
            one.Difference.Count < 2 ? ComparisonWords.Signed(one.Difference.Mean) : $"{ComparisonWords.Signed(one.Difference.Mean)} \u00b1 {ComparisonWords.Score(one.Difference.StandardError)}",
            string.Create(CultureInfo.InvariantCulture, $"{100 * one.Difference.Mean / one.Against.Score.Mean:+0.0;-0.0;0.0} %"),
            one.Difference.Count < 2 ? "-" : one.Difference.T.ToString("+0.0;-0.0;0.0", CultureInfo.InvariantCulture),
            one.Difference.Count.ToString(CultureInfo.InvariantCulture),
            ComparisonWords.Probability(one.Difference.PValue),
        ])]);

    /// <summary>All pairs, or null where there are too many or too few.</summary>
    public static ReportTable? Matrix(ConditionResult condition)
    {
        if (condition.Rows.Count is < 3 or > MostInMatrix)
        {
            return null;
        }

        List<string> headings = ["row minus column", .. condition.Rows.Select(row => row.Architecture.Title + "#")];
        return new ReportTable(
            $"All pairs: {condition.Label}",
            "Paired difference of scores, nats, and in brackets its t. Below 0 the row is better.",
            headings,
            [.. condition.Rows.Select(row => (IReadOnlyList<string>)[row.Architecture.Title, .. condition.Rows.Select(column => Cell(row, column))])]);
    }

    /// <summary>Parameters of every architecture, and what they must have in common.</summary>
    public static ReportTable Sizes(ComparisonPlan plan, ComparisonCondition condition)
    {
        ArchitectureSize reference = plan.Sizes[condition].Single(size => size.Architecture.Name == plan.Config.Reference);
        return new ReportTable(
            $"Parameters: {condition.Corpus.Name}",
            string.Create(CultureInfo.InvariantCulture, $"Total and activated parameters without routers must agree within {100 * plan.Config.Tolerance:0.##} % with {reference.Architecture.Title}, where the column 'equal' says so. The deviation stands in brackets."),
            ["architecture", "total#", "activated#", "routers#", "total with routers#", "training MFLOP per token#", "equal"],
            [.. plan.Sizes[condition].Select(size => (IReadOnlyList<string>)
            [
                size.Architecture.Title,
                Count(size.Total, reference.Total),
                Count(size.Activated, reference.Activated),
                size.Router.ToString("#,0", CultureInfo.InvariantCulture),
                (size.Total + size.Router).ToString("#,0", CultureInfo.InvariantCulture),
                (size.FlopsPerToken / 1e6).ToString("0.00", CultureInfo.InvariantCulture),
                size.Architecture.Matches switch
                {
                    ParameterMatch.Both => "total and activated",
                    ParameterMatch.Activated => "activated",
                    ParameterMatch.Total => "total",
                    _ => "nothing: a bound",
                },
            ])]);
    }

    private static string Cell(ArchitectureResult row, ArchitectureResult column)
    {
        if (row == column)
        {
            return "";
        }

        SampleMean difference = PairedDifference.Between(row, column).Difference;
        return difference.Count switch
        {
            0 => "-",
            1 => ComparisonWords.Signed(difference.Mean),
            _ => string.Create(CultureInfo.InvariantCulture, $"{ComparisonWords.Signed(difference.Mean)} ({difference.T:+0.0;-0.0;0.0})"),
        };
    }

    private static string Count(long count, long reference) => count == reference
        ? count.ToString("#,0", CultureInfo.InvariantCulture)
        : string.Create(CultureInfo.InvariantCulture, $"{count:#,0} ({100 * (((double)count / reference) - 1):+0.0;-0.0} %)");
}
