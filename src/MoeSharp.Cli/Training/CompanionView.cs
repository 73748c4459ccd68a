using System.Globalization;
using MoeSharp.Training;

namespace MoeSharp.Cli.Training;

/// <summary>Shows the dense companion of a quickstart as one line in the other model's picture; plain terminals get its validations.</summary>
internal sealed class CompanionView(ITrainingView main, double peakGflops) : ITrainingView
{
    private string _validation = "";

    /// <inheritdoc/>
    public void Stepped(in StepMetrics metrics, LoadTable load)
    {
        if (main is LiveTrainingView live)
        {
            live.Companion = string.Create(CultureInfo.InvariantCulture, $"dense model of the same activated FLOPs: loss {metrics.Loss:0.000}, {TrainingFigures.Count(metrics.TokensPerSecond)} tokens/s, {TrainingFigures.Speed(metrics, peakGflops)}{_validation}");
        }
    }

    /// <inheritdoc/>
    public void Validated(in ValidationResult result)
    {
        _validation = string.Create(CultureInfo.InvariantCulture, $", {result.BitsPerByte:0.000} bits per byte");
        if (main is PlainTrainingView plain)
        {
            plain.Companion($"dense  step {result.Step}{_validation}");
        }
    }

    /// <inheritdoc/>
    public void Alarmed(RoutingAlarm alarm)
    {
        // a dense model has no experts
    }

    /// <inheritdoc/>
    public void Saved(string path)
    {
    }
}
