using System.Globalization;
using System.Text.Json;
using MoeSharp.Classic;
using MoeSharp.Classic.Arm;
using MoeSharp.Classic.Vowels;

namespace MoeSharp.Cli;

/// <summary>What <c>moe classic</c> says: tables for the terminal, documents for programs.</summary>
internal static class ClassicReport
{
    private const double ShownShare = 0.01; // of the cases; experts below are counted, not listed

    /// <summary>Prints the vowels.</summary>
    public static void Print(VowelStudy study, string? picture)
    {
        Line($"Four vowels of 75 generated speakers (50 to train, 25 to test), {study.Options.Runs} runs to a squared error of {study.Options.Criterion}, +- one standard error");
        Line($"");
        Line($"  {"system",-16} {"weights",7} {"epochs",15} {"train %",14} {"test %",14}  reached");
        foreach (VowelSystem system in study.Systems)
        {
            Line($"  {system.Name,-16} {system.Parameters,7} {Figure(system.Epochs, 0),15} {Figure(system.Train, 1),14} {Figure(system.Test, 1),14}  {system.Epochs.Count} of {system.Runs.Count}");
        }

        Line($"");
        PrintDifference("12 hidden units", study.Systems[3], "8 experts", study.Systems[1]);
        PrintDifference("6 hidden units", study.Systems[2], "4 experts", study.Systems[0]);
        Line($"  the paper: 1124 (4 experts), 1083 (8), 2209 (6 hidden units), 2435 (12), all 88 % of training and 90 % of test cases");
        foreach ((string name, VowelPartition partition) in new[] { ("4 experts", study.FourExperts), ("8 experts", study.EightExperts) })
        {
            Line($"");
            Line($"  {name}, first run   share     heed      hid      hod      hud");
            int[] order = [.. Enumerable.Range(0, partition.Mixture.NumExperts).OrderByDescending(partition.ShareOf)];
            foreach (int expert in order.Where(expert => partition.ShareOf(expert) >= ShownShare))
            {
                Line($"  expert {expert + 1,-12} {100 * partition.ShareOf(expert),7:F1} % {string.Join(' ', VowelStatistics.Vowels.Select(vowel => Text($"{100 * partition.Shares[expert, (int)vowel],6:F1} %")))}");
            }

            Line($"  {order.Count(expert => partition.ShareOf(expert) < ShownShare)} experts took less than 1 %");
        }

        PrintPicture(picture);
    }

    /// <summary>Prints the arm.</summary>
    public static void Print(ArmStudy study, string? picture)
    {
        ArmStudyOptions options = study.Options;
        Line($"Forward dynamics of a planar arm with {options.Arm.Joints} joints, {options.TrainCases} cases to train, {options.TestCases} to test, {options.Runs} runs, +- one standard error");
        Line($"");
        Line($"  {"system",-34} {"numbers",7} {"relative error",16} {"last pass",10} {"passes",13}  to 0.1");
        foreach (ArmSystem system in study.Systems)
        {
            Line($"  {system.Name,-34} {system.Parameters,7} {Figure(system.Lowest, 3),16} {system.Last.Mean,10:F3} {Figure(system.Passes, 0),13}  {PassesTo(system, 0.1)}");
        }

        Line($"");
        Line($"  relative error: lowest of any pass, on the test cases; passes: to within 5 % of it; to 0.1: passes to that error");
        Line($"  the paper (15000 cases, another arm): linear 0.31, tree 0.10 after 35 passes (Newton) and 0.12 after 39 (least squares), network 0.09 after 5500");
        ArmPartition partition = ArmPartition.Of(study);
        IEnumerable<int> dividing = Enumerable.Range(0, partition.Dividing.Count).OrderByDescending(input => partition.Dividing[input]).Take(4);
        Line($"  what divides the experts most: {string.Join(", ", dividing.Select(input => Text($"{ArmPartition.NameOf(input, options.Arm.Joints)} ({100 * partition.Dividing[input]:F0} %)")))}");
        Line($"  shares of the experts: {string.Join(' ', partition.Territories.Select(territory => Text($"{100 * territory.Share:F1}")))} %");
        PrintPicture(picture);
    }

    /// <summary>Writes the vowels as a document.</summary>
    public static void WriteJson(VowelStudy study, string? picture) => JsonDocumentOutput.Write(json =>
    {
        json.WriteStartObject();
        json.WriteString("demonstration", "vowels");
        json.WriteNumber("seed", study.Options.Seed);
        json.WriteNumber("runs", study.Options.Runs);
        json.WriteNumber("criterion", study.Options.Criterion);
        json.WriteStartArray("systems");
        foreach (VowelSystem system in study.Systems)
        {
            json.WriteStartObject();
            json.WriteString("name", system.Name);
            json.WriteNumber("parameters", system.Parameters);
            json.WriteNumber("rate", system.Rate);
            json.WriteNumber("reached", system.Epochs.Count);
            WriteAverage(json, "epochs", system.Epochs);
            WriteAverage(json, "train_percent", system.Train);
            WriteAverage(json, "test_percent", system.Test);
            json.WriteStartArray("active_experts");
            foreach (VowelRun run in system.Runs)
            {
                json.WriteNumberValue(run.ActiveExperts);
            }

            json.WriteEndArray();
            json.WriteEndObject();
        }

        json.WriteEndArray();
        WriteAverage(json, "epochs_saved_by_4_experts", VowelStudy.Difference(study.Systems[2], study.Systems[0]));
        WriteAverage(json, "epochs_saved_by_8_experts", VowelStudy.Difference(study.Systems[3], study.Systems[1]));
        WritePartition(json, "four_experts", study.FourExperts);
        WritePartition(json, "eight_experts", study.EightExperts);
        WritePicture(json, picture);
        json.WriteEndObject();
    });

