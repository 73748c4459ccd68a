using System.Text;

namespace MoeSharp.Classic.Arm;

/// <summary>What each expert of the tree took of the arm's states, as a page.</summary>
public static class ArmPicture
{
    private const int MapCells = 24;
    private const int HistogramBins = 10;

    private static readonly int[] s_hues = [0, 265, 214, 28, 145]; // of the systems' curves

    /// <summary>Draws a study.</summary>
    public static string Page(ArmStudy study)
    {
        ArmStudyOptions options = study.Options;
        ArmPartition partition = ArmPartition.Of(study);
        int[] axes = [.. Enumerable.Range(0, partition.Dividing.Count).OrderByDescending(input => partition.Dividing[input]).Take(2)];
        string tree = string.Join(" x ", options.Branches);
        return PicturePage.Of("Arm: what each expert took",
        [
            PicturePage.Paragraph($"Hierarchical mixtures of experts (Jordan and Jacobs 1994) learn the forward dynamics of an arm with {options.Arm.Joints} joints in a vertical plane: accelerations from angles, velocities and torques. The arm is computed from its equations of motion."),
            PicturePage.Paragraph(PicturePage.Number($"{options.Runs} runs from seed {options.Seed}, {options.TrainCases} cases to train, {options.TestCases} to test; a tree of {tree} branches with {study.FirstTree.Experts.Count} linear experts, networks of {options.HiddenUnits} hidden units. Relative error: squared error over that of predicting the mean.")),
            Results(study),
            PicturePage.Heading("Error after each pass over the training cases, first run"),
            Curves(study),
            PicturePage.Heading($"Who takes which part, over {ArmPartition.NameOf(axes[0], options.Arm.Joints)} and {ArmPartition.NameOf(axes[1], options.Arm.Joints)}"),
            Map(study, axes[0], axes[1]),
            PicturePage.Paragraph("A colour is the expert with the largest share of the training cases in a cell, paler where it shares them with others. Experts under the same branch have neighbouring colours. The axes are the two inputs that divide the experts most."),
            PicturePage.Heading("The experts"),
            Experts(study, partition),
            PicturePage.Heading("How sharply the gates decide"),
            Gates(study),
            PicturePage.Paragraph("One histogram per gate, level by level: the posterior of its first branch over the cases that reach it. Mass at both ends is a sharp division; a flat one has not been made."),
        ]);
    }

    private static string Results(ArmStudy study) => PicturePage.Table(
        ["system", "numbers fitted", "relative error", "+-", "after the last pass", "passes", "+-"],
        study.Systems.Select(system => (IReadOnlyList<string>)
        [
            system.Name, $"{system.Parameters}", PicturePage.Figure(system.Lowest.Mean, 3), PicturePage.Figure(system.Lowest.StandardError, 3),
            PicturePage.Figure(system.Last.Mean, 3), PicturePage.Figure(system.Passes.Mean, 0), PicturePage.Figure(system.Passes.StandardError, 0),
        ]));

