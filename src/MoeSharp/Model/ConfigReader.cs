using System.Text.Json;

namespace MoeSharp.Model;

/// <summary>Typed reading of one JSON object's keys; collects problems instead of stopping at the first, and remembers which keys were read.</summary>
internal sealed class ConfigReader(JsonElement root)
{
    private readonly HashSet<string> _read = new(StringComparer.Ordinal);

    /// <summary>What is wrong so far.</summary>
    public List<string> Problems { get; } = [];

    /// <summary>Keys that were asked for, whether present or not.</summary>
    public IReadOnlyCollection<string> KnownKeys => _read;

    /// <summary>Keys of the object that nobody has asked for.</summary>
    public IEnumerable<JsonProperty> UnreadKeys => root.EnumerateObject().Where(property => !_read.Contains(property.Name));

    /// <summary>The value of a key, or null when it is absent or null.</summary>
    public JsonElement? Value(string key)
    {
        _read.Add(key);
        return root.TryGetProperty(key, out JsonElement value) && value.ValueKind != JsonValueKind.Null ? value : null;
    }

    /// <summary>An integer; 40.0 counts as 40.</summary>
    public int? Int(string key)
    {
        if (Value(key) is not { } value)
        {
            return null;
        }

        if (value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out double number) && number == Math.Floor(number) && Math.Abs(number) <= int.MaxValue)
        {
            return (int)number;
        }

        Problems.Add($"{key} is {Shown(value)}; write a whole number");
        return null;
    }

    /// <summary>An integer with a default.</summary>
    public int Int(string key, int absent) => Int(key) ?? absent;

    /// <summary>An integer under any of several names; two names with different values are a problem.</summary>
    public int? IntOfAny(params ReadOnlySpan<string> keys)
    {
        int? found = null;
        string foundKey = "";
        foreach (string key in keys)
        {
            if (Int(key) is not { } value)
            {
                continue;
            }

            if (found is { } other && other != value)
            {
                Problems.Add($"{foundKey} is {other} but {key} is {value}; they mean the same, so keep one");
            }

            (found, foundKey) = (value, key);
        }

        return found;
    }

    /// <summary>A number with a default.</summary>
    public double Number(string key, double absent)
    {
        if (Value(key) is not { } value)
        {
            return absent;
        }

        if (value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out double number) && double.IsFinite(number))
        {
            return number;
        }

        Problems.Add($"{key} is {Shown(value)}; write a number");
        return absent;
    }

    /// <summary>A switch with a default.</summary>
    public bool Switch(string key, bool absent)
    {
        if (Value(key) is not { } value)
        {
            return absent;
        }

        if (value.ValueKind is JsonValueKind.True or JsonValueKind.False)
        {
            return value.GetBoolean();
        }

        Problems.Add($"{key} is {Shown(value)}; write true or false");
        return absent;
    }

    /// <summary>A text, or null.</summary>
    public string? Text(string key)
    {
        if (Value(key) is not { } value)
        {
            return null;
        }

        if (value.ValueKind == JsonValueKind.String)
        {
            return value.GetString();
        }

        Problems.Add($"{key} is {Shown(value)}; write a text in quotes");
        return null;
    }

    /// <summary>A text that must be one of a few values.</summary>
    public string OneOf(string key, string absent, params ReadOnlySpan<string> supported)
    {
        if (Text(key) is not { } text)
        {
            return absent;
        }

        foreach (string candidate in supported)
        {
            if (candidate == text)
            {
                return text;
            }
        }

        Problems.Add($"{key} '{text}' is not supported; use {string.Join(" or ", supported.ToArray().Select(value => $"'{value}'"))}");
        return absent;
    }

    /// <summary>One token id, or the first of a list of them.</summary>
    public int? Token(string key)
    {
        IReadOnlyList<int> tokens = Tokens(key);
        return tokens.Count > 0 ? tokens[0] : null;
    }

    /// <summary>Token ids written as one number or as a list.</summary>
    public IReadOnlyList<int> Tokens(string key)
    {
        if (Value(key) is not { } value)
        {
            return [];
        }

        if (value.ValueKind != JsonValueKind.Array)
        {
            return Int(key) is { } single ? [single] : [];
        }

        List<int> tokens = [];
        foreach (JsonElement item in value.EnumerateArray())
        {
            if (item.ValueKind == JsonValueKind.Number && item.TryGetInt32(out int token))
            {
                tokens.Add(token);
            }
            else
            {
                Problems.Add($"{key} holds {Shown(item)}; write token ids");
            }
        }

        return tokens;
    }

    /// <summary>Marks keys as known without reading them.</summary>
    public void Ignore(params IEnumerable<string> keys) => _read.UnionWith(keys);

    /// <summary>A value as it stands in the file, cut to a length fit for a message.</summary>
    public static string Shown(JsonElement value)
    {
        const int LongestShown = 60;
        string text = value.GetRawText();
        return text.Length <= LongestShown ? text : string.Concat(text.AsSpan(0, LongestShown), "...");
    }
}
