using System.Text;
using MoeSharp.Training;

namespace MoeSharp.Cli.Training;

/// <summary>Layers x experts as rows of characters: the fuller an expert, the darker; a dead one is a red x.</summary>
internal static class LoadPicture
{
    private const int LabelWidth = 10;

    // Shades in steps of load over mean; the last one is everything above. Block elements are U+2591 to U+2593 and U+2588.
    private static readonly (double Below, char Shade, string Colour)[] s_shades =
    [
        (0.25, '\u00b7', "grey50"),
        (0.75, '\u2591', "steelblue"),
        (1.5, '\u2592', "deepskyblue3"),
        (2.5, '\u2593', "gold3"),
        (double.PositiveInfinity, '\u2588', "darkorange"),
    ];

    /// <summary>Draws the table as Spectre markup, one or more lines per layer.</summary>
    /// <param name="load">Loads.</param>
    /// <param name="width">Columns of the terminal.</param>
    /// <param name="maxLines">Lines there is room for; further layers are counted in words.</param>
    public static string Markup(LoadTable load, int width, int maxLines)
    {
        StringBuilder markup = new();
        int perLine = Math.Max(8, width - LabelWidth - 1);
        int lines = 0;
        for (int index = 0; index < load.NumLayers; index++)
        {
            ReadOnlySpan<long> counts = load.TokensPerExpert(index);
            int needed = (counts.Length + perLine - 1) / perLine;
            if (lines + needed > maxLines)
            {
                return markup.Append(System.Globalization.CultureInfo.InvariantCulture, $"[grey50]and {load.NumLayers - index} more layers[/]\n").ToString();
            }

            lines += needed;
            AppendLayer(markup, load.Layer(index), counts, perLine);
        }

        return markup.ToString();
    }

    /// <summary>What the shades mean.</summary>
    public static string Legend()
    {
        StringBuilder legend = new("[grey50]load over the mean of the layer: [/]");
        foreach ((double below, char shade, string colour) in s_shades)
        {
            string text = double.IsInfinity(below) ? "more" : System.FormattableString.Invariant($"<{below}");
            legend.Append(System.Globalization.CultureInfo.InvariantCulture, $"[{colour}]{shade}[/] {text}  ");
        }

        return legend.Append("[red]x[/] dead").ToString();
    }

    private static void AppendLayer(StringBuilder markup, int layer, ReadOnlySpan<long> counts, int perLine)
    {
        long sum = 0;
        foreach (long count in counts)
        {
            sum += count;
        }

        markup.Append(System.Globalization.CultureInfo.InvariantCulture, $"layer {layer,-3} ");
        string open = "";
        for (int expert = 0; expert < counts.Length; expert++)
        {
            if (expert > 0 && expert % perLine == 0)
            {
                markup.Append(open.Length > 0 ? "[/]" : "").Append('\n').Append(' ', LabelWidth);
                open = "";
            }

            (char shade, string colour) = ShadeOf((double)counts[expert] * counts.Length / Math.Max(1, sum), counts[expert]);
            if (colour != open)
            {
                markup.Append(open.Length > 0 ? "[/]" : "").Append('[').Append(colour).Append(']');
                open = colour;
            }

            markup.Append(shade);
        }

        markup.Append("[/]\n");
    }

    private static (char Shade, string Colour) ShadeOf(double load, long count)
    {
        if (count == 0)
        {
            return ('x', "red");
        }

        foreach ((double below, char shade, string colour) in s_shades)
        {
            if (load < below)
            {
                return (shade, colour);
            }
        }

        return (s_shades[^1].Shade, s_shades[^1].Colour);
    }
}