    /// <summary>Writes the arm as a document.</summary>
    public static void WriteJson(ArmStudy study, string? picture) => JsonDocumentOutput.Write(json =>
    {
        json.WriteStartObject();
        json.WriteString("demonstration", "arm");
        json.WriteNumber("seed", study.Options.Seed);
        json.WriteNumber("runs", study.Options.Runs);
        json.WriteNumber("joints", study.Options.Arm.Joints);
        json.WriteNumber("train_cases", study.Options.TrainCases);
        json.WriteNumber("test_cases", study.Options.TestCases);
        json.WriteStartArray("systems");
        foreach (ArmSystem system in study.Systems)
        {
            json.WriteStartObject();
            json.WriteString("name", system.Name);
            json.WriteNumber("parameters", system.Parameters);
            WriteAverage(json, "relative_error", system.Lowest);
            WriteAverage(json, "relative_error_last", system.Last);
            WriteAverage(json, "passes", system.Passes);
            json.WriteStartArray("first_run");
            foreach (double error in system.Runs[0].Errors)
            {
                json.WriteNumberValue(error);
            }

            json.WriteEndArray();
            json.WriteEndObject();
        }

        json.WriteEndArray();
        ArmPartition partition = ArmPartition.Of(study);
        json.WriteStartArray("experts");
        foreach (ArmTerritory territory in partition.Territories)
        {
            json.WriteStartObject();
            json.WriteNumber("share", territory.Share);
            json.WriteStartObject("means");
            for (int input = 0; input < territory.Means.Count; input++)
            {
                json.WriteNumber(ArmPartition.NameOf(input, study.Options.Arm.Joints), territory.Means[input]);
            }

            json.WriteEndObject();
            json.WriteEndObject();
        }

        json.WriteEndArray();
        WritePicture(json, picture);
        json.WriteEndObject();
    });

    private static void WritePartition(Utf8JsonWriter json, string name, VowelPartition partition)
    {
        json.WriteStartArray(name);
        for (int expert = 0; expert < partition.Mixture.NumExperts; expert++)
        {
            json.WriteStartObject();
            json.WriteNumber("share", partition.ShareOf(expert));
            foreach (Vowel vowel in VowelStatistics.Vowels)
            {
                json.WriteNumber(vowel.ToString().ToLowerInvariant(), partition.Shares[expert, (int)vowel]);
            }

            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static void WriteAverage(Utf8JsonWriter json, string name, RunAverage average)
    {
        json.WriteStartObject(name);
        json.WriteFinite("mean", average.Mean);
        json.WriteFinite("standard_error", average.StandardError);
        json.WriteFinite("deviation", average.Deviation);
        json.WriteEndObject();
    }

    private static void WritePicture(Utf8JsonWriter json, string? picture)
    {
        if (picture is not null)
        {
            json.WriteString("picture", picture);
        }
    }

    private static void PrintPicture(string? picture)
    {
        if (picture is not null)
        {
            Line($"");
            Line($"  what each expert took: {picture}");
        }
    }

    private static void PrintDifference(string slowerName, VowelSystem slower, string fasterName, VowelSystem faster)
    {
        RunAverage difference = VowelStudy.Difference(slower, faster);
        Line(difference.Count > 0
            ? (FormattableString)$"  {slowerName} need {Figure(difference, 0)} epochs more than {fasterName} ({difference.Count} paired runs)"
            : $"  {slowerName} against {fasterName}: in no run did both reach the criterion (--criterion, --max-epochs)");
    }

    private static string PassesTo(ArmSystem system, double error)
    {
        int[] passes = [.. system.Runs.Select(run => run.PassesTo(error)).Where(count => count > 0)];
        string runs = passes.Length == system.Runs.Count ? "" : Text($" in {passes.Length} of {system.Runs.Count} runs");
        return passes.Length == 0 ? "never" : Text($"{passes.Average():F0}{runs}");
    }

    private static string Figure(RunAverage average, int digits)
    {
        if (average.Count == 0)
        {
            return "none"; // for example of epochs when no run reached the criterion
        }

        string format = "F" + digits.ToString(CultureInfo.InvariantCulture);
        string mean = average.Mean.ToString(format, CultureInfo.InvariantCulture);
        return double.IsFinite(average.StandardError) ? $"{mean} +- {average.StandardError.ToString(format, CultureInfo.InvariantCulture)}" : mean;
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    private static void Line(FormattableString text) => Console.WriteLine(Text(text));
}
