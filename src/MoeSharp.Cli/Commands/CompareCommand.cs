using System.CommandLine;
using System.Globalization;
using MoeSharp.Cli.Comparison;
using MoeSharp.Cli.Training;
using MoeSharp.Model;
using MoeSharp.Planning;
using MoeSharp.Training.Comparison;
using Spectre.Console;

namespace MoeSharp.Cli.Commands;

/// <summary><c>moe compare</c>: trains a table of architectures and seeds on the same tokens and says what the figures show.</summary>
internal static class CompareCommand
{
    private const string StopNotice = "stopping after the steps that are running, then saving. Press Ctrl-C again to quit at once.";
    private const int MostSeeds = 1000;
    private const int MostJobs = 1024;

    private static readonly Argument<string> s_config = new("config") { Description = $"Experiment in a JSON file, or one of {string.Join(", ", ComparisonConfigJson.Names)}." };
    private static readonly Option<string[]> s_data = new("--data", "-d") { Description = "Your own text, for experiments with a corpus of kind text: files, folders or globs.", AllowMultipleArgumentsPerToken = true };
    private static readonly Option<string> s_out = new("--out", "-o") { Description = "Folder of runs and report (default: runs/compare-NAME); finished runs in it are kept, interrupted ones go on." };
    private static readonly Option<string> s_seeds = new("--seeds") { Description = "Other seeds than the experiment's, for example 2-6 or 2,5,9." };
    private static readonly Option<string> s_steps = new("--steps") { Description = "Other numbers of steps than the experiment's, for example 600 or 600,1200." };
    private static readonly Option<string[]> s_only = new("--only") { Description = "Trains only these architectures now; the report shows all that are finished.", AllowMultipleArgumentsPerToken = true };
    private static readonly Option<int> s_jobs = new("--jobs") { Description = "Runs at once, each on one thread (default: all cores).", DefaultValueFactory = _ => Environment.ProcessorCount };
    private static readonly Option<bool> s_quiet = RunOptions.Quiet();
    private static readonly Option<bool> s_json = RunOptions.Json();

    /// <summary>Builds the verb.</summary>
    public static Command Create()
    {
        Command command = new("compare", "Compares architectures: trains them on the same tokens and reports means, errors and paired differences.");
        command.Arguments.Add(s_config);
        foreach (Option option in (Option[])[s_data, s_out, s_seeds, s_steps, s_only, s_jobs, s_quiet, s_json])
        {
            command.Options.Add(option);
        }

        command.SetAction(Run);
        return command;
    }

    private static int Run(ParseResult arguments)
    {
        ComparisonConfig config = ReadConfig(arguments);
        string folder = arguments.GetValue(s_out) ?? Path.Combine("runs", $"compare-{config.Name}");
        int jobs = arguments.GetValue(s_jobs);
        if (jobs is < 1 or > MostJobs)
        {
            throw new ConfigurationException($"--jobs {jobs} must lie between 1 and {MostJobs}. This machine has {Environment.ProcessorCount} cores.");
        }

        TerminalStyle style = RunTerminal.StyleOf(arguments.GetValue(s_quiet), arguments.GetValue(s_json));
        IAnsiConsole console = RunTerminal.Create();
        using Interruption stop = new(StopNotice);
        void Report(string text)
        {
            if (style is TerminalStyle.Live or TerminalStyle.Plain)
            {
                console.WriteLine(text);
            }
        }

        using ComparisonSources sources = new(Path.Combine(folder, "tokens"), arguments.GetValue(s_data) ?? [], Report, stop.Token);
        ComparisonPlan plan = ComparisonPlan.Create(config, sources);
        RunScreen.Warn(plan.Runs.SelectMany(run => DecodingLimits.LossWarnings(run.Config.Model!)).Distinct()); // a planned run has a model
        if (style is TerminalStyle.Live or TerminalStyle.Plain)
        {
            ComparisonScreen.ShowSizes(console, plan);
        }

        return Train(arguments, plan, sources, folder, jobs, new ComparisonScreen(console, style), stop.Token);
    }

