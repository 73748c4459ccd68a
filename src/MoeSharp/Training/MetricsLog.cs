using System.Buffers;
using System.Text;
using System.Text.Json;
using MoeSharp.Execution;

namespace MoeSharp.Training;

/// <summary>metrics.jsonl: one JSON object per line. A line holds either a step, a validation, or the experts' loads.</summary>
/// <remarks>Everything but the timing keys (seconds, tokens_per_second, gflops, peak_share) is the same for two runs of the same configuration.</remarks>
public sealed class MetricsLog : IDisposable
{
    /// <summary>Name of the file in a run folder.</summary>
    public const string FileName = "metrics.jsonl";

    private readonly FileStream _file;
    private readonly ArrayBufferWriter<byte> _buffer = new(4096);
    private readonly Utf8JsonWriter _json;

    /// <summary>Opens or creates the log and drops lines that a resumed run will write again.</summary>
    /// <param name="folder">Run folder.</param>
    /// <param name="stepsDone">Step to continue from: lines of later steps, and a last line that is not whole, are cut off.</param>
    public MetricsLog(string folder, long stepsDone)
    {
        _file = new FileStream(Path.Combine(folder, FileName), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.Read);
        _file.SetLength(KeptLength(_file, stepsDone));
        _file.Seek(0, SeekOrigin.End);
        _json = new Utf8JsonWriter(_buffer);
    }

    /// <summary>Writes a step.</summary>
    /// <param name="metrics">The step.</param>
    /// <param name="peakGflops">Measured FMA peak, or 0 when it was not measured.</param>
    public void Step(in StepMetrics metrics, double peakGflops)
    {
        Begin(metrics.Step, metrics.Tokens);
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
        Number("seconds", metrics.Seconds);
        Number("tokens_per_second", metrics.TokensPerSecond);
        Number("gflops", metrics.Gflops);
        if (peakGflops > 0)
        {
            Number("peak_share", metrics.Gflops / peakGflops);
        }

        End();
    }

    /// <summary>Writes a validation.</summary>
    public void Validation(in ValidationResult result)
    {
        Begin(result.Step, result.Tokens);
        Number("validation_loss", result.Loss);
        Number("validation_bits_per_byte", result.BitsPerByte);
        _json.WriteNumber("validation_tokens", result.NumTokens);
        if (result.Regret is { } regret && result.Recall is { } recall)
        {
            Number("validation_regret", regret);
            Number("validation_recall", recall);
        }

        End();
    }

    /// <summary>Writes the share of its layer's slots that each expert took, times the number of experts: 1 is balanced.</summary>
    public void Load(long step, long tokens, LoadTable load)
    {
        Begin(step, tokens);
        _json.WriteStartArray("layers");
        for (int index = 0; index < load.NumLayers; index++)
        {
            _json.WriteNumberValue(load.Layer(index));
        }

        _json.WriteEndArray();
        _json.WriteStartArray("load");
        for (int index = 0; index < load.NumLayers; index++)
        {
            ReadOnlySpan<long> counts = load.TokensPerExpert(index);
            long sum = 0;
            foreach (long count in counts)
            {
                sum += count;
            }

            _json.WriteStartArray();
            foreach (long count in counts)
            {
                _json.WriteNumberValue(Math.Round((double)count * counts.Length / Math.Max(1, sum), 3));
            }

            _json.WriteEndArray();
        }

        _json.WriteEndArray();
        End();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _json.Dispose();
        _file.Dispose();
    }

    /// <summary>Reads the lines of a log; a last line that is not whole is left out.</summary>
    public static IEnumerable<JsonElement> Read(string folder)
    {
        string path = Path.Combine(folder, FileName);
        if (!File.Exists(path))
        {
            yield break;
        }

        using FileStream file = new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        using StreamReader reader = new(file, Encoding.UTF8);
        while (reader.ReadLine() is { } line)
        {
            if (TryParse(line, out JsonElement element))
            {
                yield return element;
            }
        }
    }

    private void Begin(long step, long tokens)
    {
        _buffer.ResetWrittenCount();
        _json.Reset();
        _json.WriteStartObject();
        _json.WriteNumber("step", step);
        _json.WriteNumber("tokens", tokens);
    }

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

    private void End()
    {
        _json.WriteEndObject();
        _json.Flush();
        _buffer.Write("\n"u8);
        _file.Write(_buffer.WrittenSpan);
        _file.Flush();
    }

    /// <summary>Bytes of the whole lines that belong to steps up to <paramref name="stepsDone"/>.</summary>
    private static long KeptLength(FileStream file, long stepsDone)
    {
        byte[] content = new byte[file.Length];
        file.ReadExactly(content);
        int kept = 0;
        while (kept < content.Length)
        {
            int length = content.AsSpan(kept).IndexOf((byte)'\n');
            if (length < 0
                || !TryParse(Encoding.UTF8.GetString(content, kept, length), out JsonElement line)
                || !line.TryGetProperty("step", out JsonElement step)
                || step.GetInt64() > stepsDone)
            {
                break;
            }

            kept += length + 1;
        }

        return kept;
    }

    private static bool TryParse(string line, out JsonElement element)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(line);
            element = document.RootElement.Clone();
            return element.ValueKind == JsonValueKind.Object;
        }
        catch (JsonException)
        {
            element = default;
            return false;
        }
    }
}
