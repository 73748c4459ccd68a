using System.Globalization;
using System.Text;
using System.Text.Json;

namespace MoeSharp.Training.Report;

/// <summary>The layers x experts picture of a report: how full each expert is, with a slider over the run.</summary>
internal static class LoadHeatmap
{
    private const string Counts = "tokens_per_expert";
    private const int CellWidth = 12;
    private const int CellHeight = 20;
    private const int Gap = 1;
    private const int LabelWidth = 62;
    private const double LargestScale = 1.4; // few experts do not fill a wide page
    private const int MaxFrames = 40; // slider positions; more only make the page larger

    /// <summary>Appends the heatmap when the metrics hold loads.</summary>
    public static void Append(StringBuilder page, IReadOnlyList<JsonElement> lines)
    {
        List<JsonElement> frames = [.. lines.Where(line => line.TryGetProperty(Counts, out JsonElement load) && load.GetArrayLength() > 0)];
        if (frames.Count == 0)
        {
            return;
        }

        if (frames.Count > MaxFrames)
        {
            frames = [.. Enumerable.Range(0, MaxFrames).Select(index => frames[(int)((long)index * (frames.Count - 1) / (MaxFrames - 1))])];
        }

        double[][] last = Loads(frames[^1]);
        int[] layers = [.. frames[^1].GetProperty("layers").EnumerateArray().Select(layer => layer.GetInt32())];
        string json = "[" + string.Join(',', frames.Select(frame => $"{{\"step\":{frame.GetProperty("step").GetInt64()},\"load\":{Text(Loads(frame))}}}")) + "]";
        int width = LabelWidth + (last.Max(layer => layer.Length) * CellWidth);
        int height = last.Length * CellHeight;

        page.Append("<h2>Load of the experts</h2>\n<p class=\"soft\">One row per MoE layer, one cell per routed expert. Darker is fuller, relative to the mean of the layer; a crossed cell got no token.</p>\n");
        page.Append(CultureInfo.InvariantCulture, $"<div class=\"panel\"><div class=\"heat\" data-frames=\"{Html.Text(json)}\"><svg viewBox=\"0 0 {width} {height}\" style=\"max-width:{width * LargestScale}px\" role=\"img\" aria-label=\"Load of {last.Length} layers of experts\">");
        for (int layer = 0; layer < last.Length; layer++)
        {
            int top = layer * CellHeight;
            page.Append(CultureInfo.InvariantCulture, $"<text class=\"tick\" x=\"0\" y=\"{top + 14}\">layer {layers[layer]}</text>");
            for (int expert = 0; expert < last[layer].Length; expert++)
            {
                AppendCell(page, LabelWidth + (expert * CellWidth), top, layers[layer], expert, last[layer][expert]);
            }
        }

        page.Append(CultureInfo.InvariantCulture, $"</svg></div><label>Time: <output></output><input type=\"range\" min=\"0\" max=\"{frames.Count - 1}\" value=\"{frames.Count - 1}\" aria-label=\"step\"></label></div>\n");
    }

    // Slots of an expert over the mean of its layer.
    private static double[][] Loads(JsonElement frame) => [.. frame.GetProperty(Counts).EnumerateArray().Select(layer =>
    {
        long[] counts = [.. layer.EnumerateArray().Select(count => count.GetInt64())];
        return counts.Select(count => Math.Round((double)count * counts.Length / Math.Max(1, counts.Sum()), 3)).ToArray();
    })];

    private static string Text(double[][] loads) =>
        $"[{string.Join(',', loads.Select(layer => $"[{string.Join(',', layer.Select(load => load.ToString(CultureInfo.InvariantCulture)))}]"))}]";

    private static void AppendCell(StringBuilder page, int left, int top, int layer, int expert, double load)
    {
        int w = CellWidth - Gap;
        int h = CellHeight - Gap;
        string shown = load == 0 ? "" : " style=\"display:none\"";
        page.Append(CultureInfo.InvariantCulture, $"<rect class=\"cell\" x=\"{left}\" y=\"{top}\" width=\"{w}\" height=\"{h}\" rx=\"1\" style=\"opacity:{Math.Min(1, 0.05 + (load / 2.6)):0.##}\"><title>layer {layer}, expert {expert}: {load} x the mean</title></rect>");
        page.Append(CultureInfo.InvariantCulture, $"<path class=\"dead\" d=\"M{left + 1} {top + 1}L{left + w - 1} {top + h - 1}M{left + w - 1} {top + 1}L{left + 1} {top + h - 1}\"{shown}/>");
    }
}
