using System.Globalization;
using System.Reflection;
using System.Text;
using MoeSharp.Training.Report;

namespace MoeSharp.Analysis.Study.Report;

/// <summary>Writes a study as one HTML file with its styles, pictures and script inside, which opens without a network.</summary>
public static class StudyReport
{
    /// <summary>Name of the file.</summary>
    public const string FileName = "report.html";

    /// <summary>Writes the page; an older one is replaced at once, never seen half written.</summary>
    /// <param name="folder">Folder that exists.</param>
    /// <param name="result">Study.</param>
    public static void Write(string folder, StudyResult result)
    {
        string path = Path.Combine(folder, FileName);
        File.WriteAllText(path + ".tmp", Build(result));
        File.Move(path + ".tmp", path, overwrite: true);
    }

    /// <summary>Builds the page.</summary>
    public static string Build(StudyResult result)
    {
        StringBuilder page = new();
        string title = $"Study of {Path.GetFileName(Path.TrimEndingDirectorySeparator(result.Model))}";
        page.Append("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
        page.Append(CultureInfo.InvariantCulture, $"<title>{Html.Text(title)}</title>\n<style>\n{Resource("report.css")}{Resource("study.css")}</style></head><body><main>\n<h1>{Html.Text(title)}</h1>");
        page.Append(CultureInfo.InvariantCulture, $"<p class=\"soft\">{Html.Text(Subtitle(result))}</p>\n");
        AppendTiles(page, result);
        page.Append("<h2 id=\"found\">What was found</h2>\n<ul class=\"found\">");
        foreach (string sentence in StudySummary.Sentences(result))
        {
            page.Append(CultureInfo.InvariantCulture, $"<li>{Html.Text(sentence)}</li>\n");
        }

        page.Append("</ul>\n");
        StudyCharts.Append(page, result);
        if (result.Statistics.Layers.Count > 0)
        {
            StudyPictures.Append(page, result);
            TokenView.Append(page, result);
        }

        if (result.Statistics.AttentionLayers.Count > 0)
        {
            StudyPictures.AppendAttention(page, result);
        }

        page.Append(CultureInfo.InvariantCulture, $"<p class=\"soft\">All figures: study.json beside this page.</p></main>\n<script>\n{Resource("report.js")}{Resource("study.js")}</script></body></html>\n");
        return page.ToString();
    }

    private static string Subtitle(StudyResult result)
    {
        string experts = result.Config.Moe is { } moe
            ? string.Create(CultureInfo.InvariantCulture, $"{(moe.SharedWidth > 0 ? "shared experts and " : "")}{moe.TopK} of {moe.NumExperts} routed experts of width {moe.IntermediateSize} in {result.Statistics.Layers.Count} layers")
            : "no experts";
        return string.Create(CultureInfo.InvariantCulture, $"{result.Model}: {result.Config.NumHiddenLayers} layers, hidden size {result.Config.HiddenSize}, {experts}. Text: {result.TextName}; {result.Text.NumScored} tokens in {result.Text.Documents.Count} documents.");
    }

    private static void AppendTiles(StringBuilder page, StudyResult result)
    {
        page.Append("<div class=\"tiles\">");
        StudyLosses baseline = result.Curves.Baseline;
        Tile(page, baseline.Loss.Mean, "0.000", double.IsNaN(baseline.Loss.StandardError) ? "nats per token" : string.Create(CultureInfo.InvariantCulture, $"nats per token, +- {baseline.Loss.StandardError:0.000}"));
        IReadOnlyList<LayerStatistics> layers = result.Statistics.Layers;
        if (layers.Count > 0)
        {
            Tile(page, layers.Max(layer => layer.MaxViolation), "0.00", "MaxVio of the most uneven layer (0 is even)");
            Tile(page, layers.Sum(layer => layer.NumDead), "0", string.Create(CultureInfo.InvariantCulture, $"dead experts of {layers.Sum(layer => layer.NumExperts)}"));
            Tile(page, layers.Max(layer => layer.Lift.MutualInformation()), "0.00", "bits per slot that choices tell about the token, best layer");
        }

        if (result.Curves.Masked.Count > 1)
        {
            Tile(page, result.Curves.Masked[1].Increase.Mean, "+0.000;-0.000", result.Curves.Masked[1].Name);
        }

        if (result.Curves.Shared.Count > 0)
        {
            Tile(page, result.Curves.Shared[^1].Increase.Mean, "+0.000;-0.000", result.Curves.Shared[^1].Name);
        }

        if (result.Facts is { } facts)
        {
            Tile(page, 100 * facts.All.Recall, "0.0' %'", "of the facts recalled word for word");
        }

        page.Append("</div>\n");
    }

    private static void Tile(StringBuilder page, double value, string format, string meaning) =>
        page.Append(CultureInfo.InvariantCulture, $"<div class=\"tile\"><b>{Html.Text(value.ToString(format, CultureInfo.InvariantCulture))}</b><span class=\"soft\">{Html.Text(meaning)}</span></div>");

    private static string Resource(string name)
    {
        using Stream stream = Assembly.GetExecutingAssembly().GetManifestResourceStream("report/" + name)!; // embedded by the project file
        using StreamReader reader = new(stream);
        return reader.ReadToEnd();
    }
}
