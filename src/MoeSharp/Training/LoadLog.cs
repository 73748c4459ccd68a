using System.Text.Json;

namespace MoeSharp.Training;

/// <summary>loads.jsonl: how many tokens every expert of every layer took between two log lines. The one file of a run that grows with the number of experts.</summary>
public sealed class LoadLog : IDisposable
{
    /// <summary>Name of the file in a run folder.</summary>
    public const string FileName = "loads.jsonl";

    private readonly JsonLinesLog _lines;

    /// <summary>Opens or creates the log and drops lines that a resumed run will write again.</summary>
    /// <param name="folder">Run folder.</param>
    /// <param name="stepsDone">Step to continue from.</param>
    public LoadLog(string folder, long stepsDone) => _lines = new JsonLinesLog(Path.Combine(folder, FileName), stepsDone);

    /// <summary>Writes the counts.</summary>
    /// <param name="step">Step.</param>
    /// <param name="tokens">Training tokens seen.</param>
    /// <param name="load">Slots of every expert.</param>
    public void Write(long step, long tokens, LoadTable load)
    {
        _lines.Begin(step, tokens);
        Utf8JsonWriter json = _lines.Json;
        json.WriteStartArray("layers");
        for (int index = 0; index < load.NumLayers; index++)
        {
            json.WriteNumberValue(load.Layer(index));
        }

        json.WriteEndArray();
        json.WriteStartArray("tokens_per_expert");
        for (int index = 0; index < load.NumLayers; index++)
        {
            json.WriteStartArray();
            foreach (long count in load.TokensPerExpert(index))
            {
                json.WriteNumberValue(count);
            }

            json.WriteEndArray();
        }

        json.WriteEndArray();
        _lines.End();
    }

    /// <summary>Reads the lines of a log; a last line that is not whole is left out.</summary>
    public static IEnumerable<JsonElement> Read(string folder) => JsonLinesLog.Read(Path.Combine(folder, FileName));

    /// <summary>Reads the counts of a line.</summary>
    /// <param name="line">Line.</param>
    /// <param name="load">= its counts; unchanged where the line has none.</param>
    /// <returns>Whether the line has counts.</returns>
    public static bool TryRead(JsonElement line, LoadTable load)
    {
        if (!line.TryGetProperty("layers", out JsonElement layers) || !line.TryGetProperty("tokens_per_expert", out JsonElement counts)
            || layers.ValueKind != JsonValueKind.Array || counts.ValueKind != JsonValueKind.Array || layers.GetArrayLength() != counts.GetArrayLength())
        {
            return false;
        }

        try
        {
            load.Set([.. layers.EnumerateArray().Select(layer => layer.GetInt32())], [.. counts.EnumerateArray().Select(row => row.EnumerateArray().Select(count => count.GetInt64()).ToArray())]);
            return true;
        }
        catch (Exception error) when (error is InvalidOperationException or FormatException)
        {
            return false; // somebody has changed the file
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _lines.Dispose();
}
