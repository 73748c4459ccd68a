using System.Text.Json;
using MoeSharp.Checkpoints;

namespace MoeSharp.Training.Comparison;

/// <summary>A measurement on held-out lines or text during a run.</summary>
/// <param name="Step">Steps trained.</param>
/// <param name="Tokens">Tokens trained on.</param>
/// <param name="Score">Regret where the truth is known, else cross-entropy, nats.</param>
/// <param name="Recall">Share of favourites that are right, or not a number.</param>
public readonly record struct CurvePoint(long Step, long Tokens, double Score, double Recall);

/// <summary>What a finished run came to, read from its folder.</summary>
public sealed record RunOutcome
{
    /// <summary>The run.</summary>
    public required PlannedRun Run { get; init; }

    /// <summary>Measurements, the last one at the end of the run.</summary>
    public required IReadOnlyList<CurvePoint> Curve { get; init; }

    /// <summary>Cross-entropy at the end, nats per target.</summary>
    public required double Loss { get; init; }

    /// <summary>Median seconds of a step on one thread; other work of the machine hardly moves it.</summary>
    public required double StepSeconds { get; init; }

    /// <summary>Loads over all held-out data at the end; null without experts, or where they were not measured.</summary>
    public required LoadSummary? Load { get; init; }

    /// <summary>How soon the routers' choices were the final ones; empty where that was not kept.</summary>
    public IReadOnlyList<SaturationPoint> Saturation { get; init; } = [];

    /// <summary>What was said about collapsed experts during the run.</summary>
    public required IReadOnlyList<string> Alarms { get; init; }

    /// <summary>Score at the end.</summary>
    public double Score => Curve[^1].Score;

    /// <summary>Recall at the end.</summary>
    public double Recall => Curve[^1].Recall;

    /// <summary>Seconds of training: steps times the median step.</summary>
    public double Seconds => StepSeconds * Run.Condition.Steps;

    /// <summary>Reads the folder of a run.</summary>
    /// <param name="run">The run.</param>
    /// <param name="folder">Its folder.</param>
    /// <returns>The outcome, or null when the run is not finished.</returns>
    /// <exception cref="FileFormatException">A measurement of the run cannot be read.</exception>
    public static RunOutcome? Read(PlannedRun run, string folder)
    {
        if (!Directory.Exists(Path.Combine(folder, CheckpointStore.FolderName, $"step-{run.Condition.Steps}")))
        {
            return null; // the last thing that a run writes
        }

        try
        {
            return Read(run, folder, [.. MetricsLog.Read(folder)]);
        }
        catch (Exception error) when (error is KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw new FileFormatException($"{Path.Combine(folder, MetricsLog.FileName)}: a measurement cannot be read: {error.Message} Delete the folder to repeat the run.", error);
        }
    }

    private static RunOutcome? Read(PlannedRun run, string folder, JsonElement[] lines)
    {
        string score = lines.Any(line => line.TryGetProperty("validation_regret", out _)) ? "validation_regret" : "validation_loss";
        JsonElement[] measured = [.. lines.Where(line => line.TryGetProperty(score, out _))];
        JsonElement[] steps = [.. lines.Where(line => line.TryGetProperty("seconds", out _))];
        if (measured.Length == 0 || steps.Length == 0 || measured[^1].GetProperty("step").GetInt64() != run.Condition.Steps)
        {
            return null;
        }

        return new RunOutcome
        {
            Run = run,
            Curve = [.. measured.Select(line => new CurvePoint(line.GetProperty("step").GetInt64(), line.GetProperty("tokens").GetInt64(), Number(line, score), Number(line, "validation_recall")))],
            Loss = Number(measured[^1], "validation_loss"),
            StepSeconds = Median([.. steps.Select(line => Number(line, "seconds"))]),
            Load = LoadOf(measured[^1]),
            Alarms = MetricsLog.Alarms(lines),
            Saturation = RoutingHistory.Read(folder),
        };
    }

    private static LoadSummary? LoadOf(JsonElement line) =>
        Number(line, "validation_load_max_over_mean") is var ratio && double.IsNaN(ratio)
            ? null
            : new LoadSummary(ratio, (int)Number(line, "validation_idle_experts"), (int)Number(line, "validation_collapsed_layers"));

    private static double Number(JsonElement line, string key) =>
        line.TryGetProperty(key, out JsonElement value) && value.ValueKind == JsonValueKind.Number ? value.GetDouble() : double.NaN;

    private static double Median(double[] values)
    {
        Array.Sort(values);
        int middle = values.Length / 2;
        return values.Length % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
    }
}
