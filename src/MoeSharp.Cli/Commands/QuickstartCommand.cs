using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using MoeSharp.Cli.Training;
using MoeSharp.Data;
using MoeSharp.Kernels;
using MoeSharp.Training;

namespace MoeSharp.Cli.Commands;

/// <summary><c>moe quickstart</c>: in minutes, from nothing to a DeepSeekMoE that writes, beside a dense model of the same activated FLOPs.</summary>
internal static class QuickstartCommand
{
    private const string Preset = "quickstart";
    private const double DefaultMinutes = 2.75; // leaves a margin below three minutes for start-up and a busy machine
    private const ulong CorpusSeed = 7;
    private const long CorpusBytes = 6_000_000;
    private const double ShareForTheEnd = 0.1; // of the whole time: the last measurement, texts, tables, report

    private static readonly Option<double> s_minutes = new("--minutes") { Description = "Minutes in all, from start to result.", DefaultValueFactory = _ => DefaultMinutes };
    private static readonly Option<long?> s_steps = new("--steps") { Description = "Trains this many steps instead, however long they take: reproducible." };
    private static readonly Option<string> s_out = new("--out", "-o") { Description = "Folder of the new run (default: runs/quickstart-DATE-TIME)." };
    private static readonly Option<string[]> s_set = new("--set") { Description = "A setting of the experiment, for example schedule.learning_rate=3e-3; may be repeated." };
    private static readonly Option<ulong?> s_seed = new("--seed") { Description = "Seed of weights and data order." };
    private static readonly Option<int> s_threads = RunOptions.Threads();
    private static readonly Option<bool> s_quiet = RunOptions.Quiet();
    private static readonly Option<bool> s_json = RunOptions.Json();

    /// <summary>Builds the verb.</summary>
    public static Command Create()
    {
        Command command = new("quickstart", "Trains a small DeepSeekMoE and its dense companion on the embedded corpus, and shows what came out.");
        foreach (Option option in (Option[])[s_minutes, s_steps, s_out, s_set, s_seed, s_threads, s_quiet, s_json])
        {
            command.Options.Add(option);
        }

        command.SetAction(Run);
        return command;
    }

    private static int Run(ParseResult arguments)
    {
        Stopwatch clock = Stopwatch.StartNew();
        double startUp = (DateTime.Now - Process.GetCurrentProcess().StartTime).TotalSeconds;
        double seconds = 60 * CheckMinutes(arguments.GetValue(s_minutes));
        TrainingConfig config = ReadConfig(arguments);
        using Interruption stop = new(RunOptions.StopNotice);
        using WorkerPool workers = new(RunOptions.CheckThreads(arguments.GetValue(s_threads)));
        RunScreen screen = new(RunTerminal.StyleOf(arguments.GetValue(s_quiet), arguments.GetValue(s_json)), workers);
        string path = arguments.GetValue(s_out) ?? RunTerminal.NewRunPath(Preset);
        RunFolder run = RunFolder.Create(path, RunOptions.QuickstartCommand, TimeProvider.System);

        screen.Report("generating the corpus");
        SyntheticCorpus corpus = new(CorpusSeed);
        DocumentList source = new([.. corpus.Documents(CorpusBytes)], $"embedded corpus, seed {CorpusSeed}, {CorpusBytes} bytes");
        string cache = Path.Combine(Path.GetDirectoryName(Path.GetFullPath(path)) ?? ".", "tokens");
        using TrainingText text = TrainingText.Prepare(source, null, config.Data, cache, screen.Report, stop.Token);

        BalanceLine.Report(config, screen);
        double left = (seconds * (1 - ShareForTheEnd)) - startUp - clock.Elapsed.TotalSeconds;
        if (left <= 0 && arguments.GetValue(s_steps) is null)
        {
            throw new ConfigurationException(string.Create(CultureInfo.InvariantCulture, $"--minutes {seconds / 60:0.##} is used up by preparing the text ({clock.Elapsed.TotalSeconds:0} s). Give more, or try again: what was prepared is kept."));
        }

        QuickstartRun? quickstart = null;
        try
        {
            bool isComplete = screen.Watch($"quickstart in {path}", "moe", view =>
            {
                quickstart = QuickstartRun.Begin(run, config, text, screen, (view, new CompanionView(view, screen.PeakGflops)), left, arguments.GetValue(s_steps));
                return quickstart.Train(stop.Token);
            });
            if (!isComplete)
            {
                screen.Say($"Stopped and saved in {Spectre.Console.Markup.Escape(path)}.");
                return CommandLine.Interrupted;
            }

            QuickstartResult result = QuickstartResult.Of(run, quickstart!, text, corpus, workers); // Watch has run the work
            result.Write(run, screen);
            result.Show(screen, startUp + clock.Elapsed.TotalSeconds);
            return CommandLine.Done;
        }
        finally
        {
            quickstart?.Dispose();
        }
    }

    private static double CheckMinutes(double minutes) => minutes is > 0 and <= 1440
        ? minutes
        : throw new ConfigurationException(string.Create(CultureInfo.InvariantCulture, $"--minutes {minutes} must lie above 0 and not above 1440."));

    /// <summary>Refuses settings that a quickstart would ignore.</summary>
    private static string[] CheckSettings(string[] settings)
    {
        if (settings.FirstOrDefault(setting => TrainingConfigJson.IsFor("budget", setting)) is { } budget)
        {
            throw new ConfigurationException($"--set {budget}: a quickstart ends after --minutes or --steps; give one of these.");
        }

        return settings.FirstOrDefault(setting => TrainingConfigJson.IsFor("data.text_field", setting) || TrainingConfigJson.IsFor("data.separator", setting) || TrainingConfigJson.IsFor("data.task_from", setting)) is { } files
            ? throw new ConfigurationException($"--set {files}: a quickstart trains on the embedded corpus, which is in no file. Train on your own text with moe train.")
            : settings;
    }

    private static TrainingConfig ReadConfig(ParseResult arguments)
    {
        List<string> settings = ["validation.every_steps=0", "checkpoint.every_steps=0", .. CheckSettings(arguments.GetValue(s_set) ?? [])];
        if (arguments.GetValue(s_seed) is { } seed)
        {
            settings.Add(string.Create(CultureInfo.InvariantCulture, $"seed={seed}"));
        }

        settings.Add(arguments.GetValue(s_steps) is { } steps
            ? string.Create(CultureInfo.InvariantCulture, $"budget.steps={steps}")
            : string.Create(CultureInfo.InvariantCulture, $"budget.minutes={arguments.GetValue(s_minutes)}"));
        TrainingConfig config = TrainingConfigJson.Load(Preset, null, settings);
        return config.Model?.Moe is null
            ? throw new ConfigurationException("quickstart compares a model with experts to a dense one; the settings leave no experts.")
            : config;
    }
}
