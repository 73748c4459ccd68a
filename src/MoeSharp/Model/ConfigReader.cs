using System.Text.Json;

namespace MoeSharp.Model;

/// <summary>Typed reading of one JSON object's keys; collects problems instead of stopping at the first, and remembers which keys were read.</summary>
internal sealed class ConfigReader(JsonElement root)
{
    private static readonly JsonElement s_empty = JsonDocument.Parse("{}").RootElement.Clone();

    private readonly HashSet<string> _read = new(StringComparer.Ordinal);
    private readonly Dictionary<string, ConfigReader> _sections = new(StringComparer.Ordinal);
    private readonly string _path = ""; // of a section, with its point

    private ConfigReader(JsonElement root, string path, List<string> problems)
        : this(root) => (_path, Problems) = (path, problems);

    /// <summary>What is wrong so far, sections included.</summary>
    public List<string> Problems { get; } = [];

    /// <summary>The nested objects that were opened.</summary>
    public IReadOnlyCollection<ConfigReader> Sections => _sections.Values;

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

    /// <summary>Whether a key is there, be it null.</summary>
    public bool Has(string key)
    {
        _read.Add(key);
        return root.TryGetProperty(key, out _);
    }

    /// <summary>Where a key stands, for messages.</summary>
    public string Place(string key) => _path + key;

    /// <summary>A nested object with its own keys; an empty one when the key is absent or null.</summary>
    public ConfigReader Section(string key)
    {
        if (_sections.TryGetValue(key, out ConfigReader? opened))
        {
            return opened;
        }

        JsonElement? value = Value(key);
        if (value is { ValueKind: not JsonValueKind.Object } other)
        {
            Problems.Add($"{Place(key)} is {Shown(other)}; write an object or null");
        }

        ConfigReader section = new(value is { ValueKind: JsonValueKind.Object } found ? found : s_empty, $"{Place(key)}.", Problems);
        _sections.Add(key, section);
        return section;
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

        Problems.Add($"{Place(key)} is {Shown(value)}; write a whole number");
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
                Problems.Add($"{Place(foundKey)} is {other} but {Place(key)} is {value}; they mean the same, so keep one");
            }

            (found, foundKey) = (value, key);
        }

        return found;
    }

    /// <summary>A number with a default.</summary>
    public double Number(string key, double absent) => Number(key) ?? absent;

    /// <summary>A number.</summary>
    public double? Number(string key)
    {
        if (Value(key) is not { } value)
        {
            return null;
        }

        if (value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out double number) && double.IsFinite(number))
        {
            return number;
        }

        Problems.Add($"{Place(key)} is {Shown(value)}; write a number");
        return null;
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

        Problems.Add($"{Place(key)} is {Shown(value)}; write true or false");
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

        Problems.Add($"{Place(key)} is {Shown(value)}; write a text in quotes");
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

        Problems.Add($"{Place(key)} '{text}' is not supported; use {string.Join(" or ", supported.ToArray().Select(value => $"'{value}'"))}");
        return absent;
    }

    /// <summary>A list, or null; each element must be of a kind.</summary>
    public IReadOnlyList<JsonElement>? List(string key, JsonValueKind kind)
    {
        if (Value(key) is not { } value)
        {
            return null;
        }

        if (value.ValueKind == JsonValueKind.Array && value.EnumerateArray().All(item => item.ValueKind == kind))
        {
            return [.. value.EnumerateArray()];
        }

        Problems.Add($"{Place(key)} is {Shown(value)}; write a list of {(kind == JsonValueKind.String ? "texts" : "numbers")}");
        return null;
    }

    /// <summary>Whole numbers in a list, or null.</summary>
    public IReadOnlyList<int>? Ints(string key)
    {
        if (List(key, JsonValueKind.Number) is not { } items)
        {
            return null;
        }

        List<int> numbers = [];
        foreach (JsonElement item in items)
        {
            if (item.TryGetInt32(out int number))
            {
                numbers.Add(number);
            }
            else
            {
                Problems.Add($"{Place(key)} holds {Shown(item)}; write whole numbers");
            }
        }

        return numbers;
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
                Problems.Add($"{Place(key)} holds {Shown(item)}; write token ids");
            }
        }

        return tokens;
    }

    /// <summary>Demands that a key, where present, has the one value that is supported.</summary>
    public void Require(string key, int supported, string reason)
    {
        if (Int(key) is { } value && value != supported)
        {
            Problems.Add($"{Place(key)} {value} is not supported, only {supported} is: {reason}");
        }
    }

    /// <summary>Demands that a switch, where present, has the one value that is supported.</summary>
    public void Require(string key, bool supported, string reason)
    {
        if (Switch(key, supported) != supported)
        {
            Problems.Add($"{Place(key)} {(supported ? "false" : "true")} is not supported: {reason}");
        }
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
