using System.Globalization;
using System.Text;
using System.Text.Json;

namespace MoeSharp.Tokenization.Chat;

/// <summary>JSON in and out of templates. Out: blanks after <c>,</c> and <c>:</c>, no escapes beyond those that JSON demands.</summary>
internal static class TemplateJson
{
    /// <summary>A JSON document as a value.</summary>
    public static object? Read(JsonElement element)
    {
        switch (element.ValueKind)
        {
            case JsonValueKind.Object:
                MapValue map = new();
                foreach (JsonProperty property in element.EnumerateObject())
                {
                    map[property.Name] = Read(property.Value);
                }

                return map;
            case JsonValueKind.Array:
                return new ListValue([.. element.EnumerateArray().Select(Read)]);
            case JsonValueKind.String:
                return element.GetString();
            case JsonValueKind.Number:
                bool isWhole = element.GetRawText().AsSpan().IndexOfAny('.', 'e', 'E') < 0;
                return isWhole && element.TryGetInt64(out long whole) ? (object)whole : element.GetDouble();
            case JsonValueKind.True:
                return true;
            case JsonValueKind.False:
                return false;
            default:
                return null;
        }
    }

    /// <summary>A value as JSON. What is written is counted as work before it is written.</summary>
    public static string Write(object? value, JsonStyle style, RenderRun run)
    {
        StringBuilder text = new();
        Write(value, style, 0, text, run);
        run.SpendText(text.Length);
        return text.ToString();
    }

    private static void Write(object? value, JsonStyle style, int depth, StringBuilder text, RenderRun run)
    {
        run.Enter(run.Line);
        switch (value)
        {
            case null:
                text.Append("null");
                break;
            case bool flag:
                text.Append(flag ? "true" : "false");
                break;
            case long number:
                text.Append(number.ToString(CultureInfo.InvariantCulture));
                break;
            case double number:
                text.Append(double.IsFinite(number) ? ValueText.OfNumber(number) : double.IsNaN(number) ? "NaN" : number > 0 ? "Infinity" : "-Infinity");
                break;
            case string quoted:
                Quote(quoted, style.IsAscii, text, run);
                break;
            case ListValue list:
                WriteItems('[', ']', list.Items, item => Write(item, style, depth + 1, text, run), style, depth, text, run);
                break;
            case MapValue map:
                WriteItems('{', '}', EntriesOf(map, style, run), entry => WriteEntry(entry, style, depth, text, run), style, depth, text, run);
                break;
            default:
                throw run.Fault($"{ValueRules.KindOf(value)} cannot be written as JSON");
        }

        run.Leave();
    }

    private static List<KeyValuePair<string, object?>> EntriesOf(MapValue map, JsonStyle style, RenderRun run)
    {
        run.Spend(map.Count);
        if (!style.SortsKeys)
        {
            return [.. map];
        }

        foreach (string key in map.Keys)
        {
            run.SpendText(key.Length * 16L);
        }

        return [.. map.OrderBy(entry => entry.Key, StringComparer.Ordinal)];
    }

    private static void WriteEntry(KeyValuePair<string, object?> entry, JsonStyle style, int depth, StringBuilder text, RenderRun run)
    {
        Quote(entry.Key, style.IsAscii, text, run);
        run.SpendText(style.KeySeparator.Length);
        text.Append(style.KeySeparator);
        Write(entry.Value, style, depth + 1, text, run);
    }

    private static void WriteItems<T>(char open, char close, IReadOnlyList<T> items, Action<T> write, JsonStyle style, int depth, StringBuilder text, RenderRun run)
    {
        text.Append(open);
        for (int index = 0; index < items.Count; index++)
        {
            string separator = index == 0 ? "" : style.ItemSeparator;
            run.SpendText(separator.Length);
            text.Append(separator);
            NewLine(style, depth + 1, text, run);
            write(items[index]);
        }

        if (items.Count > 0)
        {
            NewLine(style, depth, text, run);
        }

        text.Append(close);
    }

    private static void NewLine(JsonStyle style, int depth, StringBuilder text, RenderRun run)
    {
        if (style.Indent is string indent)
        {
            run.SpendText((long)indent.Length * depth);
            text.Append('\n');
            for (int level = 0; level < depth; level++)
            {
                text.Append(indent);
            }
        }
    }

    private static void Quote(string value, bool isAscii, StringBuilder text, RenderRun run)
    {
        run.SpendText(value.Length);
        text.Append('"');
        foreach (char character in value)
        {
            switch (character)
            {
                case '"' or '\\':
                    text.Append('\\').Append(character);
                    break;
                case '\n':
                    text.Append("\\n");
                    break;
                case '\r':
                    text.Append("\\r");
                    break;
                case '\t':
                    text.Append("\\t");
                    break;
                case '\b':
                    text.Append("\\b");
                    break;
                case '\f':
                    text.Append("\\f");
                    break;
                default:
                    if (character < ' ' || (isAscii && character > '~'))
                    {
                        text.Append(CultureInfo.InvariantCulture, $"\\u{(int)character:x4}");
                    }
                    else
                    {
                        text.Append(character);
                    }

                    break;
            }
        }

        text.Append('"');
    }
}

/// <summary>How JSON is laid out.</summary>
/// <param name="Indent">What each level is indented by; null for one line.</param>
/// <param name="ItemSeparator">Between items.</param>
/// <param name="KeySeparator">Between key and value.</param>
/// <param name="SortsKeys">Keys come in order.</param>
/// <param name="IsAscii">Characters beyond ASCII are escaped.</param>
internal sealed record JsonStyle(string? Indent, string ItemSeparator, string KeySeparator, bool SortsKeys, bool IsAscii);
