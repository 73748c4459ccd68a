using System.CommandLine;
using System.Globalization;
using MoeSharp.Cli.Training;
using MoeSharp.Data;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Training;

namespace MoeSharp.Cli.Commands;

/// <summary><c>moe train</c>: trains a model on the user's text, or goes on with a run.</summary>
internal static class TrainCommand
{
    private const string DefaultPreset = "starter";
    private const int NumSamples = 4; // texts that the model writes at the end

    private static readonly Option<string[]> s_data = new("--data", "-d") { Description = "Files, folders or globs of .txt and .jsonl text in UTF-8.", AllowMultipleArgumentsPerToken = true };
    private static readonly Option<string> s_textField = new("--text-field") { Description = "Field of a .jsonl line that holds its text (default: text)." };
    private static readonly Option<string> s_separator = new("--separator") { Description = "A line between documents in text files, for example <|endoftext|> (default: each file is one document)." };
    private static readonly Option<string> s_tokenizer = new("--tokenizer") { Description = "tokenizer.json or a folder with one; without it, one is trained on the text." };
    private static readonly Option<int?> s_vocabSize = new("--vocab-size") { Description = "Tokens of the tokenizer that is trained." };
    private static readonly Option<string> s_preset = new("--preset") { Description = $"Named experiment or architecture (default: {DefaultPreset})." };
    private static readonly Option<string> s_config = new("--config") { Description = "Experiment in a JSON file; comments are allowed." };
    private static readonly Option<string[]> s_set = new("--set") { Description = "A setting, for example optimizer.weight_decay=0.05; may be repeated." };
    private static readonly Option<string> s_out = new("--out", "-o") { Description = "Folder of the new run (default: runs/DATE-TIME)." };
    private static readonly Option<string> s_resume = new("--resume") { Description = "Goes on with the run in this folder, bit for bit." };
    private static readonly Option<string> s_cache = new("--cache") { Description = "Where tokenizers and token shards are kept for the next run (default: tokens/ beside the run)." };
    private static readonly Option<double?> s_minutes = new("--minutes") { Description = "Most minutes to train; short for --set budget.minutes=N." };
    private static readonly Option<long?> s_steps = new("--steps") { Description = "Most steps to train; short for --set budget.steps=N." };
    private static readonly Option<ulong?> s_seed = new("--seed") { Description = "Seed of weights and data order; short for --set seed=N." };
    private static readonly Option<int> s_threads = RunOptions.Threads();
    private static readonly Option<bool> s_quiet = RunOptions.Quiet();
    private static readonly Option<bool> s_json = RunOptions.Json();

    /// <summary>Builds the verb.</summary>
    public static Command Create()
    {
        Command command = new("train", "Trains a model on your text, or goes on with a run (--resume).");
        foreach (Option option in (Option[])[s_data, s_textField, s_separator, s_tokenizer, s_vocabSize, s_preset, s_config, s_set, s_out, s_resume, s_cache, s_minutes, s_steps, s_seed, s_threads, s_quiet, s_json])
        {
            command.Options.Add(option);
        }

        command.SetAction(Run);
        return command;
    }

    private static int Run(ParseResult arguments)
    {
        TerminalStyle style = RunTerminal.StyleOf(arguments.GetValue(s_quiet), arguments.GetValue(s_json));
        int threads = RunOptions.CheckThreads(arguments.GetValue(s_threads));
        using Interruption stop = new(RunOptions.StopNotice);
        using WorkerPool workers = new(threads);
        RunScreen screen = new(style, workers);
        return arguments.GetValue(s_resume) is { } resume
            ? Resume(arguments, resume, screen, stop.Token)
            : Begin(arguments, screen, stop.Token);
    }

    private static int Begin(ParseResult arguments, RunScreen screen, CancellationToken stop)
    {
        string[] data = arguments.GetValue(s_data) ?? [];
        if (data.Length == 0)
        {
            throw new ConfigurationException("there is no text to train on. Give files, folders or globs with --data, or go on with a run by --resume RUN.");
        }

        TrainingConfig config = ReadConfig(arguments);
        TextSources source = TextSources.Expand(data, new TextSourceOptions { JsonField = config.Data.TextField, Separator = config.Data.Separator, TaskFrom = config.Data.TaskFrom });
        string path = arguments.GetValue(s_out) ?? RunTerminal.NewRunPath("train");
        RunFolder run = RunFolder.Create(path, RunOptions.TrainCommand, TimeProvider.System);
        string cache = arguments.GetValue(s_cache) ?? Path.Combine(Path.GetDirectoryName(Path.GetFullPath(path)) ?? ".", "tokens");
        using TrainingText text = TrainingText.Prepare(source, arguments.GetValue(s_tokenizer), config.Data, cache, screen.Report, stop);
        RunScreen.Warn(text.Dataset.Warnings);
        BalanceLine.Report(config, screen);
        return Train(screen, run, text, view => TrainingSession.Begin(run, config, text, screen.Options(view)), stop);
    }

