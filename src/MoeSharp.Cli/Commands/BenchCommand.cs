using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using MoeSharp.Bench;
using MoeSharp.Cli.Training;
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
        Option<string?> preset = new("--preset") { Description = "Model of the suite decode, with random weights." };
        Option<string[]> weights = new("--weights") { Description = "Weight formats of the suites quantized and decode, for example q4_0,q8_0.", CustomParser = Names };
        Option<int[]> batch = new("--batch") { Description = "Rows (quantized) or sequences that decode together (decode), for example 1,4,16.", CustomParser = Counts };
        Option<int?> prompt = new("--prompt") { Description = "Tokens of the prompt of the suite decode." };
        Option<bool> json = new("--json") { Description = "Prints JSON instead of a table." };
        Command command = new("bench", "Measures speed, each figure beside the limit measured in the same run.") { suite, threads, preset, weights, batch, prompt, json };
        command.SetAction(parsed => Run(
            parsed.GetRequiredValue(suite),
            new BenchOptions(parsed.GetRequiredValue(threads), parsed.GetValue(preset), parsed.GetValue(weights) ?? [], parsed.GetValue(batch) ?? [], parsed.GetValue(prompt)),
            parsed.GetValue(json)));
        return command;
    }

    private static string[] Names(ArgumentResult result) =>
        [.. result.Tokens.SelectMany(token => token.Value.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))];

    private static int[] Counts(ArgumentResult result)
    {
        List<int> counts = [];
        foreach (string name in Names(result))
        {
            if (int.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out int count) && count > 0)
            {
                counts.Add(count);
            }
            else
            {
                result.AddError($"--batch {name} is not a count. Use whole numbers from 1, separated by commas."); // an exception would leave the parser
            }
        }

        return [.. counts];
    }

    private static int Run(string suite, BenchOptions options, bool asJson)
    {
        RunOptions.CheckThreads(options.Threads);
        if (options.Prompt < 1)
        {
            throw new ConfigurationException($"--prompt {options.Prompt} is too few. Use 1 or more.");
        }

        Func<BenchOptions, IReadOnlyList<BenchResult>> measure = BenchSuites.Find(suite);
        BenchMachine machine = BenchMachine.Measure(options.Threads);
        IReadOnlyList<BenchResult> results = measure(options);
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
