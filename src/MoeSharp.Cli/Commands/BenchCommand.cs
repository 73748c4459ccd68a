using System.CommandLine;
using System.Text.Json;
using System.Text.Json.Serialization;
using MoeSharp.Bench;
using Spectre.Console;

namespace MoeSharp.Cli.Commands;

/// <summary><c>moe bench</c>: how fast this machine computes, beside what it could do at most.</summary>
internal static class BenchCommand
{
    /// <summary>Builds the verb.</summary>
    public static Command Create()
    {
        Argument<string> suite = new("suite")
        {
            Description = $"What to measure: {string.Join(", ", BenchSuites.Names)}.",
            DefaultValueFactory = _ => BenchSuites.Names[0],
        };
        Option<int> threads = new("--threads")
        {
            Description = "Threads; all processors when left out.",
            DefaultValueFactory = _ => Environment.ProcessorCount,
        };
        Option<bool> json = new("--json") { Description = "Prints JSON instead of a table." };
        Command command = new("bench", "Measures speed, each figure beside the limit measured in the same run.") { suite, threads, json };
        command.SetAction(parsed => Run(parsed.GetRequiredValue(suite), parsed.GetRequiredValue(threads), parsed.GetValue(json)));
        return command;
    }

    private static int Run(string suite, int threads, bool asJson)
    {
        if (threads < 1)
        {
            throw new ConfigurationException($"--threads {threads} is too few. Use 1 or more.");
        }

        Func<int, IReadOnlyList<BenchResult>> measure = BenchSuites.Find(suite);
        BenchMachine machine = BenchMachine.Measure(threads);
        IReadOnlyList<BenchResult> results = measure(threads);
        if (asJson)
        {
            Console.WriteLine(JsonSerializer.Serialize(new BenchReport(machine, results), BenchJson.Default.BenchReport));
        }
        else
        {
            Print(machine, results);
        }

        return CommandLine.Done;
    }

    private static void Print(BenchMachine machine, IReadOnlyList<BenchResult> results)
    {
        AnsiConsole.WriteLine($"{machine.Threads} threads, {machine.Simd} registers: {machine.FmaGflops:F0} GFLOP/s multiply-add, {machine.ReadGbps:F1} GB/s reading memory");
        Table table = new Table().Border(TableBorder.Simple).AddColumns("measured", "value", "limit", "unit", "share");
        foreach (int column in new[] { 1, 2, 4 })
        {
            table.Columns[column].RightAligned();
        }

        foreach (BenchResult result in results)
        {
            table.AddRow(Markup.Escape(result.Name), $"{result.Value:G4}", $"{result.Limit:G4}", Markup.Escape(result.Unit), $"{result.Share:P0}");
        }

        AnsiConsole.Write(table);
    }
}

/// <summary>What <c>moe bench --json</c> prints.</summary>
internal sealed record BenchReport(BenchMachine Machine, IReadOnlyList<BenchResult> Results);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true)]
[JsonSerializable(typeof(BenchReport))]
internal sealed partial class BenchJson : JsonSerializerContext;
