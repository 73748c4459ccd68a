using System.Globalization;
using System.Net;
using System.Text;

namespace MoeSharp.Classic;

/// <summary>A page of pictures that needs no other file: inline SVG, light and dark.</summary>
internal static class PicturePage
{
    private const string Style = """
        :root{color-scheme:light dark;--page:#f7f8fa;--card:#fff;--ink:#1a2230;--soft:#596576;--line:#dde2ea;--bad:#c01f39;--mark:#2458c5;--l:46%;--wash:.26}
        @media(prefers-color-scheme:dark){:root{--page:#12161c;--card:#1b2129;--ink:#e6ebf3;--soft:#9ba7b9;--line:#333c4a;--bad:#ff7a8b;--mark:#8ab2ff;--l:64%;--wash:.34}}
        *{box-sizing:border-box}
        body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
        main{max-width:960px;margin:0 auto;padding:22px 16px 48px}
        h1{font-size:1.5rem;margin:0 0 6px}h2{font-size:1.1rem;margin:30px 0 8px}p{margin:6px 0;max-width:80ch}
        .card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:12px;margin:10px 0;overflow-x:auto}
        .card svg{display:block;width:100%;height:auto;min-width:560px}
        .soft{color:var(--soft)}
        table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
        th,td{text-align:right;padding:4px 8px;border-bottom:1px solid var(--line);white-space:nowrap}th:first-child,td:first-child{text-align:left}th{color:var(--soft);font-weight:550}
        text{fill:var(--ink);font:12px system-ui,sans-serif}.tick{fill:var(--soft)}.axis{stroke:var(--line);fill:none}
        .x{fill:hsl(var(--h) 62% var(--l))}.wash{fill:hsl(var(--h) 62% var(--l));fill-opacity:var(--wash)}.cut{stroke:hsl(var(--h) 62% var(--l));stroke-width:2.4;fill:none}
        .bar{fill:var(--mark)}.whisker{stroke:var(--ink);stroke-width:1.4}.wrong{fill:var(--bad);font-weight:700}
        .key{display:inline-block;width:12px;height:12px;border-radius:3px;background:hsl(var(--h) 62% var(--l));margin-right:6px;vertical-align:-1px}
        """;

    /// <summary>Puts a page together.</summary>
    /// <param name="title">Heading.</param>
    /// <param name="parts">HTML of the parts, in order.</param>
    public static string Of(string title, IEnumerable<string> parts)
    {
        StringBuilder page = new();
        page.Append("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">");
        page.Append(CultureInfo.InvariantCulture, $"<title>{Text(title)}</title><style>\n{Style}\n</style></head><body><main>\n<h1>{Text(title)}</h1>\n");
        foreach (string part in parts)
        {
            page.Append(part).Append('\n');
        }

        return page.Append("</main></body></html>\n").ToString();
    }

    /// <summary>A heading.</summary>
    public static string Heading(string text) => $"<h2>{Text(text)}</h2>";

    /// <summary>A paragraph.</summary>
    public static string Paragraph(string text) => $"<p>{Text(text)}</p>";

    /// <summary>A drawing.</summary>
    /// <param name="width">Width of its coordinates.</param>
    /// <param name="height">Height.</param>
    /// <param name="label">What it shows, for readers who do not see it.</param>
    /// <param name="content">Elements.</param>
    public static string Drawing(int width, int height, string label, string content) =>
        Number($"<div class=\"card\"><svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{Text(label)}\">{content}</svg></div>");

    /// <summary>A table whose first column is text and whose cells are escaped.</summary>
    public static string Table(IEnumerable<string> header, IEnumerable<IReadOnlyList<string>> rows) =>
        $"<div class=\"card\"><table><tr>{Cells("th", header)}</tr>{string.Concat(rows.Select(row => $"<tr>{Cells("td", row)}</tr>"))}</table></div>";

    /// <summary>A table whose rows begin with a coloured square.</summary>
    public static string ColouredTable(IEnumerable<string> header, IEnumerable<(int Hue, IReadOnlyList<string> Cells)> rows) =>
        $"<div class=\"card\"><table><tr>{Cells("th", header)}</tr>{string.Concat(rows.Select(row => $"<tr><td><span class=\"key\" style=\"--h:{row.Hue}\"></span>{Text(row.Cells[0])}</td>{Cells("td", row.Cells.Skip(1))}</tr>"))}</table></div>";

    /// <summary>Escapes text.</summary>
    public static string Text(string text) => WebUtility.HtmlEncode(text);

    /// <summary>Formats numbers with a point, whatever the machine's language.</summary>
    public static string Number(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    /// <summary>A figure of a table; a dash where there is none, for example the deviation of one run.</summary>
    /// <param name="value">Figure.</param>
    /// <param name="digits">Digits behind the point.</param>
    public static string Figure(double value, int digits) => double.IsFinite(value) ? value.ToString("F" + digits.ToString(CultureInfo.InvariantCulture), CultureInfo.InvariantCulture) : "-";

    private static string Cells(string tag, IEnumerable<string> cells) => string.Concat(cells.Select(cell => $"<{tag}>{Text(cell)}</{tag}>"));
}

/// <summary>A rectangle of a drawing with linear or logarithmic axes.</summary>
internal readonly record struct PlotArea(double Left, double Top, double Width, double Height, double XFrom, double XTo, double YFrom, double YTo, bool IsLogarithmic)
{
    /// <summary>Horizontal place of a value.</summary>
    public double X(double value) => Left + (Width * Share(value, XFrom, XTo));

    /// <summary>Vertical place of a value; larger ones are higher.</summary>
    public double Y(double value) => Top + (Height * (1 - Share(value, YFrom, YTo)));

    /// <summary>Frame, ticks and names of the axes.</summary>
    public string Axes(IEnumerable<double> xTicks, IEnumerable<double> yTicks, string xName, string yName)
    {
        StringBuilder svg = new();
        svg.Append(PicturePage.Number($"<rect class=\"axis\" x=\"{Left:F1}\" y=\"{Top:F1}\" width=\"{Width:F1}\" height=\"{Height:F1}\"/>"));
        foreach (double tick in xTicks)
        {
            svg.Append(PicturePage.Number($"<text class=\"tick\" x=\"{X(tick):F1}\" y=\"{Top + Height + 16:F1}\" text-anchor=\"middle\">{tick:G4}</text>"));
        }

        foreach (double tick in yTicks)
        {
            svg.Append(PicturePage.Number($"<line class=\"axis\" x1=\"{Left:F1}\" x2=\"{Left + Width:F1}\" y1=\"{Y(tick):F1}\" y2=\"{Y(tick):F1}\"/><text class=\"tick\" x=\"{Left - 6:F1}\" y=\"{Y(tick) + 4:F1}\" text-anchor=\"end\">{tick:G4}</text>"));
        }

        svg.Append(PicturePage.Number($"<text class=\"tick\" x=\"{Left + Width:F1}\" y=\"{Top + Height + 32:F1}\" text-anchor=\"end\">{PicturePage.Text(xName)}</text>"));
        svg.Append(PicturePage.Number($"<text class=\"tick\" x=\"{Left:F1}\" y=\"{Top - 6:F1}\">{PicturePage.Text(yName)}</text>"));
        return svg.ToString();
    }

    private double Share(double value, double from, double to) =>
        IsLogarithmic ? Math.Log(value / from) / Math.Log(to / from) : (value - from) / (to - from);
}
