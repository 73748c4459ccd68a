using System.Diagnostics;
using System.Globalization;
using MoeSharp.Training;
using Spectre.Console;
using Spectre.Console.Rendering;
using ValidationResult = MoeSharp.Training.ValidationResult;

namespace MoeSharp.Cli.Training;

/// <summary>The picture of a run that redraws itself in the terminal: figures on top, loads of the experts below.</summary>
internal sealed class LiveTrainingView : ITrainingView
{
    private const double SecondsBetweenFrames = 0.25;
    private const int RowsAboveHeatmap = 13;
    private const int BarWidth = 40;

    private readonly IAnsiConsole _console;
    private readonly LiveDisplayContext _display;
    private readonly string _title;
    private readonly double _peakGflops;
    private readonly TimeLeft _timeLeft = new();
    private readonly Stopwatch _clock = Stopwatch.StartNew();
    private double _lastFrame = double.NegativeInfinity;
    private ValidationResult? _validation;
    private string _saved = "";
    private RoutingAlarm? _alarm;

    private LiveTrainingView(IAnsiConsole console, LiveDisplayContext display, string title, double peakGflops) =>
        (_console, _display, _title, _peakGflops) = (console, display, title, peakGflops);

    /// <summary>One line more, for a run that is trained beside this one.</summary>
    public string Companion { get; set; } = "";

    /// <summary>Keeps the picture on the terminal while the work runs.</summary>
    public static T Show<T>(IAnsiConsole console, string title, double peakGflops, Func<LiveTrainingView, T> work) =>
        console.Live(new Text("")).AutoClear(false).Overflow(VerticalOverflow.Crop).Start(display => work(new LiveTrainingView(console, display, title, peakGflops)));

    /// <inheritdoc/>
    public void Stepped(in StepMetrics metrics, LoadTable load)
    {
        double now = _clock.Elapsed.TotalSeconds;
        if (now - _lastFrame < SecondsBetweenFrames && metrics.Progress < 1)
        {
            return;
        }

        _lastFrame = now;
        _display.UpdateTarget(Draw(metrics, load, _timeLeft.Seconds(now, metrics.Progress)));
    }

    /// <inheritdoc/>
    public void Validated(in ValidationResult result) => _validation = result;

    /// <inheritdoc/>
    public void Alarmed(RoutingAlarm alarm) => _alarm = alarm;

    /// <inheritdoc/>
    public void Saved(string path) => _saved = path;

    private Rows Draw(in StepMetrics metrics, LoadTable load, double? secondsLeft)
    {
        int filled = (int)(BarWidth * metrics.Progress);
        string left = secondsLeft is { } seconds ? TrainingFigures.Time(seconds) : "?";
        List<IRenderable> rows =
        [
            new Markup($"[bold]{Markup.Escape(_title)}[/]"),
            new Markup(string.Create(CultureInfo.InvariantCulture, $"[deepskyblue3]{new string('\u2501', filled)}[/][grey30]{new string('\u2501', BarWidth - filled)}[/] {100 * metrics.Progress:0} %   {TrainingFigures.Time(_clock.Elapsed.TotalSeconds)} gone, {left} left")),
            Figures(metrics, load.NumLayers > 0),
        ];
        if (Companion.Length > 0)
        {
            rows.Add(new Markup(Markup.Escape(Companion)));
        }

        if (_alarm is { } alarm)
        {
            rows.Add(new Markup($"[{(alarm.IsRecovery ? "green" : "red")}]{Markup.Escape(alarm.Message)}[/]"));
        }

        if (load.NumLayers > 0)
        {
            string dead = metrics.NumDeadExperts == 0 ? "no dead expert" : $"[red]{metrics.NumDeadExperts} dead experts[/]";
            rows.Add(new Markup(string.Create(CultureInfo.InvariantCulture, $"\n[bold]Experts[/]  fullest {metrics.LoadMaxOverMean:0.0}x the mean, {dead}")));
            rows.Add(new Markup(LoadPicture.Markup(load, _console.Profile.Width, Math.Max(4, _console.Profile.Height - RowsAboveHeatmap))));
            rows.Add(new Markup(LoadPicture.Legend()));
        }

        return new Rows(rows);
    }

    private Table Figures(in StepMetrics metrics, bool hasExperts)
    {
        Table table = new Table().NoBorder().HideHeaders().AddColumn("").AddColumn("").AddColumn("").AddColumn("");
        string validation = _validation is { } result
            ? string.Create(CultureInfo.InvariantCulture, $"{result.BitsPerByte:0.000} bits per byte (step {result.Step})")
            : "not yet";
        table.AddRow("[grey62]step[/]", TrainingFigures.Count(metrics.Step), "[grey62]tokens[/]", TrainingFigures.Count(metrics.Tokens));
        table.AddRow("[grey62]LM loss[/]", string.Create(CultureInfo.InvariantCulture, $"[bold]{metrics.Loss:0.000}[/] nats per token"), "[grey62]validation[/]", validation);
        table.AddRow("[grey62]balance loss[/]", hasExperts ? TrainingFigures.Balance(metrics) + " (1 = balanced)" : "no experts", "[grey62]gradient norm[/]", metrics.GradientNorm.ToString("0.00", CultureInfo.InvariantCulture));
        table.AddRow("[grey62]tokens/s[/]", TrainingFigures.Count(metrics.TokensPerSecond), "[grey62]speed[/]", TrainingFigures.Speed(metrics, _peakGflops));
        table.AddRow("[grey62]learning rate[/]", metrics.LearningRate.ToString("0.00e+0", CultureInfo.InvariantCulture), "[grey62]saved[/]", Markup.Escape(_saved.Length == 0 ? "not yet" : _saved));
        return table;
    }
}
