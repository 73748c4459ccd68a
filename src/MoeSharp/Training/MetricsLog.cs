using System.Buffers;
using System.Text;
using System.Text.Json;
using MoeSharp.Execution;

namespace MoeSharp.Training;

/// <summary>metrics.jsonl: one JSON object per line. A line holds a step, a validation or an alarm. How long a line is does not depend on the numbers of layers and experts; see <see cref="LoadLog"/>.</summary>
/// <remarks>Everything but the timing keys (seconds, tokens_per_second, gflops, peak_share) is the same for two runs of the same configuration.</remarks>
public sealed class MetricsLog : IDisposable
{
    /// <summary>Name of the file in a run folder.</summary>
    public const string FileName = "metrics.jsonl";

    private const string AlarmKey = "alarm";
    private const string MessageKey = "message";

    private readonly JsonLinesLog _lines;
    private readonly Utf8JsonWriter _json;

    /// <summary>Opens or creates the log and drops lines that a resumed run will write again.</summary>
    /// <param name="folder">Run folder.</param>
    /// <param name="stepsDone">Step to continue from: lines of later steps, and a last line that is not whole, are cut off.</param>
    public MetricsLog(string folder, long stepsDone)
    {
        _lines = new JsonLinesLog(Path.Combine(folder, FileName), stepsDone);
        _json = _lines.Json;
    }

    /// <summary>Writes a step.</summary>
    /// <param name="metrics">The step.</param>
    /// <param name="peakGflops">Measured FMA peak, or 0 when it was not measured.</param>
    public void Step(in StepMetrics metrics, double peakGflops)
    {
        _lines.Begin(metrics.Step, metrics.Tokens);
        Number("loss", metrics.Loss);
        for (AuxiliaryLoss kind = 0; (int)kind < AuxiliaryLosses.Count; kind++)
        {
            if (kind is AuxiliaryLoss.ExpertLevel or AuxiliaryLoss.DeviceLevel or AuxiliaryLoss.ZLoss || metrics.Losses[kind] != 0)
            {
                Number(AuxiliaryLossNames.Of(kind), metrics.Losses[kind]);
            }
        }

        Number("grad_norm", metrics.GradientNorm);
        Number("learning_rate", metrics.LearningRate);
        if (metrics.DropRate > 0)
        {
            Number("drop_rate", metrics.DropRate);
        }

        Number("load_max_over_mean", metrics.LoadMaxOverMean);
        _json.WriteNumber("dead_experts", metrics.NumDeadExperts);
        if (metrics.AttentionLoadMaxOverMean > 0)
        {
            Number("attention_load_max_over_mean", metrics.AttentionLoadMaxOverMean);
            _json.WriteNumber("dead_attention_experts", metrics.NumDeadAttentionExperts);
        }

        for (int series = 0; series < RoutingBrief.Count; series++)
        {
            if (double.IsFinite(metrics.Routing[series]))
            {
                Number(RoutingBrief.NameOf(series), metrics.Routing[series]);
            }
        }

        Number("seconds", metrics.Seconds);
        Number("tokens_per_second", metrics.TokensPerSecond);
        Number("gflops", metrics.Gflops);
        if (peakGflops > 0)
        {
            Number("peak_share", metrics.Gflops / peakGflops);
        }

        _lines.End();
    }

    /// <summary>Writes a validation.</summary>
    public void Validation(in ValidationResult result)
    {
        _lines.Begin(result.Step, result.Tokens);
        Number("validation_loss", result.Loss);
        Number("validation_bits_per_byte", result.BitsPerByte);
        _json.WriteNumber("validation_tokens", result.NumTokens);
        if (result.Regret is { } regret && result.Recall is { } recall)
        {
            Number("validation_regret", regret);
            Number("validation_recall", recall);
        }

        if (result.Load is { } load)
        {
            Number("validation_load_max_over_mean", load.MaxOverMean);
            _json.WriteNumber("validation_idle_experts", load.NumIdle);
            _json.WriteNumber("validation_collapsed_layers", load.NumCollapsedLayers);
        }

        _lines.End();
    }

    /// <summary>Writes an alarm.</summary>
    public void Alarm(RoutingAlarm alarm)
    {
        _lines.Begin(alarm.Step, alarm.Tokens);
        _json.WriteString(AlarmKey, alarm.IsRecovery ? "recovered" : "collapsed");
        _json.WriteNumber("alarm_layers", alarm.NumLayers);
        _json.WriteString(MessageKey, alarm.Message);
        _lines.End();
    }

    /// <summary>The alarms among the lines of a log.</summary>
    /// <param name="lines">Lines, as <see cref="Read"/> returns them.</param>
    public static IReadOnlyList<string> Alarms(IEnumerable<JsonElement> lines) =>
        [.. lines.Where(line => line.TryGetProperty(AlarmKey, out _) && line.TryGetProperty(MessageKey, out JsonElement message) && message.ValueKind == JsonValueKind.String).Select(line => line.GetProperty(MessageKey).GetString()!)]; // texts

    /// <inheritdoc/>
    public void Dispose() => _lines.Dispose();

    /// <summary>Reads the lines of a log; a last line that is not whole is left out.</summary>
    public static IEnumerable<JsonElement> Read(string folder) => JsonLinesLog.Read(Path.Combine(folder, FileName));

    private void Number(string key, double value)
    {
        if (double.IsFinite(value))
        {
            _json.WriteNumber(key, value);
        }
        else
        {
            _json.WriteNull(key); // JSON has no NaN; null says that there is no number
        }
    }
}
