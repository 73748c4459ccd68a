using System.Buffers;
using System.Text;
using System.Text.Json;

namespace MoeSharp.Training;

/// <summary>A file of one JSON object per line, each with the step it belongs to; a resumed run cuts off the lines that it will write again.</summary>
internal sealed class JsonLinesLog : IDisposable
{
    private readonly FileStream _file;
    private readonly ArrayBufferWriter<byte> _buffer = new(4096);

    /// <summary>Opens or creates the file.</summary>
    /// <param name="path">File.</param>
    /// <param name="stepsDone">Step to continue from: lines of later steps, and a last line that is not whole, are cut off.</param>
    public JsonLinesLog(string path, long stepsDone)
    {
        _file = new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.Read);
        _file.SetLength(KeptLength(_file, stepsDone));
        _file.Seek(0, SeekOrigin.End);
        Json = new Utf8JsonWriter(_buffer);
    }

    /// <summary>Writer of the line that was begun.</summary>
    public Utf8JsonWriter Json { get; }

    /// <summary>Begins a line.</summary>
    public void Begin(long step, long tokens)
    {
        _buffer.ResetWrittenCount();
        Json.Reset();
        Json.WriteStartObject();
        Json.WriteNumber("step", step);
        Json.WriteNumber("tokens", tokens);
    }

    /// <summary>Ends the line and hands it to the operating system.</summary>
    public void End()
    {
        Json.WriteEndObject();
        Json.Flush();
        _buffer.Write("\n"u8);
        _file.Write(_buffer.WrittenSpan);
        _file.Flush();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Json.Dispose();
        _file.Dispose();
    }

    /// <summary>Reads the lines of a file; a last line that is not whole is left out, a file that is not there has none.</summary>
    public static IEnumerable<JsonElement> Read(string path)
    {
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

    // Bytes of the whole lines that belong to steps up to stepsDone.
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