    private static string Curves(ArmStudy study)
    {
        double least = study.Systems.Min(system => system.Runs[0].Lowest);
        int passes = study.Systems.Max(system => system.Runs[0].Errors.Count);
        PlotArea area = new(56, 22, 590, 270, 1, Math.Max(passes, 2), Math.Clamp(least * 0.9, 1e-6, 0.5), 1, IsLogarithmic: true); // with too few cases every error may be above 1
        StringBuilder svg = new();
        double[] ticks = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1];
        double[] passTicks = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000];
        svg.Append(area.Axes(passTicks.Where(tick => tick <= passes), ticks.Where(tick => tick >= area.YFrom), "passes", "relative error"));
        for (int system = 0; system < study.Systems.Count; system++)
        {
            IReadOnlyList<double> errors = study.Systems[system].Runs[0].Errors;
            IEnumerable<string> points = (errors.Count == 1 ? [errors[0], errors[0]] : errors).Select((error, pass) =>
                PicturePage.Number($"{area.X(errors.Count == 1 ? 1 + (pass * (passes - 1)) : pass + 1):F1},{area.Y(Math.Clamp(error, area.YFrom, area.YTo)):F1}"));
            svg.Append(PicturePage.Number($"<polyline class=\"cut\" style=\"--h:{s_hues[system]}\" points=\"{string.Join(' ', points)}\"/>"));
            svg.Append(PicturePage.Number($"<rect class=\"x\" style=\"--h:{s_hues[system]}\" x=\"{60 + (system % 2 * 290)}\" y=\"{334 + (system / 2 * 22)}\" width=\"12\" height=\"12\" rx=\"3\"/><text x=\"{78 + (system % 2 * 290)}\" y=\"{344 + (system / 2 * 22)}\">{study.Systems[system].Name}</text>"));
        }

        return PicturePage.Drawing(660, 400, "Relative error after each pass, both axes logarithmic", svg.ToString());
    }

    private static string Map(ArmStudy study, int across, int upwards)
    {
        ArmTask task = study.FirstTask;
        int experts = study.FirstTree.Experts.Count;
        (double xFrom, double xTo) = Range(task, across);
        (double yFrom, double yTo) = Range(task, upwards);
        double[,] mass = new double[MapCells * MapCells, experts];
        double[] priors = new double[experts];
        for (int index = 0; index < task.Train.Count; index++)
        {
            ReadOnlySpan<double> input = task.Train.Input(index)[1..];
            int cell = (Cell(input[upwards], yFrom, yTo) * MapCells) + Cell(input[across], xFrom, xTo);
            study.FirstTree.LogPriors(task.Train.GateInput(index), priors);
            for (int expert = 0; expert < experts; expert++)
            {
                mass[cell, expert] += Math.Exp(priors[expert]);
            }
        }

        PlotArea area = new(56, 22, 400, 400, task.Scale.Unscaled(across, xFrom), task.Scale.Unscaled(across, xTo), task.Scale.Unscaled(upwards, yFrom), task.Scale.Unscaled(upwards, yTo), IsLogarithmic: false);
        StringBuilder svg = new();
        double size = area.Width / MapCells;
        for (int cell = 0; cell < MapCells * MapCells; cell++)
        {
            double total = Enumerable.Range(0, experts).Sum(expert => mass[cell, expert]);
            if (total > 0)
            {
                int best = Enumerable.Range(0, experts).MaxBy(expert => mass[cell, expert]);
                svg.Append(PicturePage.Number($"<rect class=\"x\" style=\"--h:{Hue(best, experts)}\" fill-opacity=\"{mass[cell, best] / total:F2}\" x=\"{area.Left + (cell % MapCells * size):F1}\" y=\"{area.Top + area.Height - ((cell / MapCells) + 1) * size:F1}\" width=\"{size:F2}\" height=\"{size:F2}\"/>"));
            }
        }

        int joints = study.Options.Arm.Joints;
        svg.Append(area.Axes(Ticks(area.XFrom, area.XTo), Ticks(area.YFrom, area.YTo), ArmPartition.NameOf(across, joints), ArmPartition.NameOf(upwards, joints)));
        for (int expert = 0; expert < experts && expert < 32; expert++)
        {
            (int x, int y) = (480 + (expert / 16 * 84), 36 + (expert % 16 * 24));
            svg.Append(PicturePage.Number($"<rect class=\"x\" style=\"--h:{Hue(expert, experts)}\" x=\"{x}\" y=\"{y - 10}\" width=\"12\" height=\"12\" rx=\"3\"/><text x=\"{x + 18}\" y=\"{y}\">{expert + 1}</text>"));
        }

        return PicturePage.Drawing(660, 470, "States of the arm, coloured by the expert that takes them", svg.ToString());
    }

    private static string Experts(ArmStudy study, ArmPartition partition)
    {
        int joints = study.Options.Arm.Joints;
        int[] shown = [.. Enumerable.Range(0, partition.Dividing.Count).OrderByDescending(input => partition.Dividing[input]).Take(5).Order()];
        return PicturePage.ColouredTable(
            ["expert", "share of cases", .. shown.Select(input => $"mean {ArmPartition.NameOf(input, joints)}")],
            partition.Territories.Select(territory => (Hue(territory.Expert, partition.Territories.Count), (IReadOnlyList<string>)
            [
                $"{territory.Expert + 1}", PicturePage.Number($"{100 * territory.Share:F1} %"), .. shown.Select(input => PicturePage.Number($"{territory.Means[input]:F2}")),
            ])));
    }

    private static string Gates(ArmStudy study)
    {
        const int Wide = 64;
        const int High = 46;
        TreePosteriors posteriors = new(study.FirstTree, study.FirstTask.Train);
        StringBuilder svg = new();
        int gate = 0;
        int nodes = 1;
        for (int level = 0; level < study.FirstTree.Branches.Count; level++)
        {
            for (int node = 0; node < nodes; node++, gate++)
            {
                double left = (((node + 0.5) / nodes) * 1040) - (Wide / 2.0);
                AddHistogram(svg, posteriors, gate, study.FirstTree.Branches[level], left, 10 + (level * 66), Wide * Math.Min(1, 1040.0 / (nodes * (Wide + 4))), High);
            }

            nodes *= study.FirstTree.Branches[level];
        }

        return PicturePage.Drawing(1040, 14 + (study.FirstTree.Branches.Count * 66), "Posterior of each gate's first branch, a histogram per gate", svg.ToString());
    }

    private static void AddHistogram(StringBuilder svg, TreePosteriors posteriors, int gate, int branching, double left, double top, double width, double height)
    {
        double[] bins = new double[HistogramBins];
        double[] weights = posteriors.GateWeights(gate);
        for (int index = 0; index < weights.Length; index++)
        {
            bins[Math.Min(HistogramBins - 1, (int)(posteriors.Conditionals(gate)[index * branching] * HistogramBins))] += weights[index];
        }

        double most = Math.Max(bins.Max(), 1e-300);
        svg.Append(PicturePage.Number($"<line class=\"axis\" x1=\"{left:F1}\" x2=\"{left + width:F1}\" y1=\"{top + height:F1}\" y2=\"{top + height:F1}\"/>"));
        for (int bin = 0; bin < HistogramBins; bin++)
        {
            double tall = height * bins[bin] / most;
            svg.Append(PicturePage.Number($"<rect class=\"bar\" x=\"{left + (bin * width / HistogramBins):F1}\" y=\"{top + height - tall:F1}\" width=\"{(width / HistogramBins) - 0.6:F1}\" height=\"{tall:F1}\"/>"));
        }
    }

    private static (double From, double To) Range(ArmTask task, int input)
    {
        (double from, double to) = (double.PositiveInfinity, double.NegativeInfinity);
        for (int index = 0; index < task.Train.Count; index++)
        {
            double value = task.Train.Input(index)[input + 1];
            (from, to) = (Math.Min(from, value), Math.Max(to, value));
        }

        return (from, to);
    }

    // Five values, the outer ones rounded into the range.
    private static double[] Ticks(double from, double to)
    {
        double step = (to - from) / 4;
        double unit = Math.Pow(10, Math.Floor(Math.Log10(step)));
        double rounded = Math.Floor(step / unit) * unit;
        double middle = Math.Round((from + to) / 2 / rounded) * rounded;
        return [.. new[] { -2, -1, 0, 1, 2 }.Select(index => middle + (index * rounded)).Where(tick => tick >= from && tick <= to)];
    }

    private static int Cell(double value, double from, double to) => Math.Min(MapCells - 1, (int)((value - from) / (to - from) * MapCells));

    // Neighbours in the tree are neighbours in colour.
    private static int Hue(int expert, int experts) => 360 * expert / experts;
}
