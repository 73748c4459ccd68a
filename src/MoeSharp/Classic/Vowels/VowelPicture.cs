using System.Text;

namespace MoeSharp.Classic.Vowels;

/// <summary>What each expert took of the vowels, as a page.</summary>
public static class VowelPicture
{
    private const int Columns = 72;
    private const int Rows = 54;
    private const double LeastShare = 0.01; // of the cases; experts below are not drawn

    private static readonly int[] s_hues = [214, 28, 145, 325, 268, 58, 182, 2]; // by falling share, so that the large ones differ most

    /// <summary>Draws a study.</summary>
    public static string Page(VowelStudy study)
    {
        List<string> parts =
        [
            PicturePage.Paragraph("Adaptive mixtures of local experts (Jacobs, Jordan, Nowlan, Hinton 1991) on four vowels of many speakers, known by two formants. The recordings are generated from the statistics of Peterson and Barney (1952); nobody said them."),
            PicturePage.Paragraph(PicturePage.Number($"{study.Options.Runs} runs from seed {study.Options.Seed}, each with other speakers and other first weights: 50 speakers to train, 25 to test. A system has one output: 1 for heed and hod, 0 for hid and hud. Training stops at a squared error of {study.Options.Criterion}.")),
            Results(study),
            Epochs(study),
        ];
        foreach ((string name, VowelPartition partition) in new[] { ("Four experts", study.FourExperts), ("Eight experts", study.EightExperts) })
        {
            parts.Add(PicturePage.Heading($"{name}, first run: who takes which part of the plane"));
            parts.Add(Plane(partition));
            parts.Add(PicturePage.ColouredTable(["expert", "all cases", "heed [i]", "hid [\u026A]", "hod [a]", "hud [\u028C]"], Shares(partition)));
        }

        parts.Add(PicturePage.Paragraph("A colour is the expert that the gate gives the largest share there; a line is where that expert's output is one half. Signs are training cases, red where the whole mixture is on the wrong side. Experts with less than a hundredth of the cases are not drawn."));
        return PicturePage.Of("Vowels: what each expert took", parts);
    }

    /// <summary>Experts by falling share.</summary>
    internal static int[] Order(VowelPartition partition) =>
        [.. Enumerable.Range(0, partition.Mixture.NumExperts).OrderByDescending(partition.ShareOf)];

    private static string Results(VowelStudy study) => PicturePage.Table(
        ["system", "weights", "rate", "epochs", "+-", "train %", "test %", "+-", "reached"],
        study.Systems.Select(system => (IReadOnlyList<string>)
        [
            system.Name, $"{system.Parameters}", $"{system.Rate}", PicturePage.Figure(system.Epochs.Mean, 0), PicturePage.Figure(system.Epochs.StandardError, 0),
            PicturePage.Figure(system.Train.Mean, 1), PicturePage.Figure(system.Test.Mean, 1), PicturePage.Figure(system.Test.StandardError, 1), $"{system.Epochs.Count} of {system.Runs.Count}",
        ]));

    private static string Epochs(VowelStudy study)
    {
        const int RowHeight = 30;
        double most = Math.Max(1, study.Systems.Max(system => Finite(system.Epochs.Mean) + (2 * Finite(system.Epochs.StandardError))));
        StringBuilder svg = new();
        for (int row = 0; row < study.Systems.Count; row++)
        {
            RunAverage epochs = study.Systems[row].Epochs;
            (double mean, double error) = (Finite(epochs.Mean), 2 * Finite(epochs.StandardError));
            double middle = 16 + (row * RowHeight);
            double end = 130 + (430 * mean / most);
            svg.Append(PicturePage.Number($"<text x=\"122\" y=\"{middle + 4}\" text-anchor=\"end\">{study.Systems[row].Name}</text><rect class=\"bar\" x=\"130\" y=\"{middle - 9}\" width=\"{end - 130:F1}\" height=\"18\" rx=\"3\"/>"));
            svg.Append(PicturePage.Number($"<line class=\"whisker\" x1=\"{end - (430 * error / most):F1}\" x2=\"{end + (430 * error / most):F1}\" y1=\"{middle}\" y2=\"{middle}\"/><text x=\"{572}\" y=\"{middle + 4}\">{(epochs.Count == 0 ? "not reached" : PicturePage.Number($"{mean:F0} epochs"))}</text>"));
        }

        return PicturePage.Drawing(660, 8 + (study.Systems.Count * RowHeight), "Epochs to the criterion, mean and two standard errors", svg.ToString());
    }

    private static IEnumerable<(int Hue, IReadOnlyList<string> Cells)> Shares(VowelPartition partition)
    {
        int[] order = Order(partition);
        for (int rank = 0; rank < order.Length; rank++)
        {
            int expert = order[rank];
            string[] cells = [$"{expert + 1}", Percent(partition.ShareOf(expert)), .. VowelStatistics.Vowels.Select(vowel => Percent(partition.Shares[expert, (int)vowel]))];
            yield return (s_hues[rank % s_hues.Length], cells);
        }
    }

