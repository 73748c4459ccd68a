using System.Globalization;
using System.Text;
using MoeSharp.Training;
using MoeSharp.Training.Report;

namespace MoeSharp.Analysis.Study.Report;

/// <summary>The curves of a study, with their errors, and the table of all experiments.</summary>
internal static class StudyCharts
{
    /// <summary>Appends the section.</summary>
    public static void Append(StringBuilder page, StudyResult result)
    {
        (SpecialisationCurves curves, StudyRival? rival) = (result.Curves, result.Rival);
        string masked = LineChart.Draw("Best routed experts of each token disabled: loss, nats per token", "share of the routed experts", Series(curves.Masked, rival?.Curves.Masked, rival), fromZero: false);
        string fewer = LineChart.Draw("Fewer routed experts per token: loss, nats per token", "routed experts per token", Series(curves.Fewer, rival?.Curves.Fewer, rival), fromZero: false);
        string saturation = LineChart.Draw("Router saturation: share of choices that are already those of the last checkpoint", "step", Saturation(result.Saturation), fromZero: true);
        if (masked.Length + fewer.Length + saturation.Length > 0)
        {
            page.Append("<h2 id=\"curves\">Curves</h2>\n<div class=\"charts\">").Append(masked).Append(fewer).Append(saturation).Append("</div>\n");
            page.Append("<p class=\"soft\">Thin lines: one standard error of the loss to either side. Differences between points are paired and known better than that; they are in the table.</p>\n");
        }

        StudyPoint[] points = [.. Changed(curves), .. result.SwitchedOff is { } off ? [off] : Array.Empty<StudyPoint>()];
        AppendTable(page, "Every experiment", points);
        if (rival is not null)
        {
            AppendTable(page, $"The same for {rival.Model}", [.. Changed(rival.Curves)]);
        }
    }

    private static IEnumerable<StudyPoint> Changed(SpecialisationCurves curves) => curves.Masked.Concat(curves.Shared).Concat(curves.Fewer).Where(point => point.Intervention is not null);

    private static List<ChartSeries> Series(IReadOnlyList<StudyPoint> mine, IReadOnlyList<StudyPoint>? theirs, StudyRival? rival)
    {
        List<ChartSeries> series = [];
        Add(series, "this model", "moe", mine);
        Add(series, rival is null ? "" : Path.GetFileName(Path.TrimEndingDirectorySeparator(rival.Model)), "dense", theirs ?? []);
        return series;
    }

    private static void Add(List<ChartSeries> series, string name, string style, IReadOnlyList<StudyPoint> points)
    {
        series.Add(new ChartSeries(name, style, [.. points.Select(point => new ChartPoint(point.X, point.Loss.Mean))]));
        foreach (int sign in (int[])[-1, 1])
        {
            series.Add(new ChartSeries("", style + " faint", [.. points.Where(point => double.IsFinite(point.Loss.StandardError)).Select(point => new ChartPoint(point.X, point.Loss.Mean + (sign * point.Loss.StandardError)))]));
        }
    }

    private static List<ChartSeries> Saturation(IReadOnlyList<SaturationPoint> points) => points.Count == 0 ? [] :
    [
        new ChartSeries("mean of the layers", "moe", [.. points.Select(point => new ChartPoint(point.Step, point.Mean))]),
        new ChartSeries("lowest layer", "dense", [.. points.Select(point => new ChartPoint(point.Step, point.Shares.Min()))]),
    ];

    private static void AppendTable(StringBuilder page, string title, StudyPoint[] points)
    {
        if (points.Length == 0)
        {
            return;
        }

        page.Append(CultureInfo.InvariantCulture, $"<h3>{Html.Text(title)}</h3><div class=\"panel scroll\"><table><tr><th>change</th><th class=\"number\">loss</th><th class=\"number\">more by</th><th class=\"number\">+-</th></tr>\n");
        foreach (StudyPoint point in points)
        {
            page.Append(CultureInfo.InvariantCulture, $"<tr><td>{Html.Text(point.Name)}</td><td class=\"number\">{point.Loss.Mean:0.0000}</td><td class=\"number\">{point.Increase.Mean:+0.0000;-0.0000}</td><td class=\"number\">{(double.IsNaN(point.Increase.StandardError) ? "-" : point.Increase.StandardError.ToString("0.0000", CultureInfo.InvariantCulture))}</td></tr>\n");
        }

        page.Append("</table></div>\n");
    }
}
