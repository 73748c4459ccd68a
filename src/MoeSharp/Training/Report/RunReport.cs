using System.Globalization;
using System.Reflection;
using System.Text;
using System.Text.Json;

namespace MoeSharp.Training.Report;

/// <summary>Writes report.html: one file with its styles, curves and script inside, which opens without a network.</summary>
public static class RunReport
{
    /// <summary>Name of the file in a run folder.</summary>
    public const string FileName = "report.html";

    private const double SmoothingShare = 0.05; // of the new value in the smoothed loss curve (arbitrary)

    /// <summary>Writes the page; an older one is replaced at once, never seen half written.</summary>
    public static void Write(string folder, ReportContent content)
    {
        string path = Path.Combine(folder, FileName);
        File.WriteAllText(path + ".tmp", Build(content));
        File.Move(path + ".tmp", path, overwrite: true);
    }

    /// <summary>Builds the page.</summary>
    public static string Build(ReportContent content)
    {
        StringBuilder page = new();
        page.Append("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
        page.Append(CultureInfo.InvariantCulture, $"<title>{Html.Text(content.Title)}</title>\n<style>\n{Resource("report.css")}</style></head><body><main>\n");
        page.Append(CultureInfo.InvariantCulture, $"<h1>{Html.Text(content.Title)}</h1><p class=\"soft\">{Html.Text(content.Subtitle)}</p>\n");
        AppendTiles(page, content.Tiles);
        foreach (string finding in content.Findings)
        {
            page.Append(CultureInfo.InvariantCulture, $"<p>{Html.Text(finding)}</p>\n");
        }

        foreach (string alarm in MetricsLog.Alarms(content.Runs[0].Lines))
        {
            page.Append(CultureInfo.InvariantCulture, $"<p class=\"alarm\">{Html.Text(alarm)}</p>\n");
        }

        AppendCharts(page, content);
        LoadHeatmap.Append(page, content.Runs[0].Loads);
        AppendSamples(page, content.Samples);
        foreach (ReportTable table in content.Tables)
        {
            AppendTable(page, table);
        }

        if (content.Commands.Count > 0)
        {
            page.Append("<h2>Go on</h2>\n<pre>").Append(Html.Text(string.Join('\n', content.Commands))).Append("</pre>\n");
        }

        return page.Append(CultureInfo.InvariantCulture, $"</main>\n<script>\n{Resource("report.js")}</script></body></html>\n").ToString();
    }

    private static void AppendTiles(StringBuilder page, IReadOnlyList<ReportTile> tiles)
    {
        if (tiles.Count == 0)
        {
            return;
        }

        page.Append("<h2>Result</h2>\n<div class=\"tiles\">");
        foreach (ReportTile tile in tiles)
        {
            page.Append(CultureInfo.InvariantCulture, $"<div class=\"tile\"><b>{Html.Text(tile.Value)}</b><span class=\"soft\">{Html.Text(tile.Meaning)}</span></div>");
        }

        page.Append("</div>\n");
    }

    private static void AppendCharts(StringBuilder page, ReportContent content)
    {
        IReadOnlyList<ReportRun> runs = content.Runs;
        page.Append("<h2>Curves</h2>\n<div class=\"charts\">");
        List<ChartSeries> loss = [];
        List<ChartSeries> bits = [];
        for (int index = 0; index < runs.Count; index++)
        {
            string style = index == 0 ? "moe" : "dense";
            IReadOnlyList<ChartPoint> raw = Curve(runs[index], "loss");
            loss.Add(new ChartSeries("", style + " faint", raw));
            loss.Add(new ChartSeries(runs[index].Name, style, Smoothed(raw)));
            bits.Add(new ChartSeries(runs[index].Name, style, Curve(runs[index], "validation_bits_per_byte")));
        }

        double[] ends = [.. bits.SelectMany(one => one.Points).Select(point => point.X)];
        if (ends.Length > 0)
        {
            bits.AddRange(content.Baselines.Select(line => new ChartSeries(line.Name, "baseline", [new(ends.Min(), line.Value), new(ends.Max(), line.Value)])));
        }

        page.Append(LineChart.Draw("Language-model loss, nats per token (training, smoothed)", "tokens", loss, fromZero: false));
        page.Append(LineChart.Draw("Held-out text, bits per byte", "tokens", bits, fromZero: false));
        AppendChart(page, runs, "Expert balance loss without its factor (1 = balanced)", "expert_loss", onlyMoe: true);
        AppendChart(page, runs, "Device balance loss without its factor (1 = balanced)", "device_loss", onlyMoe: true);
        AppendChart(page, runs, "Router z-loss without its factor", "z_loss", onlyMoe: true);
        AppendChart(page, runs, "Fullest expert over the mean, worst layer", "load_max_over_mean", onlyMoe: true);
        AppendChart(page, runs, "Gradient norm before clipping", "grad_norm", onlyMoe: false);
        AppendChart(page, runs, "Learning rate", "learning_rate", onlyMoe: true);
        AppendChart(page, runs, "Tokens per second", "tokens_per_second", onlyMoe: false);
        AppendChart(page, runs, "Share of the measured FMA peak", "peak_share", onlyMoe: false);
        page.Append("</div>\n");
    }

    private static void AppendChart(StringBuilder page, IReadOnlyList<ReportRun> runs, string title, string key, bool onlyMoe)
    {
        List<ChartSeries> series = [];
        for (int index = 0; index < (onlyMoe ? 1 : runs.Count); index++)
        {
            IReadOnlyList<ChartPoint> points = Curve(runs[index], key);
            if (points.Any(point => point.Y != 0))
            {
                series.Add(new ChartSeries(runs[index].Name, index == 0 ? "moe" : "dense", points));
            }
        }

        page.Append(LineChart.Draw(title, "tokens", series, fromZero: true));
    }

    private static List<ChartPoint> Curve(ReportRun run, string key)
    {
        List<ChartPoint> points = [];
        foreach (JsonElement line in run.Lines)
        {
            if (line.TryGetProperty(key, out JsonElement value) && value.ValueKind == JsonValueKind.Number)
            {
                points.Add(new ChartPoint(line.GetProperty("tokens").GetDouble(), value.GetDouble()));
            }
        }

        return points;
    }

    private static List<ChartPoint> Smoothed(IReadOnlyList<ChartPoint> points)
    {
        List<ChartPoint> smoothed = [];
        double mean = 0;
        double weight = 0;
        foreach (ChartPoint point in points)
        {
            mean += SmoothingShare * (point.Y - mean);
            weight += SmoothingShare * (1 - weight); // corrects for the start at 0
            smoothed.Add(point with { Y = mean / weight });
        }

        return smoothed;
    }

    private static void AppendSamples(StringBuilder page, IReadOnlyList<ReportSample> samples)
    {
        if (samples.Count == 0)
        {
            return;
        }

        page.Append("<h2>What it writes</h2>\n");
        foreach (ReportSample sample in samples)
        {
            page.Append(CultureInfo.InvariantCulture, $"<span class=\"soft\">{Html.Text(sample.Domain)}</span><pre><em>{Html.Text(sample.Prompt)}</em>{Html.Text(sample.Continuation)}</pre>\n");
        }
    }

    internal static void AppendTable(StringBuilder page, ReportTable table)
    {
        page.Append(CultureInfo.InvariantCulture, $"<h2>{Html.Text(table.Title)}</h2>\n<p class=\"soft\">{Html.Text(table.Note)}</p><div class=\"panel scroll\"><table><tr>");
        string[] classes = [.. table.Headings.Select(heading => heading.EndsWith('#') ? " class=\"number\"" : "")];
        for (int column = 0; column < classes.Length; column++)
        {
            page.Append(CultureInfo.InvariantCulture, $"<th{classes[column]}>{Html.Text(table.Headings[column].TrimEnd('#'))}</th>");
        }

        foreach (IReadOnlyList<string> row in table.Rows)
        {
            page.Append("</tr>\n<tr>");
            for (int column = 0; column < classes.Length; column++)
            {
                page.Append(CultureInfo.InvariantCulture, $"<td{classes[column]}>{Html.Text(row[column])}</td>");
            }
        }

        page.Append("</tr></table></div>\n");
    }

    internal static string Resource(string name)
    {
        using Stream stream = Assembly.GetExecutingAssembly().GetManifestResourceStream("report/" + name)!; // embedded by the project file
        using StreamReader reader = new(stream);
        return reader.ReadToEnd();
    }
}