    private static string Plane(VowelPartition partition)
    {
        PlotArea area = new(48, 22, 588, 400, 0.1, Math.Max(1.3, partition.Tokens.Max(token => token.F1) / 1000), 0.7, Math.Max(3.6, partition.Tokens.Max(token => token.F2) / 1000), IsLogarithmic: false);
        int[] order = Order(partition);
        int[] hueOf = new int[order.Length];
        for (int rank = 0; rank < order.Length; rank++)
        {
            hueOf[order[rank]] = s_hues[rank % s_hues.Length];
        }

        StringBuilder svg = new(area.Axes([0.2, 0.4, 0.6, 0.8, 1, 1.2], [1, 1.5, 2, 2.5, 3, 3.5], "first formant, kHz", "second formant, kHz"));
        AddRegions(svg, partition.Mixture, area, hueOf);
        foreach (int expert in order.Where(expert => partition.ShareOf(expert) >= LeastShare))
        {
            AddDecision(svg, partition.Mixture.Expert(expert), area, hueOf[expert]);
        }

        AddTokens(svg, partition, area);
        return PicturePage.Drawing(660, 460, "The plane of the two formants, coloured by the expert that the gate prefers", svg.ToString());
    }

    // Cells of one row with the same expert become one rectangle.
    private static void AddRegions(StringBuilder svg, LocalExpertMixture mixture, PlotArea area, int[] hueOf)
    {
        (double width, double height) = (area.Width / Columns, area.Height / Rows);
        double[] shares = new double[mixture.NumExperts];
        for (int row = 0; row < Rows; row++)
        {
            double f2 = area.YTo - ((row + 0.5) / Rows * (area.YTo - area.YFrom));
            int begin = 0;
            int last = -1;
            for (int column = 0; column <= Columns; column++)
            {
                int expert = -2;
                if (column < Columns)
                {
                    double f1 = area.XFrom + ((column + 0.5) / Columns * (area.XTo - area.XFrom));
                    mixture.Route(new CaseSet([1, f1, f2], 3, [0], 1), 0, shares);
                    expert = Array.IndexOf(shares, shares.Max());
                }

                if (expert != last && last >= 0)
                {
                    svg.Append(PicturePage.Number($"<rect class=\"wash\" style=\"--h:{hueOf[last]}\" x=\"{area.Left + (begin * width):F2}\" y=\"{area.Top + (row * height):F2}\" width=\"{(column - begin) * width:F2}\" height=\"{height + 0.05:F2}\"/>"));
                }

                (begin, last) = expert != last ? (column, expert) : (begin, last);
            }
        }
    }

    // The line w0 + w1 F1 + w2 F2 = 0 within the frame.
    private static void AddDecision(StringBuilder svg, ReadOnlySpan<double> weights, PlotArea area, int hue)
    {
        List<(double X, double Y)> ends = [];
        foreach (double f1 in new[] { area.XFrom, area.XTo })
        {
            double f2 = -(weights[0] + (weights[1] * f1)) / weights[2];
            if (f2 >= area.YFrom && f2 <= area.YTo)
            {
                ends.Add((f1, f2));
            }
        }

        foreach (double f2 in new[] { area.YFrom, area.YTo })
        {
            double f1 = -(weights[0] + (weights[2] * f2)) / weights[1];
            if (f1 > area.XFrom && f1 < area.XTo)
            {
                ends.Add((f1, f2));
            }
        }

        if (ends.Count >= 2)
        {
            svg.Append(PicturePage.Number($"<line class=\"cut\" style=\"--h:{hue}\" x1=\"{area.X(ends[0].X):F1}\" y1=\"{area.Y(ends[0].Y):F1}\" x2=\"{area.X(ends[1].X):F1}\" y2=\"{area.Y(ends[1].Y):F1}\"/>"));
        }
    }

    private static void AddTokens(StringBuilder svg, VowelPartition partition, PlotArea area)
    {
        CaseSet cases = VowelTokens.Cases(partition.Tokens);
        Span<double> output = stackalloc double[1];
        for (int index = 0; index < cases.Count; index++)
        {
            partition.Mixture.Predict(cases, index, output);
            VowelToken token = partition.Tokens[index];
            bool isWrong = (output[0] > 0.5) != (cases.Target(index)[0] > 0.5);
            svg.Append(PicturePage.Number($"<text x=\"{area.X(token.F1 / 1000):F1}\" y=\"{area.Y(token.F2 / 1000) + 4:F1}\" text-anchor=\"middle\"{(isWrong ? " class=\"wrong\"" : "")}>{VowelStatistics.Sign(token.Vowel)}</text>"));
        }
    }

    private static string Percent(double share) => PicturePage.Number($"{100 * share:F1} %");

    private static double Finite(double value) => double.IsFinite(value) ? value : 0;
}
