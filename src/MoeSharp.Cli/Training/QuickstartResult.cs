using System.Globalization;
using System.Text.Json.Nodes;
using MoeSharp.Analysis;
using MoeSharp.Data;
using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Tokenization;
using MoeSharp.Training;
using MoeSharp.Training.Report;
using Spectre.Console;

namespace MoeSharp.Cli.Training;

/// <summary>What a quickstart shows at its end: figures, comparison, texts, and which tokens the experts take.</summary>
internal sealed class QuickstartResult
{
    private const long LiftTokens = 32768;
    private const int TokensPerExpert = 8;
    private const long MinLiftCount = 12; // slots below which a lift is chance (arbitrary)

    private readonly QuickstartRun _quickstart;
    private readonly RunResult _result;
    private readonly ExpertGain _gain;
    private readonly ReportTable _experts;

    private QuickstartResult(QuickstartRun quickstart, RunResult result, ExpertGain gain, ReportTable experts) =>
        (_quickstart, _result, _gain, _experts) = (quickstart, result, gain, experts);

    /// <summary>Writes the texts and counts the experts' tokens.</summary>
    public static QuickstartResult Of(RunFolder run, QuickstartRun quickstart, TrainingText text, SyntheticCorpus corpus, WorkerPool workers) => new(
        quickstart,
        new RunResult(run.Path, quickstart.Moe.Trainer.State, text.Dataset.Baselines)
        {
            Alarms = MetricsLog.Alarms(MetricsLog.Read(run.Path)),
            Samples = WrittenSamples.Write(quickstart.Moe.Model, text.Tokenizer, corpus.ExamplePrompts(), workers, CancellationToken.None),
        },
        ExpertGain.Of(quickstart.Curve),
        ExpertTable(quickstart, text, workers));

    /// <summary>Writes report.html and the result section of run.json.</summary>
    public void Write(RunFolder run, RunScreen screen)
    {
        run.Description["result"] = ToJson();
        run.Write();
        List<ReportTile> tiles = RunPage.Tiles(_result, screen.PeakGflops);
        tiles.Insert(1, new ReportTile(RunScreen.Fixed(_gain.DenseBitsPerByte, 3), "bits per byte of the dense model"));
        RunReport.Write(run.Path, new ReportContent
        {
            Title = "MoeSharp quickstart",
            Subtitle = RunPage.Describe(_quickstart.Moe.Model.Config),
            Tiles = tiles,
            Findings = [.. _gain.Sentences()],
            Runs = [new ReportRun("DeepSeekMoE", [.. MetricsLog.Read(run.Path)]) { Loads = [.. LoadLog.Read(run.Path)] }, new ReportRun("dense", [.. MetricsLog.Read(Path.Combine(run.Path, "dense"))])],
            Baselines = RunPage.BaselinesOf(_result),
            Samples = _result.Samples,
            Tables = [_experts],
            Commands = Commands(),
        });
    }

    /// <summary>Prints everything, or the JSON document.</summary>
    public void Show(RunScreen screen, double secondsInAll)
    {
        if (screen.IsJson)
        {
            RunResult.Print(ToJson());
            return;
        }

        screen.Say("");
        screen.Say(Figures(secondsInAll));
        foreach (string sentence in _gain.Sentences())
        {
            screen.Say(Markup.Escape(sentence));
        }

        screen.ShowAlarms(_result.Alarms);
        WrittenSamples.Show(screen, _result.Samples);
        screen.Say($"\n[bold]{Markup.Escape(_experts.Title)}[/]: {Markup.Escape(_experts.Note)}");
        Table table = new Table().Border(TableBorder.Simple);
        foreach (string heading in _experts.Headings)
        {
            table.AddColumn(heading.TrimEnd('#'));
        }

        foreach (IReadOnlyList<string> row in _experts.Rows)
        {
            table.AddRow([.. row.Select(Markup.Escape)]);
        }

        screen.Say(table);
        screen.Say($"Report:  {Markup.Escape(Path.Combine(_result.Run, RunReport.FileName))}\n\nNext:");
        foreach (string command in Commands())
        {
            screen.Say("  " + Markup.Escape(command));
        }
    }

