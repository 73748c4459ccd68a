using System.Globalization;
using MoeSharp.Execution;
using MoeSharp.Training;

namespace MoeSharp.Cli.Training;

/// <summary>A step's figures as text, the same in all views.</summary>
internal static class TrainingFigures
{
    /// <summary>Rate of arithmetic, as a share of the measured peak when that is known.</summary>
    public static string Speed(in StepMetrics metrics, double peakGflops) => peakGflops > 0
        ? string.Create(CultureInfo.InvariantCulture, $"{metrics.Gflops:0} GFLOP/s = {100 * metrics.Gflops / peakGflops:0} % of the FMA peak ({peakGflops:0})")
        : string.Create(CultureInfo.InvariantCulture, $"{metrics.Gflops:0} GFLOP/s");

    /// <summary>Router losses that are on, each by itself.</summary>
    public static string Balance(in StepMetrics metrics)
    {
        string text = string.Create(CultureInfo.InvariantCulture, $"{metrics.Losses[AuxiliaryLoss.ExpertLevel]:0.000}");
        for (AuxiliaryLoss kind = AuxiliaryLoss.ExpertLevel + 1; (int)kind < AuxiliaryLosses.Count; kind++)
        {
            if (metrics.Losses[kind] != 0)
            {
                string name = AuxiliaryLossNames.Of(kind).Replace("_loss", "", StringComparison.Ordinal).Replace('_', ' ');
                text += string.Create(CultureInfo.InvariantCulture, $", {name} {metrics.Losses[kind]:0.000}");
            }
        }

        return text;
    }

    /// <summary>A duration in minutes and seconds.</summary>
    public static string Time(double seconds) => seconds < 3600
        ? string.Create(CultureInfo.InvariantCulture, $"{(int)seconds / 60}:{(int)seconds % 60:00}")
        : string.Create(CultureInfo.InvariantCulture, $"{(int)(seconds / 3600)}:{(int)(seconds / 60) % 60:00}:{(int)seconds % 60:00}");

    /// <summary>A count with thousands separators.</summary>
    public static string Count(double count) => count.ToString("#,0", CultureInfo.InvariantCulture);
}

/// <summary>Estimates the time that is left from the progress of the last minute.</summary>
internal sealed class TimeLeft
{
    private const double WindowSeconds = 60; // long enough to be steady, short enough to follow a machine that gets busy

    private readonly Queue<(double Seconds, double Progress)> _window = new();

    /// <summary>Seconds left, or null before there is anything to go by.</summary>
    public double? Seconds(double now, double progress)
    {
        _window.Enqueue((now, progress));
        while (_window.Count > 2 && now - _window.Peek().Seconds > WindowSeconds)
        {
            _window.Dequeue();
        }

        (double then, double before) = _window.Peek();
        return progress > before ? (now - then) * (1 - progress) / (progress - before) : null;
    }
}
