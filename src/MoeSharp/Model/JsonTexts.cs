using System.Text;
using System.Text.Json;

namespace MoeSharp.Model;

/// <summary>Refuses JSON whose escapes spell half of a surrogate pair: the parser takes it, and whoever asks for the text later gets no JsonException.</summary>
internal static class JsonTexts
{
    /// <summary>Checks every key and text of a document.</summary>
    /// <param name="json">The document; it need not be valid otherwise.</param>
    /// <param name="options">What the document may hold beside strict JSON.</param>
    /// <exception cref="JsonException">A key or text is no Unicode, or the document ends or breaks before it.</exception>
    public static void ThrowIfBroken(string json, JsonDocumentOptions options)
    {
        if (!json.Contains("\\u", StringComparison.Ordinal))
        {
            return; // only escapes can spell such a half
        }

        Utf8JsonReader reader = new(Encoding.UTF8.GetBytes(json), new JsonReaderOptions { CommentHandling = options.CommentHandling, AllowTrailingCommas = options.AllowTrailingCommas, MaxDepth = options.MaxDepth });
        while (reader.Read())
        {
            if (reader.TokenType is JsonTokenType.PropertyName or JsonTokenType.String && reader.ValueIsEscaped)
            {
                ThrowIfBroken(ref reader);
            }
        }
    }

    private static void ThrowIfBroken(ref Utf8JsonReader reader)
    {
        try
        {
            _ = reader.GetString();
        }
        catch (InvalidOperationException error)
        {
            throw new JsonException($"a text {reader.TokenStartIndex} bytes from the start holds half of a surrogate pair (\\ud800 to \\udfff), which is no text", error);
        }
    }
}
