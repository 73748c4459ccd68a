using System.Globalization;
using System.Text;
using MoeSharp.Training.Report;

namespace MoeSharp.Training.Comparison;

/// <summary>Writes a comparison as one HTML page that opens without a network, and as Markdown.</summary>
public static class ComparisonReport
{
    /// <summary>Name of the page.</summary>
    public const string PageName = "report.html";

    /// <summary>Name of the text.</summary>
    public const string TextName = "report.md";

    private const int NumColours = 8;
    private const int MostFaintCurves = 60; // single seeds; more hide the means

    /// <summary>Writes both files; older ones are replaced at once, never seen half written.</summary>
    /// <param name="folder">Folder of the comparison.</param>
    /// <param name="result">What it came to.</param>
    public static void Write(string folder, ComparisonResult result)
    {
        foreach ((string name, string content) in new[] { (PageName, Page(result)), (TextName, Text(result)) })
        {
            string path = Path.Combine(folder, name);
            File.WriteAllText(path + ".tmp", content);
            File.Move(path + ".tmp", path, overwrite: true);
        }
    }

    /// <summary>Builds the page.</summary>
    public static string Page(ComparisonResult result)
    {
        ComparisonConfig config = result.Plan.Config;
        StringBuilder page = new();
        page.Append("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
        page.Append(CultureInfo.InvariantCulture, $"<title>{Html.Text(config.Title)}</title>\n<style>\n{RunReport.Resource("report.css")}</style></head><body><main>\n");
        page.Append(CultureInfo.InvariantCulture, $"<h1>{Html.Text(config.Title)}</h1><p>{Html.Text(config.Question)}</p><p class=\"soft\">{Html.Text(Progress(result))}</p>\n");
        AppendList(page, "What the figures show", ComparisonFindings.Conclusions(result));
        AppendList(page, "What may not be concluded", ComparisonFindings.Limits(result));
        AppendGaps(page, result);
        foreach (ConditionResult condition in result.Conditions)
        {
            AppendCondition(page, result, condition);
        }

        foreach (ReportTable table in SizeTables(result))
        {
            RunReport.AppendTable(page, table);
        }

        AppendList(page, "How it was made", [.. config.Notes, .. Method(result)]);
        return page.Append(CultureInfo.InvariantCulture, $"</main>\n<script>\n{RunReport.Resource("report.js")}</script></body></html>\n").ToString();
    }

    /// <summary>Builds the Markdown text.</summary>
    public static string Text(ComparisonResult result)
    {
        ComparisonConfig config = result.Plan.Config;
        StringBuilder text = new();
        text.Append(CultureInfo.InvariantCulture, $"# {config.Title}\n\n{config.Question}\n\n{Progress(result)}\n");
        AppendSection(text, "What the figures show", ComparisonFindings.Conclusions(result));
        AppendSection(text, "What may not be concluded", ComparisonFindings.Limits(result));
        foreach (ReportTable table in result.Conditions.SelectMany(Tables).Concat(SizeTables(result)))
        {
            AppendTable(text, table);
        }

        AppendSection(text, "How it was made", [.. config.Notes, .. Method(result)]);
        return text.ToString();
    }

    private static string Progress(ComparisonResult result)
    {
        int all = result.Plan.Runs.Count;
        return result.NumFinished == all ? $"All {all} runs are finished." : $"{result.NumFinished} of {all} runs are finished; the figures are of these.";
    }

    private static IEnumerable<ReportTable> Tables(ConditionResult condition)
    {
        yield return ComparisonTables.Scores(condition);
        if (condition.Differences.Count > 0)
        {
            yield return ComparisonTables.Differences(condition);
        }

        if (ComparisonTables.Matrix(condition) is { } matrix)
        {
            yield return matrix;
        }
    }

    // One table per corpus: numbers of steps change no parameter.
    private static IEnumerable<ReportTable> SizeTables(ComparisonResult result) =>
        result.Plan.Conditions.DistinctBy(condition => condition.Corpus.Name).Select(condition => ComparisonTables.Sizes(result.Plan, condition));

    private static void AppendGaps(StringBuilder page, ComparisonResult result)
    {
        if (result.Conditions.Count < 2)
        {
            return;
        }

        page.Append("<h2>Differences under all conditions</h2>\n<div class=\"charts\">");
        foreach (IGrouping<string, (string Label, PairedDifference Pair)> group in result.Conditions
            .SelectMany(condition => condition.Differences.Select(pair => (condition.Label, Pair: pair)))
            .GroupBy(one => $"{one.Pair.Of.Architecture.Title} minus {one.Pair.Against.Architecture.Title}"))
        {
            IntervalRow[] rows = [.. group.Select(one => new IntervalRow(one.Label, StyleOf(result, one.Pair.Of), one.Pair.Difference.Mean, one.Pair.Difference.StandardError, SeedDifferences(one.Pair)))];
            page.Append(IntervalChart.Draw($"{group.Key}, nats (below 0 the first is better)", rows, showsZero: true));
        }

        page.Append("</div>\n");
    }

    private static void AppendCondition(StringBuilder page, ComparisonResult result, ConditionResult condition)
    {
        IntervalRow[] scores = [.. condition.Rows.Select(row => new IntervalRow(row.Architecture.Title, StyleOf(result, row), row.Score.Mean, row.Score.StandardError, [.. row.Runs.Select(run => run.Score)]))];
        IntervalRow[] gaps = [.. condition.Differences.Select(pair => new IntervalRow(
            $"{pair.Of.Architecture.Title} - {pair.Against.Architecture.Title}", StyleOf(result, pair.Of), pair.Difference.Mean, pair.Difference.StandardError, SeedDifferences(pair)))];
        string name = $"{char.ToUpperInvariant(condition.ScoreName[0])}{condition.ScoreName[1..]}";
        page.Append(CultureInfo.InvariantCulture, $"<h2>{Html.Text(condition.Label)}</h2>\n<div class=\"charts\">");
        page.Append(IntervalChart.Draw($"{name} at the end, nats: seeds, mean, standard error", scores, showsZero: false));
        page.Append(IntervalChart.Draw("Paired differences, nats (below 0 the first is better)", gaps, showsZero: true));
        page.Append(LineChart.Draw($"{name} on held-out data, nats, over tokens", "tokens", Curves(result, condition, point => point.Point.Tokens), fromZero: false, isLogarithmic: true));
        page.Append(LineChart.Draw($"{name} on held-out data, nats, over seconds of one thread", "seconds", Curves(result, condition, point => point.Point.Step * point.StepSeconds), fromZero: false, isLogarithmic: true));
        page.Append(LineChart.Draw("Router saturation: share of the choices on held-out data that are already the final ones", "steps", Saturation(result, condition), fromZero: true));
        page.Append("</div>\n");
        foreach (ReportTable table in Tables(condition))
        {
            RunReport.AppendTable(page, table);
        }
    }

    // The mean over seeds as a line, single seeds faintly behind it.
    private static List<ChartSeries> Curves(ComparisonResult result, ConditionResult condition, Func<(CurvePoint Point, double StepSeconds), double> x)
    {
        List<ChartSeries> series = [];
        if (condition.Rows.Sum(row => row.Runs.Count) <= MostFaintCurves)
        {
            series.AddRange(condition.Rows.SelectMany(row => row.Runs.Select(run =>
                new ChartSeries("", StyleOf(result, row) + " faint", [.. run.Curve.Select(point => new ChartPoint(x((point, run.StepSeconds)), point.Score))]))));
        }

        foreach (ArchitectureResult row in condition.Rows)
        {
            List<ChartPoint> mean = [];
            foreach (CurvePoint point in row.Runs[0].Curve)
            {
                double[] scores = [.. row.Runs.SelectMany(run => run.Curve).Where(other => other.Step == point.Step).Select(other => other.Score)];
                mean.Add(new ChartPoint(x((point, row.Runs.Average(run => run.StepSeconds))), scores.Average()));
            }

            series.Add(new ChartSeries(row.Architecture.Title, StyleOf(result, row), mean));
        }

        return series;
    }

    private static ChartSeries[] Saturation(ComparisonResult result, ConditionResult condition) =>
        [.. condition.Rows.Select(row => new ChartSeries(row.Architecture.Title, StyleOf(result, row), [.. row.Saturation.Select(point => new ChartPoint(point.Step, point.Share))]))];

    private static string StyleOf(ComparisonResult result, ArchitectureResult row)
    {
        int index = result.Plan.Config.Architectures.ToList().IndexOf(row.Architecture);
        return $"s{index % NumColours}{(index / NumColours % 2 == 1 ? " dashed" : "")}";
    }

    private static double[] SeedDifferences(PairedDifference pair) =>
        [.. pair.Of.Runs.SelectMany(run => pair.Against.Runs.Where(other => other.Run.Seed == run.Run.Seed).Select(other => run.Score - other.Score))];

    private static IEnumerable<string> Method(ComparisonResult result)
    {
        PlannedRun usual = result.Plan.Runs.FirstOrDefault(run => !run.Architecture.Sections.ContainsKey("optimizer") && !run.Architecture.Sections.ContainsKey("schedule")) ?? result.Plan.Runs[0];
        TrainingConfig config = usual.Config;
        yield return string.Create(CultureInfo.InvariantCulture, $"Every run: {ComparisonWords.Either(result.Plan.Runs.Select(run => run.Config.Batch.Tokens))} tokens a step, AdamW (beta {config.Optimizer.Beta1:0.###}/{config.Optimizer.Beta2:0.###}, epsilon {config.Optimizer.Epsilon:0e0}, decay {config.Optimizer.WeightDecay:0.###}), clip {config.Optimizer.ClipNorm:0.##}, learning rate {config.Schedule.LearningRate:0.#####} with {config.Schedule.WarmupSteps} warm-up steps, where an architecture says nothing else.");
        yield return "A seed decides the first weights and the training data; weights of the same name and shape start equal in all architectures, and all see the same data in the same order.";
        yield return $"Seconds are those of training steps alone, on one thread, with {result.Jobs} run{(result.Jobs == 1 ? "" : "s")} at once (runs that were kept from before may have been made otherwise), as steps times the median step: a machine that is busy for a while hardly moves them. Runs are made seed by seed, so that all architectures meet the same machine.";
        yield return "The standard error is the standard deviation over seeds over the root of their number; t and p are of Student's paired test, two-sided.";
    }

    private static void AppendList(StringBuilder page, string heading, IReadOnlyList<string> sentences)
    {
        if (sentences.Count > 0)
        {
            page.Append(CultureInfo.InvariantCulture, $"<h2>{Html.Text(heading)}</h2>\n<ul>{string.Concat(sentences.Select(sentence => $"<li>{Html.Text(sentence)}</li>"))}</ul>\n");
        }
    }

    private static void AppendSection(StringBuilder text, string heading, IReadOnlyList<string> sentences)
    {
        if (sentences.Count > 0)
        {
            text.Append(CultureInfo.InvariantCulture, $"\n## {heading}\n\n{string.Concat(sentences.Select(sentence => $"- {sentence}\n"))}");
        }
    }

    private static void AppendTable(StringBuilder text, ReportTable table)
    {
        static string Escaped(string cell) => cell.ReplaceLineEndings(" ").Replace("|", "\\|", StringComparison.Ordinal);
        text.Append(CultureInfo.InvariantCulture, $"\n## {table.Title}\n\n{table.Note}\n\n| {string.Join(" | ", table.Headings.Select(heading => Escaped(heading.TrimEnd('#'))))} |\n");
        text.Append(CultureInfo.InvariantCulture, $"|{string.Concat(table.Headings.Select(heading => heading.EndsWith('#') ? "---:|" : "---|"))}\n");
        foreach (IReadOnlyList<string> row in table.Rows)
        {
            text.Append(CultureInfo.InvariantCulture, $"| {string.Join(" | ", row.Select(Escaped))} |\n");
        }
    }
}
