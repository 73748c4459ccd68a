using System.CommandLine;
using System.Globalization;
using MoeSharp.Cli.Training;
using MoeSharp.Kernels;
using MoeSharp.Verification;

namespace MoeSharp.Cli.Commands;

/// <summary><c>moe verify</c>: compares what this program computes with results computed elsewhere.</summary>
internal static class VerifyCommand
{
    /// <summary>Builds the verb.</summary>
    public static Command Create()
    {
        Argument<string[]> folders = new("folders") { Description = "Folders with expected results: Hugging Face models, GGUF models, stored weights; or folders above such.", Arity = ArgumentArity.OneOrMore };
        Option<string?> dump = new("--dump") { Description = "Folder for the computed logits, gradients and updated weights, as safetensors under checkpoint names." };
        Option<bool> json = new("--json") { Description = "Print one JSON document: {passed, fixtures: [{folder, passed, failure, checks, skipped}]}." };
        Option<int> threads = RunOptions.Threads();
        Command command = new("verify", "Compares logits, routing, losses, gradients and optimiser steps with expected results.") { folders, dump, json, threads };
        command.SetAction(parsed =>
        {
            using WorkerPool workers = new(RunOptions.CheckThreads(parsed.GetValue(threads)));
            List<VerificationReport> reports = [];
            foreach (string folder in parsed.GetRequiredValue(folders).SelectMany(FixtureVerifier.Folders))
            {
                string? target = parsed.GetValue(dump) is { } root ? Path.Combine(root, Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder)))) : null;
                VerificationReport report = FixtureVerifier.Verify(folder, target, workers);
                reports.Add(report);
                if (!parsed.GetValue(json))
                {
                    Print(report);
                }
            }

            if (parsed.GetValue(json))
            {
                WriteJson(reports);
            }

            return reports.All(report => report.Passed) ? CommandLine.Done : CommandLine.Failed;
        });
        return command;
    }

    private static void Print(VerificationReport report)
    {
        Console.WriteLine(report.Folder);
        foreach (VerificationCheck check in report.Checks)
        {
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"  {(check.Passed ? "ok  " : "FAIL")}  {check.Name,-32} {check.Measure,-18} {check.Observed,9:G3}  <= {check.Tolerance,-7:G3} {check.Detail}"));
        }

        foreach (VerificationSkip skip in report.Skipped)
        {
            Console.WriteLine($"  skip  {skip.Name}: {skip.Reason}");
        }

        string skipped = report.Skipped.Count > 0 ? $", {report.Skipped.Count} skipped" : "";
        string result = report.Failure is { } failure ? $"FAIL  {failure}"
            : report.Checks.Count + report.Skipped.Count == 0 ? "FAIL  the folder holds no expectation"
            : report.Checks.Count == 0 ? $"nothing compared{skipped}"
            : $"{report.Checks.Count(check => check.Passed)} of {report.Checks.Count} passed{skipped}";
        Console.WriteLine($"  {result}");
    }

    private static void WriteJson(List<VerificationReport> reports) => JsonDocumentOutput.Write(json =>
    {
        json.WriteStartObject();
        json.WriteBoolean("passed", reports.All(report => report.Passed));
        json.WriteStartArray("fixtures");
        foreach (VerificationReport report in reports)
        {
            json.WriteStartObject();
            json.WriteString("folder", report.Folder);
            json.WriteBoolean("passed", report.Passed);
            json.WriteString("failure", report.Failure);
            json.WriteStartArray("checks");
            foreach (VerificationCheck check in report.Checks)
            {
                json.WriteStartObject();
                json.WriteString("name", check.Name);
                json.WriteString("measure", check.Measure);
                json.WriteFinite("observed", check.Observed);
                json.WriteFinite("tolerance", check.Tolerance);
                json.WriteBoolean("passed", check.Passed);
                json.WriteString("detail", check.Detail);
                json.WriteEndObject();
            }

            json.WriteEndArray();
            json.WriteStartArray("skipped");
            foreach (VerificationSkip skip in report.Skipped)
            {
                json.WriteStartObject();
                json.WriteString("name", skip.Name);
                json.WriteString("reason", skip.Reason);
                json.WriteEndObject();
            }

            json.WriteEndArray();
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteEndObject();
    });
}
