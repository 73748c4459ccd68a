using System.Globalization;
using System.Text;

namespace MoeSharp.Training.Report;

/// <summary>A row of an <see cref="IntervalChart"/>: a mean with its standard error, and the values it is made of.</summary>
/// <param name="Name">Label.</param>
/// <param name="Style">CSS class that colours it.</param>
/// <param name="Mean">Mean.</param>
/// <param name="Error">Half the length of the bar; not a number for none.</param>
/// <param name="Values">Single values.</param>
internal sealed record IntervalRow(string Name, string Style, double Mean, double Error, IReadOnlyList<double> Values);

/// <summary>Draws means with their errors, one below the other, as an SVG that takes its colours from CSS.</summary>
internal static class IntervalChart
{
    private const int Width = 480;
    private const int RowHeight = 26;
    private const int StackedHeight = 40; // of a row whose name stands above it
    private const int Top = 8;
    private const int Bottom = 30;
    private const int Right = 16;
    private const double NameWidth = 6.7; // of a letter, about
    private const double MostNames = 0.42; // of the width: longer names stand above their rows

    /// <summary>Draws the chart in a figure with a caption.</summary>
    /// <param name="title">What the chart shows, with its unit.</param>
    /// <param name="rows">Rows from top to bottom.</param>
    /// <param name="showsZero">Whether 0 belongs to the axis and is marked: for differences.</param>
    public static string Draw(string title, IReadOnlyList<IntervalRow> rows, bool showsZero)
    {
        IntervalRow[] drawn = [.. rows.Where(row => double.IsFinite(row.Mean))];
        if (drawn.Length == 0)
        {
            return "";
        }

        double[] ends = [.. drawn.SelectMany(Ends), .. showsZero ? [0.0] : Array.Empty<double>()];
        (double min, double max) = (ends.Min(), ends.Max());
        double margin = max > min ? 0.04 * (max - min) : Math.Max(1e-9, Math.Abs(min) * 0.1);
        (min, max) = (min - margin, max + margin);
        double names = NameWidth * drawn.Max(row => row.Name.Length);
        bool isStacked = names > MostNames * Width;
        double left = isStacked ? 12 : 12 + names;
        int rowHeight = isStacked ? StackedHeight : RowHeight;
        int height = Top + (rowHeight * drawn.Length) + Bottom;
        double X(double value) => left + ((value - min) / (max - min) * (Width - Right - left));

        StringBuilder svg = new();
        svg.Append(CultureInfo.InvariantCulture, $"<figure class=\"chart intervals\" data-kind=\"intervals\"><figcaption>{Html.Text(title)}</figcaption><svg viewBox=\"0 0 {Width} {height}\" role=\"img\" aria-label=\"{Html.Text(Summary(title, drawn))}\">");
        foreach (double tick in LineChart.Ticks(min, max))
        {
            svg.Append(CultureInfo.InvariantCulture, $"<line class=\"grid\" x1=\"{X(tick):F1}\" x2=\"{X(tick):F1}\" y1=\"{Top}\" y2=\"{height - Bottom}\"/><text class=\"tick\" x=\"{X(tick):F1}\" y=\"{height - Bottom + 18}\" text-anchor=\"middle\">{LineChart.Number(tick)}</text>");
        }

        if (showsZero)
        {
            svg.Append(CultureInfo.InvariantCulture, $"<line class=\"zero\" x1=\"{X(0):F1}\" x2=\"{X(0):F1}\" y1=\"{Top}\" y2=\"{height - Bottom}\"/>");
        }

        for (int index = 0; index < drawn.Length; index++)
        {
            double y = Top + (rowHeight * (index + (isStacked ? 0.75 : 0.5)));
            AppendRow(svg, drawn[index], y, isStacked ? y - 13 : y + 4, X);
        }

        return svg.Append("</svg></figure>\n").ToString();
    }

    private static void AppendRow(StringBuilder svg, IntervalRow row, double y, double nameY, Func<double, double> x)
    {
        svg.Append(CultureInfo.InvariantCulture, $"<g class=\"{row.Style}\"><text class=\"row-name\" x=\"4\" y=\"{nameY:F1}\">{Html.Text(row.Name)}</text>");
        foreach (double value in row.Values.Where(double.IsFinite))
        {
            svg.Append(CultureInfo.InvariantCulture, $"<circle class=\"seed\" cx=\"{x(value):F1}\" cy=\"{y:F1}\" r=\"3\"/>");
        }

        if (double.IsFinite(row.Error))
        {
            svg.Append(CultureInfo.InvariantCulture, $"<line class=\"bar\" x1=\"{x(row.Mean - row.Error):F1}\" x2=\"{x(row.Mean + row.Error):F1}\" y1=\"{y:F1}\" y2=\"{y:F1}\"/>");
        }

        svg.Append(CultureInfo.InvariantCulture, $"<circle class=\"mean\" cx=\"{x(row.Mean):F1}\" cy=\"{y:F1}\" r=\"5\"><title>{Html.Text(row.Name)}: {LineChart.Number(row.Mean)}</title></circle></g>");
    }

    private static IEnumerable<double> Ends(IntervalRow row)
    {
        double error = double.IsFinite(row.Error) ? row.Error : 0;
        return row.Values.Where(double.IsFinite).Append(row.Mean - error).Append(row.Mean + error);
    }

    private static string Summary(string title, IntervalRow[] rows) => $"{title}: " + string.Join("; ", rows.Select(row => $"{row.Name} {LineChart.Number(row.Mean)}"));
}