    private JsonObject ToJson()
    {
        JsonObject json = _result.ToJson();
        TrainingState dense = _quickstart.Dense.Trainer.State;
        json["dense"] = new RunResult(Path.Combine(_result.Run, "dense"), dense, _result.Baselines).ToJson();
        json["experts_bought"] = new JsonObject
        {
            ["bits_per_byte_at_equal_tokens"] = _gain.PerToken,
            ["bits_per_byte_at_equal_seconds"] = _gain.EqualSeconds is { } equal ? equal.DenseBitsPerByte - equal.MoeBitsPerByte : null,
            ["step_time_ratio"] = _gain.TimeRatio,
        };
        return json;
    }

    private Table Figures(double secondsInAll)
    {
        Table table = new Table().Border(TableBorder.Simple).AddColumn("held-out text").AddColumn(new TableColumn("bits per byte").RightAligned()).AddColumn("");
        void Row(string name, double bits, string note) => table.AddRow(name, RunScreen.Fixed(bits, 3), note);
        Row("unigram baseline", _result.Baselines.UnigramBitsPerByte, "byte frequencies");
        Row("bigram baseline", _result.Baselines.BigramBitsPerByte, "byte pairs");
        Row("dense model", _gain.DenseBitsPerByte, Markup.Escape(RunPage.Describe(_quickstart.Dense.Model.Config)));
        Row("[bold]DeepSeekMoE[/]", _gain.MoeBitsPerByte, Markup.Escape(RunPage.Describe(_quickstart.Moe.Model.Config)));
        return table.Caption(string.Create(CultureInfo.InvariantCulture, $"{TrainingFigures.Count(_result.State.Tokens)} tokens each, in the same order; {TrainingFigures.Count(_result.TokensPerSecond)} tokens/s with experts; {TrainingFigures.Time(secondsInAll)} in all"));
    }

    private static ReportTable ExpertTable(QuickstartRun quickstart, TrainingText text, WorkerPool workers)
    {
        int sequence = 128;
        using ForwardContext context = new(workers);
        SequentialBatches batches = new(text.Dataset.Validation, sequence, 8, LiftTokens);
        TokenLift layer = TokenLift.Measure(quickstart.Moe.Model, batches, context).MaxBy(lift => lift.MutualInformation())!; // the model has experts
        List<IReadOnlyList<string>> rows = [];
        for (int expert = 0; expert < layer.NumExperts; expert++)
        {
            IEnumerable<string> tokens = layer.Top(expert, TokensPerExpert, MinLiftCount).Select(token => string.Create(CultureInfo.InvariantCulture, $"{Show(text.Tokenizer, token.Token)} x{token.Lift:0}"));
            rows.Add([expert.ToString(CultureInfo.InvariantCulture), string.Create(CultureInfo.InvariantCulture, $"{100 * layer.Share(expert):0.0} %"), string.Join("  ", tokens)]);
        }

        return new ReportTable(
            $"Which tokens the experts of layer {layer.Layer} take",
            string.Create(CultureInfo.InvariantCulture, $"by lift, p(token | expert) / p(token), over {layer.NumSlots} slots of held-out text; the layer whose choices tell most about the token ({layer.MutualInformation():0.00} bits per slot)"),
            ["expert#", "load#", "tokens (x lift)"],
            rows);
    }

    /// <summary>A token in quotes, with blanks and line breaks visible; incomplete characters as their bytes.</summary>
    private static string Show(Tokenizer tokenizer, int id)
    {
        string decoded = tokenizer.Decode([id], skipSpecialTokens: false);
        string shown = decoded.Contains('\ufffd') ? "<" + Convert.ToHexString(tokenizer.TokenBytes(id)) + ">" : decoded;
        return $"'{WrittenSamples.OneLine(shown)}'";
    }

    private List<string> Commands() =>
    [
        _result.GenerateCommand,
        TypedCommand.Of("train", "--data", "your.txt", "--out", "runs/mine"),
    ];
}
