using System.Globalization;
using MoeSharp.Analysis.Study;

namespace MoeSharp.Cli.Study;

/// <summary>A study on the terminal: sentences, the curves as tables, and where the report lies.</summary>
internal static class StudyScreen
{
    private const int NameWidth = 72;

    /// <summary>Prints it.</summary>
    /// <param name="result">Study.</param>
    /// <param name="folder">Folder of the report.</param>
    public static void Show(StudyResult result, string folder)
    {
        Console.WriteLine($"{result.Model} on {result.TextName}");
        Console.WriteLine();
        foreach (string sentence in StudySummary.Sentences(result))
        {
            Console.WriteLine(sentence);
        }

        ShowPoints("Change", result.Curves);
        if (result.Rival is { } rival)
        {
            ShowPoints($"Change, {rival.Model}", rival.Curves);
        }

        ShowLayers(result);
        Console.WriteLine();
        Console.WriteLine($"Report:  {Path.Combine(folder, "report.html")}");
        Console.WriteLine($"Figures: {Path.Combine(folder, "study.json")}");
    }

    private static void ShowPoints(string title, SpecialisationCurves curves)
    {
        StudyPoint[] points = [.. curves.Masked.Skip(1), .. curves.Shared, .. curves.Fewer.Where(point => point.Intervention is not null)];
        if (points.Length == 0)
        {
            return;
        }

        Console.WriteLine();
        Console.WriteLine($"{title.PadRight(NameWidth)}    loss   more by     +-");
        foreach (StudyPoint point in points)
        {
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{point.Name.PadRight(NameWidth)} {point.Loss.Mean,7:0.0000} {point.Increase.Mean,9:+0.0000;-0.0000} {(double.IsNaN(point.Increase.StandardError) ? "-" : point.Increase.StandardError.ToString("0.0000", CultureInfo.InvariantCulture)),6}"));
        }
    }

    private static void ShowLayers(StudyResult result)
    {
        if (result.Statistics.Layers.Count + result.Statistics.AttentionLayers.Count == 0)
        {
            return;
        }

        Console.WriteLine();
        Console.WriteLine("layer  experts  MaxVio  in a pass  dead  entropy  token bits  shared");
        foreach (LayerStatistics layer in result.Statistics.Layers.Concat(result.Statistics.AttentionLayers))
        {
            string shared = double.IsNaN(layer.SharedShare) ? "-" : string.Create(CultureInfo.InvariantCulture, $"{layer.SharedShare:0.00}");
            string entropy = double.IsNaN(layer.RouterEntropy) ? "-" : string.Create(CultureInfo.InvariantCulture, $"{layer.RouterEntropy:0.00}");
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{layer.Name,5} {layer.NumExperts,8} {layer.MaxViolation,7:0.00} {layer.BatchMaxViolation,10:0.00} {layer.NumDead,5} {entropy,8} {layer.Lift.MutualInformation(),11:0.00} {shared,7}"));
        }
    }
}
