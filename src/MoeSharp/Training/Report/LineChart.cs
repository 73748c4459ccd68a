using System.Globalization;
using System.Text;

namespace MoeSharp.Training.Report;

/// <summary>One curve of a <see cref="LineChart"/>.</summary>
/// <param name="Name">Legend text.</param>
/// <param name="Style">CSS class that colours it: moe, dense, moe faint, baseline, ...</param>
/// <param name="Points">Points with rising x; values that are not finite are left out.</param>
internal sealed record ChartSeries(string Name, string Style, IReadOnlyList<ChartPoint> Points);

/// <summary>A point of a curve.</summary>
internal readonly record struct ChartPoint(double X, double Y);

/// <summary>Draws curves as an SVG that scales with the page and takes its colours from CSS.</summary>
internal static class LineChart
{
    private const int Width = 480;
    private const int Height = 250;
    private const int Left = 52;
    private const int Right = 12;
    private const int Top = 10;
    private const int Bottom = 34;
    private const int MaxPoints = 400; // more do not show on a screen
    private const int WantedTicks = 5;

    /// <summary>Draws the chart in a figure with caption and legend.</summary>
    /// <param name="title">What the chart shows, with its unit.</param>
    /// <param name="xLabel">Unit of x.</param>
    /// <param name="series">Curves; those without points are left out.</param>
    /// <param name="fromZero">Whether the y axis starts at 0.</param>
    /// <param name="isLogarithmic">Whether the y axis is; values that are not positive are left out.</param>
    public static string Draw(string title, string xLabel, IReadOnlyList<ChartSeries> series, bool fromZero, bool isLogarithmic = false)
    {
        ChartSeries[] drawn = [.. series.Select(Thinned).Select(one => isLogarithmic ? one with { Points = [.. one.Points.Where(point => point.Y > 0)] } : one).Where(one => one.Points.Count > 0)];
        if (drawn.Length == 0)
        {
            return "";
        }

        double xMin = drawn.Min(one => one.Points.Min(point => point.X));
        double xMax = drawn.Max(one => one.Points.Max(point => point.X));
        xMax = xMax > xMin ? xMax : xMin + 1;
        double yMin = fromZero && !isLogarithmic ? 0 : drawn.Min(one => one.Points.Min(point => point.Y));
        double yMax = drawn.Max(one => LargestShown(one.Points));
        yMax = yMax > yMin ? (isLogarithmic ? yMax * 1.05 : yMax + (0.04 * (yMax - yMin))) : yMin + Math.Max(1e-9, Math.Abs(yMin) * 0.1);
        Scale x = new(xMin, xMax, Left, Width - Right, false);
        Scale y = new(yMin, yMax, Height - Bottom, Top, isLogarithmic);

        StringBuilder svg = new();
        svg.Append(CultureInfo.InvariantCulture, $"<figure class=\"chart\"><figcaption>{Html.Text(title)}</figcaption>");
        svg.Append(CultureInfo.InvariantCulture, $"<svg viewBox=\"0 0 {Width} {Height}\" role=\"img\" aria-label=\"{Html.Text(Summary(title, drawn))}\"");
        svg.Append(CultureInfo.InvariantCulture, $" data-x0=\"{xMin:R}\" data-x1=\"{xMax:R}\" data-left=\"{Left}\" data-right=\"{Width - Right}\">");
        foreach (double tick in isLogarithmic ? LogarithmicTicks(yMin, yMax) : Ticks(yMin, yMax))
        {
            svg.Append(CultureInfo.InvariantCulture, $"<line class=\"grid\" x1=\"{Left}\" x2=\"{Width - Right}\" y1=\"{y.At(tick):F1}\" y2=\"{y.At(tick):F1}\"/>");
            svg.Append(CultureInfo.InvariantCulture, $"<text class=\"tick\" x=\"{Left - 6}\" y=\"{y.At(tick) + 4:F1}\" text-anchor=\"end\">{Number(tick)}</text>");
        }

        string last = "";
        foreach (double tick in Ticks(xMin, xMax))
        {
            if (Number(tick) == last)
            {
                continue; // a range too short for its digits
            }

            last = Number(tick);
            svg.Append(CultureInfo.InvariantCulture, $"<text class=\"tick\" x=\"{x.At(tick):F1}\" y=\"{Height - Bottom + 16}\" text-anchor=\"{(x.At(tick) > Width - (2 * Right) ? "end" : "middle")}\">{last}</text>");
        }

        svg.Append(CultureInfo.InvariantCulture, $"<text class=\"tick\" x=\"{Width - Right}\" y=\"{Height - 3}\" text-anchor=\"end\">{Html.Text(xLabel)}</text>");
        foreach (ChartSeries one in drawn)
        {
            string points = string.Join(' ', one.Points.Select(point => string.Create(CultureInfo.InvariantCulture, $"{x.At(point.X):F1},{y.At(Math.Min(point.Y, yMax)):F1}")));
            svg.Append(CultureInfo.InvariantCulture, $"<polyline class=\"line {one.Style}\" data-name=\"{Html.Text(one.Name)}\" points=\"{points}\" data-y=\"{string.Join(' ', one.Points.Select(point => Number(point.Y)))}\"/>");
            if (one.Points.Count == 1)
            {
                svg.Append(CultureInfo.InvariantCulture, $"<circle class=\"dot {one.Style}\" cx=\"{x.At(one.Points[0].X):F1}\" cy=\"{y.At(one.Points[0].Y):F1}\" r=\"3\"/>");
            }
        }

        svg.Append("<line class=\"cursor\" y1=\"10\" y2=\"216\" x1=\"-9\" x2=\"-9\"/></svg><div class=\"legend\">");
        foreach (ChartSeries one in drawn.Where(one => one.Name.Length > 0))
        {
            svg.Append(CultureInfo.InvariantCulture, $"<span><i class=\"key {one.Style}\"></i>{Html.Text(one.Name)} <b>{Number(one.Points[^1].Y)}</b></span>");
        }

        return svg.Append("</div></figure>\n").ToString();
    }

