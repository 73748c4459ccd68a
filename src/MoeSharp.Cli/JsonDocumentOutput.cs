using System.Text.Encodings.Web;
using System.Text.Json;

namespace MoeSharp.Cli;

/// <summary>The one JSON document that <c>--json</c> prints on standard output.</summary>
internal static class JsonDocumentOutput
{
    /// <summary>Writes the document as one line of UTF-8; nothing of it when it cannot be put together.</summary>
    public static void Write(Action<Utf8JsonWriter> content)
    {
        using MemoryStream line = new();
        using (Utf8JsonWriter json = new(line, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            content(json);
        }

        line.WriteByte((byte)'\n');
        using Stream output = Console.OpenStandardOutput();
        line.WriteTo(output);
    }

    /// <summary>Writes a number, or null when it is not finite: JSON has no infinity.</summary>
    public static void WriteFinite(this Utf8JsonWriter json, string name, double value)
    {
        if (double.IsFinite(value))
        {
            json.WriteNumber(name, value);
        }
        else
        {
            json.WriteNull(name);
        }
    }
}
