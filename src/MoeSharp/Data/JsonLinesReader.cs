using System.Text.Json;

namespace MoeSharp.Data;

/// <summary>Reads a file of JSON records, one per line; each is a document.</summary>
internal static class JsonLinesReader
{
    private const int FirstBufferBytes = 64 * 1024;

    private static readonly byte[] ByteOrderMark = [0xEF, 0xBB, 0xBF];

    /// <summary>Every passage of the file.</summary>
    /// <param name="file">Path.</param>
    /// <param name="options">Names of the fields.</param>
    /// <param name="warn">Takes warnings.</param>
    public static IEnumerable<TextPassage> Read(string file, TextSourceOptions options, Action<string> warn)
    {
        byte[] text = new byte[FirstBufferBytes];
        Dictionary<string, string> domains = new(StringComparer.Ordinal);
        foreach (Line line in Lines(file))
        {
            if (line.Utf8.Span.Trim(" \t\r\n"u8).Length == 0)
            {
                continue;
            }

            TextCutter.RequireText(line.Utf8.Span, file, line.Offset);
            if (text.Length < line.Utf8.Length)
            {
                text = new byte[Math.Max(line.Utf8.Length, 2 * text.Length)];
            }

            Record record = Parse(line, $"{file}:{line.Number}", options, text, domains);
            if (record.TextBytes == 0)
            {
                warn($"{file}:{line.Number} has an empty '{options.JsonField}' and was skipped");
            }

            foreach (TextPassage passage in TextCutter.Passages(text.AsMemory(0, record.TextBytes), record.Domain))
            {
                yield return passage;
            }
        }
    }

    private static IEnumerable<Line> Lines(string file)
    {
        using FileStream stream = new(file, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0, FileOptions.SequentialScan);
        byte[] buffer = new byte[FirstBufferBytes];
        int filled = stream.ReadAtLeast(buffer, buffer.Length, throwOnEndOfStream: false);
        int begin = buffer.AsSpan(0, filled).StartsWith(ByteOrderMark) ? ByteOrderMark.Length : 0;
        int searched = begin;
        long offset = 0; // of the buffer in the file
        long number = 1;
        while (true)
        {
            int end = buffer.AsSpan(searched, filled - searched).IndexOf((byte)'\n');
            if (end >= 0)
            {
                end += searched;
                yield return new Line(buffer.AsMemory(begin, end - begin), number++, offset + begin);
                begin = searched = end + 1;
                continue;
            }

            buffer.AsSpan(begin, filled - begin).CopyTo(buffer);
            offset += begin;
            filled -= begin;
            begin = 0;
            searched = filled;
            if (filled == buffer.Length)
            {
                buffer = Grow(buffer, file, number);
            }

            int read = stream.ReadAtLeast(buffer.AsSpan(filled), buffer.Length - filled, throwOnEndOfStream: false);
            if (read == 0)
            {
                break;
            }

            filled += read;
        }

        if (filled > 0)
        {
            yield return new Line(buffer.AsMemory(0, filled), number, offset);
        }
    }

    private static byte[] Grow(byte[] buffer, string file, long number)
    {
        if (buffer.Length >= TextSources.MaximumLineBytes)
        {
            throw new ConfigurationException($"{file}:{number} is longer than {TextSources.MaximumLineBytes / (1024 * 1024)} MiB; split the record, or give the text as a .txt file, which is read in chunks");
        }

        byte[] larger = new byte[2 * buffer.Length];
        buffer.CopyTo(larger, 0);
        return larger;
    }

    private static Record Parse(Line line, string place, TextSourceOptions options, byte[] text, Dictionary<string, string> domains)
    {
        try
        {
            return ParseObject(line, place, options, text, domains);
        }
        catch (JsonException exception)
        {
            throw new ConfigurationException($"{place}: not a JSON record: {FirstSentence(exception.Message)}; each line of a .jsonl file is one JSON object", exception);
        }
        catch (InvalidOperationException exception)
        {
            throw new ConfigurationException($"{place}: the text holds half a surrogate pair (\\uD800 to \\uDFFF) and is no valid Unicode; repair the record", exception);
        }
    }

    private static Record ParseObject(Line line, string place, TextSourceOptions options, byte[] text, Dictionary<string, string> domains)
    {
        Utf8JsonReader reader = new(line.Utf8.Span, new JsonReaderOptions { MaxDepth = 256 });
        reader.Read();
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            throw new ConfigurationException($"{place}: the line is a JSON {reader.TokenType}, not an object; each line of a .jsonl file is one object such as {{\"{options.JsonField}\": \"...\"}}");
        }

        int textBytes = -1;
        string domain = "";
        List<string>? fields = null; // only kept while the text is missing
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            bool isText = reader.ValueTextEquals(options.JsonField);
            bool isDomain = !isText && reader.ValueTextEquals(options.DomainField);
            if (!isText && textBytes < 0)
            {
                (fields ??= []).Add(reader.GetString()!); // a property name is never null
            }

            reader.Read();
            if (isText)
            {
                RequireString(reader.TokenType, place, options.JsonField);
                textBytes = reader.CopyString(text);
            }
            else if (isDomain && reader.TokenType == JsonTokenType.String)
            {
                domain = Known(reader.GetString()!, domains); // a string token is never null
            }
            else
            {
                reader.Skip();
            }
        }

        reader.Read(); // refuses what follows the object
        if (textBytes < 0)
        {
            string present = fields is null ? "it has no fields" : $"it has {string.Join(", ", fields.Take(20))}";
            throw new ConfigurationException($"{place}: the record has no field '{options.JsonField}' ({present}); name the field that holds the text with --text-field");
        }

        return new Record(textBytes, domain);
    }

    private static void RequireString(JsonTokenType type, string place, string field)
    {
        if (type != JsonTokenType.String)
        {
            throw new ConfigurationException($"{place}: field '{field}' is a JSON {type}, not a string; name the field that holds the text with --text-field");
        }
    }

    private static string Known(string domain, Dictionary<string, string> domains)
    {
        if (!domains.TryGetValue(domain, out string? known))
        {
            domains.Add(domain, known = domain);
        }

        return known;
    }

    private static string FirstSentence(string message) => message.Split(". ")[0].TrimEnd('.');

    private readonly record struct Line(ReadOnlyMemory<byte> Utf8, long Number, long Offset);

    private readonly record struct Record(int TextBytes, string Domain);
}
