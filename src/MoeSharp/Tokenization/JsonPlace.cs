using System.Diagnostics.CodeAnalysis;
using System.Text.Json;

namespace MoeSharp.Tokenization;

/// <summary>A value inside a JSON file from outside, with its path, so that every complaint names file, place and rule.</summary>
/// <param name="Value">The value.</param>
/// <param name="File">The file it comes from.</param>
/// <param name="Path">Where in the file, for example <c>model.vocab</c>.</param>
internal readonly record struct JsonPlace(JsonElement Value, string File, string Path)
{
    /// <summary>The value is absent or null.</summary>
    public bool IsNull => Value.ValueKind is JsonValueKind.Null or JsonValueKind.Undefined;

    /// <summary>A member of this object; absent members are null.</summary>
    public JsonPlace Member(string name)
    {
        Expect(JsonValueKind.Object);
        string path = Path.Length == 0 ? name : $"{Path}.{name}";
        return new JsonPlace(Value.TryGetProperty(name, out JsonElement member) ? member : default, File, path);
    }

    /// <summary>The elements of this array.</summary>
    public IEnumerable<JsonPlace> Elements()
    {
        Expect(JsonValueKind.Array);
        int index = 0;
        foreach (JsonElement element in Value.EnumerateArray())
        {
            yield return new JsonPlace(element, File, $"{Path}[{index++}]");
        }
    }

    /// <summary>The members of this object.</summary>
    public IEnumerable<JsonProperty> Entries()
    {
        Expect(JsonValueKind.Object);
        return Value.EnumerateObject();
    }

    /// <summary>This string.</summary>
    public string Text()
    {
        Expect(JsonValueKind.String);
        try
        {
            return Value.GetString()!; // Not null: the kind is checked.
        }
        catch (InvalidOperationException)
        {
            throw Wrong("holds half of a surrogate pair, which is no text");
        }
    }

    /// <summary>This string, or null when absent.</summary>
    public string? TextOrNull() => IsNull ? null : Text();

    /// <summary>This boolean, or a default when absent.</summary>
    public bool Flag(bool absent)
    {
        if (IsNull)
        {
            return absent;
        }

        return Value.ValueKind switch
        {
            JsonValueKind.True => true,
            JsonValueKind.False => false,
            _ => throw Wrong($"is {Describe()}, expected true or false"),
        };
    }

    /// <summary>This whole number between two bounds.</summary>
    public int Number(int min, int max)
    {
        if (Value.ValueKind != JsonValueKind.Number || !Value.TryGetInt32(out int number) || number < min || number > max)
        {
            throw Wrong($"is {Describe()}, expected a whole number between {min} and {max}");
        }

        return number;
    }

    /// <summary>Complains unless this has a kind.</summary>
    public void Expect(JsonValueKind kind)
    {
        if (Value.ValueKind != kind)
        {
            throw Wrong($"is {Describe()}, expected {Name(kind)}");
        }
    }

    /// <summary>A complaint about this value.</summary>
    public FileFormatException Wrong(string rule) => new($"{File}: {(Path.Length == 0 ? "the document" : Path)} {rule}.");

    /// <summary>Throws a complaint about this value when a condition holds.</summary>
    public void RejectIf([DoesNotReturnIf(true)] bool broken, string rule)
    {
        if (broken)
        {
            throw Wrong(rule);
        }
    }

    private string Describe()
    {
        if (IsNull)
        {
            return "missing";
        }

        string raw = Value.GetRawText();
        return Value.ValueKind is JsonValueKind.Object or JsonValueKind.Array ? Name(Value.ValueKind)
            : raw.Length <= 40 ? raw : $"{raw[..40]}...";
    }

    private static string Name(JsonValueKind kind) => kind switch
    {
        JsonValueKind.Object => "an object",
        JsonValueKind.Array => "a list",
        JsonValueKind.String => "a string",
        _ => kind.ToString(),
    };
}