    private static int Train(ParseResult arguments, ComparisonPlan plan, ComparisonSources sources, string folder, int jobs, ComparisonScreen screen, CancellationToken stop)
    {
        PlannedRun[] wanted = Wanted(plan, arguments.GetValue(s_only) ?? []);
        RequireMemory(wanted, jobs);
        ComparisonProgress progress = new(wanted, ComparisonRunner.ReadFinished(plan, folder), jobs, TimeProvider.System);
        bool isComplete = screen.Watch(progress, () => new ComparisonRunner(plan, sources, folder, progress, TimeProvider.System).Run(wanted, jobs, stop));
        ComparisonResult result = new(plan, ComparisonRunner.ReadFinished(plan, folder), progress.Failures, jobs);
        Directory.CreateDirectory(folder);
        ComparisonReport.Write(folder, result);
        if (screen.IsJson)
        {
            JsonDocumentOutput.Write(json => ComparisonDocument.Write(json, result, folder));
        }
        else
        {
            screen.ShowResult(result, folder);
        }

        return !isComplete ? CommandLine.Interrupted : result.Failed.Count > 0 ? CommandLine.Failed : CommandLine.Done;
    }

    // A system that runs out of memory ends some program, not necessarily this one.
    private static void RequireMemory(PlannedRun[] wanted, int jobs)
    {
        long[] needs = [.. wanted.DistinctBy(run => (run.Condition.Corpus.Name, run.Architecture.Name)).Select(run => ModelSize.Of(run.Config.Model!).Memory(run.Config.Batch.SequenceLength).Training)]; // a planned run has a model
        double bytes = (double)needs.Max() * Math.Min(jobs, wanted.Length);
        long free = MachineMemory.FreeBytes();
        if (bytes > free)
        {
            throw new ConfigurationException($"{Math.Min(jobs, wanted.Length)} run(s) at once need up to {MemoryNotice.Gigabytes((long)Math.Min(bytes, long.MaxValue))}, {MemoryNotice.Gigabytes(free)} are free. Use fewer --jobs, or smaller models.");
        }
    }

    private static ComparisonConfig ReadConfig(ParseResult arguments)
    {
        ComparisonConfig config = ComparisonConfigJson.Load(arguments.GetRequiredValue(s_config));
        if (arguments.GetValue(s_seeds) is { } seeds)
        {
            config = config with { Seeds = [.. Numbers("--seeds", seeds).Select(seed => (ulong)seed)] };
        }

        if (arguments.GetValue(s_steps) is { } steps)
        {
            config = config with { Steps = Numbers("--steps", steps) };
            if (config.Steps.Contains(0))
            {
                throw new ConfigurationException($"--steps {steps}: a run needs at least 1 step.");
            }
        }

        return config;
    }

    private static PlannedRun[] Wanted(ComparisonPlan plan, string[] only)
    {
        string[] names = [.. plan.Config.Architectures.Select(architecture => architecture.Name)];
        foreach (string name in only.Where(name => !names.Contains(name)))
        {
            throw new ConfigurationException($"--only {name}: there is no such architecture{SpellingSuggestion.Hint(name, names)}. The experiment has {string.Join(", ", names)}.");
        }

        return [.. plan.Runs.Where(run => only.Length == 0 || only.Contains(run.Architecture.Name))];
    }

    /// <summary>Reads <c>2-6</c>, <c>2,5,9</c> and mixtures of both.</summary>
    private static long[] Numbers(string option, string text)
    {
        List<long> numbers = [];
        foreach (string part in text.Split(','))
        {
            string[] ends = part.Split('-');
            bool isRange = ends.Length is 1 or 2;
            long first = 0;
            long last = 0;
            isRange = isRange && long.TryParse(ends[0], NumberStyles.None, CultureInfo.InvariantCulture, out first) && long.TryParse(ends[^1], NumberStyles.None, CultureInfo.InvariantCulture, out last);
            if (!isRange || last < first || last - first >= MostSeeds)
            {
                throw new ConfigurationException($"{option} {text}: '{part}' is neither a number nor a range of at most {MostSeeds} numbers, such as 2-6.");
            }

            for (long number = first; number <= last; number++)
            {
                numbers.Add(number);
            }
        }

        return [.. numbers.Distinct()];
    }
}