    private static int Resume(ParseResult arguments, string path, RunScreen screen, CancellationToken stop)
    {
        foreach (Option option in (Option[])[s_data, s_textField, s_separator, s_tokenizer, s_vocabSize, s_preset, s_config, s_set, s_out, s_cache, s_minutes, s_steps, s_seed])
        {
            if (arguments.GetResult(option) is not null)
            {
                throw new ConfigurationException($"{option.Name} cannot be combined with --resume: a run goes on with the configuration and the text that it was started with.");
            }
        }

        RunFolder run = RunFolder.Open(path);
        if (run.Description["command"]?.GetValue<string>() == RunOptions.QuickstartCommand)
        {
            throw new ConfigurationException($"{path} is a run of {RunOptions.QuickstartCommand}, which trains two models side by side by one clock; it cannot be gone on with. Start a longer one with --minutes, or a run of your own with moe train.");
        }

        using TrainingText text = TrainingText.Open(TrainingSession.TextFolderOf(run));
        BalanceLine.Report(run.ReadConfig(), screen);
        return Train(screen, run, text, view => TrainingSession.Resume(run, text, screen.Options(view)), stop);
    }

    private static int Train(RunScreen screen, RunFolder run, TrainingText text, Func<ITrainingView, TrainingSession> open, CancellationToken stop)
    {
        TrainingSession? session = null;
        try
        {
            bool isComplete = screen.Watch($"{run.Path}", "train", view =>
            {
                session = open(view);
                RunScreen.Warn(session.Damaged.Select(damaged => $"{damaged.Folder} is damaged ({damaged.Reason}); it is not used"));
                RunScreen.Warn(DecodingLimits.LossWarnings(session.Model.Config));
                return session.Trainer.Run(stop);
            });
            IReadOnlyList<ExamplePrompt> prompts = isComplete ? HeldOutPrompts.Choose(text.Dataset, text.Tokenizer, NumSamples) : [];
            RunResult result = new(run.Path, session!.Trainer.State, text.Dataset.Baselines) // Watch has run the work
            {
                Tasks = [.. TaskTokens.In(text.Tokenizer).Select(task => task.Name)],
                Alarms = MetricsLog.Alarms(MetricsLog.Read(run.Path)),
                CanWrite = DecodingLimits.Refusal(session.Model.Config) is null,
                Samples = WrittenSamples.Write(session.Model, text.Tokenizer, prompts, screen.Workers, stop),
            };
            RunPage.Write(run, result, session, screen);
            Show(screen, result, isComplete);
            return isComplete ? CommandLine.Done : CommandLine.Interrupted;
        }
        finally
        {
            session?.Dispose();
        }
    }

    private static void Show(RunScreen screen, RunResult result, bool isComplete)
    {
        if (screen.IsJson)
        {
            RunResult.Print(result.ToJson());
            return;
        }

        string verb = isComplete ? "Trained" : "Stopped after";
        screen.Say(string.Create(CultureInfo.InvariantCulture, $"{verb} {result.State.Step} steps, {TrainingFigures.Count(result.State.Tokens)} tokens, {TrainingFigures.Count(result.TokensPerSecond)} tokens/s."));
        if (result.State.Validation is { } validation)
        {
            screen.Say(string.Create(CultureInfo.InvariantCulture, $"Validation: [bold]{validation.BitsPerByte:0.000} bits per byte[/] (loss {validation.Loss:0.000} nats per token). Unigram {result.Baselines.UnigramBitsPerByte:0.000}, bigram {result.Baselines.BigramBitsPerByte:0.000} bits per byte."));
        }

        screen.ShowAlarms(result.Alarms);
        WrittenSamples.Show(screen, result.Samples);
        screen.Say($"\nReport: {Spectre.Console.Markup.Escape(Path.Combine(result.Run, "report.html"))}");
        screen.Say(isComplete
            ? "Next:   " + Spectre.Console.Markup.Escape(result.NextCommand)
            : "Go on:  " + Spectre.Console.Markup.Escape(TypedCommand.Of("train", "--resume", result.Run)));
    }

    private static TrainingConfig ReadConfig(ParseResult arguments)
    {
        List<string> settings = [.. arguments.GetValue(s_set) ?? []];
        AddSetting(settings, "data.text_field", Quoted(arguments.GetValue(s_textField)));
        AddSetting(settings, "data.separator", Quoted(arguments.GetValue(s_separator)));
        AddSetting(settings, "data.vocab_size", arguments.GetValue(s_vocabSize)?.ToString(CultureInfo.InvariantCulture));
        AddSetting(settings, "budget.minutes", arguments.GetValue(s_minutes)?.ToString(CultureInfo.InvariantCulture));
        AddSetting(settings, "budget.steps", arguments.GetValue(s_steps)?.ToString(CultureInfo.InvariantCulture));
        AddSetting(settings, "seed", arguments.GetValue(s_seed)?.ToString(CultureInfo.InvariantCulture));
        if (arguments.GetValue(s_tokenizer) is not null && arguments.GetResult(s_vocabSize) is not null)
        {
            throw new ConfigurationException("--vocab-size is for a tokenizer that is trained; --tokenizer gives one. Leave one of them out.");
        }

        string? file = arguments.GetValue(s_config);
        return TrainingConfigJson.Load(arguments.GetValue(s_preset) ?? (file is null ? DefaultPreset : null), file, settings);
    }

    private static string? Quoted(string? text) => text is null ? null : System.Text.Json.Nodes.JsonValue.Create(text).ToJsonString();

    private static void AddSetting(List<string> settings, string key, string? value)
    {
        if (value is not null)
        {
            settings.Add($"{key}={value}");
        }
    }
}