    /// <summary>A number in at most four digits.</summary>
    internal static string Number(double value) => Math.Abs(value) switch
    {
        0 => "0",
        >= 1e6 => (value / 1e6).ToString("0.##", CultureInfo.InvariantCulture) + "M",
        >= 1e4 => (value / 1e3).ToString("0.#", CultureInfo.InvariantCulture) + "k",
        >= 100 => value.ToString("0", CultureInfo.InvariantCulture),
        >= 10 => value.ToString("0.#", CultureInfo.InvariantCulture),
        >= 0.1 => value.ToString("0.###", CultureInfo.InvariantCulture),
        >= 0.001 => value.ToString("0.#####", CultureInfo.InvariantCulture),
        _ => value.ToString("0.##e0", CultureInfo.InvariantCulture),
    };

    /// <summary>Round tick values inside a range: 1, 2 or 5 times a power of ten apart.</summary>
    internal static IReadOnlyList<double> Ticks(double min, double max)
    {
        if (!(max - min > 1e-12 * Math.Max(Math.Abs(min), Math.Abs(max))))
        {
            return [min]; // so close together that a step between them is none: the loop below would not end
        }

        double rough = (max - min) / WantedTicks;
        double power = Math.Pow(10, Math.Floor(Math.Log10(rough)));
        double step = power * (rough / power) switch { <= 1 => 1, <= 2 => 2, <= 5 => 5, _ => 10 };
        List<double> ticks = [];
        for (double tick = Math.Ceiling(min / step) * step; tick <= max + (step * 1e-9); tick += step)
        {
            ticks.Add(Math.Abs(tick) < step * 1e-9 ? 0 : tick);
        }

        return ticks;
    }

    /// <summary>1, 2 and 5 times powers of ten inside a range of positive numbers.</summary>
    internal static IReadOnlyList<double> LogarithmicTicks(double min, double max)
    {
        List<double> ticks = [];
        for (double power = Math.Pow(10, Math.Floor(Math.Log10(min))); power <= max; power *= 10)
        {
            ticks.AddRange(new[] { power, 2 * power, 5 * power }.Where(tick => tick >= min && tick <= max));
        }

        return ticks.Count > 1 ? ticks : Ticks(min, max); // less than a factor of 2 between them
    }

    /// <summary>The largest value to make room for; a spike in the first tenth (a start, a warm-up) may leave the chart at the top.</summary>
    private static double LargestShown(IReadOnlyList<ChartPoint> points)
    {
        double[] later = [.. points.Skip(points.Count / 10).Select(point => point.Y)];
        double[] all = [.. points.Select(point => point.Y)];
        return Math.Min(all.Max(), later.Max() * 2);
    }

    private static ChartSeries Thinned(ChartSeries series)
    {
        ChartPoint[] finite = [.. series.Points.Where(point => double.IsFinite(point.Y))];
        if (finite.Length <= MaxPoints)
        {
            return series with { Points = finite };
        }

        IEnumerable<ChartPoint> kept = Enumerable.Range(0, MaxPoints).Select(index => finite[(int)((long)index * (finite.Length - 1) / (MaxPoints - 1))]);
        return series with { Points = [.. kept] };
    }

    private static string Summary(string title, ChartSeries[] series) =>
        $"{title}: " + string.Join("; ", series.Where(one => one.Name.Length > 0).Select(one => $"{one.Name} from {Number(one.Points[0].Y)} to {Number(one.Points[^1].Y)}"));

    private readonly record struct Scale(double From, double To, double PixelFrom, double PixelTo, bool IsLogarithmic)
    {
        public double At(double value) => PixelFrom + (Share(value) * (PixelTo - PixelFrom));

        private double Share(double value) => IsLogarithmic ? Math.Log(value / From) / Math.Log(To / From) : (value - From) / (To - From);
    }
}
