using System.Diagnostics;
using System.Globalization;
using MoeSharp.Training;

namespace MoeSharp.Cli.Training;

/// <summary>Prints a line now and then: for files, pipes and continuous integration.</summary>
internal sealed class PlainTrainingView(TextWriter output, string name, double peakGflops) : ITrainingView
{
    private const double SecondsBetweenLines = 5;

    private readonly TimeLeft _timeLeft = new();
    private readonly Stopwatch _clock = Stopwatch.StartNew();
    private double _lastLine = double.NegativeInfinity;

    /// <inheritdoc/>
    public void Stepped(in StepMetrics metrics, LoadTable load)
    {
        double now = _clock.Elapsed.TotalSeconds;
        double? left = _timeLeft.Seconds(now, metrics.Progress);
        if (now - _lastLine < SecondsBetweenLines && metrics.Progress < 1)
        {
            return;
        }

        _lastLine = now;
        string router = load.NumLayers == 0
            ? ""
            : string.Create(CultureInfo.InvariantCulture, $"  balance {TrainingFigures.Balance(metrics)}  fullest {metrics.LoadMaxOverMean:0.0}x  dead {metrics.NumDeadExperts}");
        output.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{name}  step {metrics.Step}  {100 * metrics.Progress:0} %  loss {metrics.Loss:0.000}{router}  grad {metrics.GradientNorm:0.00}  lr {metrics.LearningRate:0.0e+0}  {TrainingFigures.Count(metrics.TokensPerSecond)} tokens/s  {TrainingFigures.Speed(metrics, peakGflops)}  left {(left is { } seconds ? TrainingFigures.Time(seconds) : "?")}"));
    }

    /// <inheritdoc/>
    public void Validated(in ValidationResult result) =>
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{name}  step {result.Step}  validation loss {result.Loss:0.000}, {result.BitsPerByte:0.000} bits per byte"));

    /// <inheritdoc/>
    public void Alarmed(RoutingAlarm alarm) => output.WriteLine($"{name}  {(alarm.IsRecovery ? "" : "WARNING: ")}{alarm.Message}");

    /// <summary>Prints a line of the model that is trained beside this one.</summary>
    public void Companion(string line) => output.WriteLine(line);

    /// <inheritdoc/>
    public void Saved(string path) => output.WriteLine($"{name}  saved {path}");
}

/// <summary>Shows nothing.</summary>
internal sealed class SilentTrainingView : ITrainingView
{
    /// <inheritdoc/>
    public void Stepped(in StepMetrics metrics, LoadTable load)
    {
    }

    /// <inheritdoc/>
    public void Validated(in ValidationResult result)
    {
    }

    /// <inheritdoc/>
    public void Alarmed(RoutingAlarm alarm)
    {
    }

    /// <inheritdoc/>
    public void Saved(string path)
    {
    }
}
