using System.Text;
using System.Text.Unicode;

namespace MoeSharp.Checkpoints;

/// <summary>The metadata of a GGUF file, by key. A getter names the file, the key and both types when a value is not what it asks for.</summary>
public sealed class GgufMetadata
{
    private const int LongestNumbers = 1 << 24; // elements of an array that is copied out; vocabularies have 200 thousand

    private readonly string _path;
    private readonly IReadOnlyDictionary<string, GgufValue> _values;

    internal GgufMetadata(string path, IReadOnlyList<string> keys, IReadOnlyDictionary<string, GgufValue> values)
    {
        _path = path;
        _values = values;
        Keys = keys;
    }

    /// <summary>Keys in the order of the file.</summary>
    public IReadOnlyList<string> Keys { get; }

    /// <summary>Whether there is such a key.</summary>
    public bool Contains(string key) => _values.ContainsKey(key);

    /// <summary>Type and size of a value, or null when the key is absent.</summary>
    public GgufValue? Find(string key) => _values.TryGetValue(key, out GgufValue value) ? value : null;

    /// <summary>A text.</summary>
    /// <exception cref="FileFormatException">The key is absent, or its value is not a text.</exception>
    public string GetString(string key)
    {
        GgufValue value = Required(key);
        Expect(key, value, value.Type == GgufValueType.String, "a text");
        return Utf8.IsValid(value.Utf8) ? Encoding.UTF8.GetString(value.Utf8) : throw Broken(key, "is not valid UTF-8");
    }

    /// <summary>A text, or the fallback when the key is absent.</summary>
    /// <exception cref="FileFormatException">The value is not a text.</exception>
    public string GetString(string key, string fallback) => Contains(key) ? GetString(key) : fallback;

    /// <summary>A whole number of any width.</summary>
    /// <exception cref="FileFormatException">The key is absent, its value is not a whole number, or it is above 2^63-1.</exception>
    public long GetInteger(string key)
    {
        GgufValue value = Required(key);
        Expect(key, value, value.Type.IsInteger(), "a whole number");
        return value.Integer(0) ?? throw Broken(key, "is above 2^63-1");
    }

    /// <summary>A whole number of any width, or the fallback when the key is absent.</summary>
    /// <exception cref="FileFormatException">The value is not a whole number, or it is above 2^63-1.</exception>
    public long GetInteger(string key, long fallback) => Contains(key) ? GetInteger(key) : fallback;

    /// <summary>A number, stored as a float or as a whole number.</summary>
    /// <exception cref="FileFormatException">The key is absent, or its value is not a number.</exception>
    public double GetFloat(string key)
    {
        GgufValue value = Required(key);
        Expect(key, value, IsNumber(value.Type), "a number");
        return Number(key, value, 0);
    }

    /// <summary>A number, or the fallback when the key is absent.</summary>
    /// <exception cref="FileFormatException">The value is not a number.</exception>
    public double GetFloat(string key, double fallback) => Contains(key) ? GetFloat(key) : fallback;

    /// <summary>A truth value.</summary>
    /// <exception cref="FileFormatException">The key is absent, or its value is not a truth value.</exception>
    public bool GetBool(string key)
    {
        GgufValue value = Required(key);
        Expect(key, value, value.Type == GgufValueType.Bool, "true or false");
        return value.Bool(0);
    }

    /// <summary>A truth value, or the fallback when the key is absent.</summary>
    /// <exception cref="FileFormatException">The value is not a truth value.</exception>
    public bool GetBool(string key, bool fallback) => Contains(key) ? GetBool(key) : fallback;

    /// <summary>An array of texts, left in the file.</summary>
    /// <exception cref="FileFormatException">The key is absent, or its value is not an array of texts.</exception>
    public GgufStrings GetStrings(string key)
    {
        GgufValue value = RequiredArray(key, "an array of texts", type => type == GgufValueType.String);
        return value.Strings($"{_path}: {SafetensorsHeader.Shown(key)}");
    }

    /// <summary>An array of whole numbers.</summary>
    /// <exception cref="FileFormatException">The key is absent, its value is not an array of whole numbers, or one is above 2^63-1.</exception>
    public long[] GetIntegers(string key)
    {
        GgufValue value = RequiredArray(key, "an array of whole numbers", GgufValueTypes.IsInteger);
        long[] numbers = new long[value.Count];
        for (int i = 0; i < numbers.Length; i++)
        {
            numbers[i] = value.Integer(i) ?? throw Broken(key, $"has element {i} above 2^63-1");
        }

        return numbers;
    }

    /// <summary>An array of numbers.</summary>
    /// <exception cref="FileFormatException">The key is absent, or its value is not an array of numbers.</exception>
    public double[] GetFloats(string key)
    {
        GgufValue value = RequiredArray(key, "an array of numbers", IsNumber);
        double[] numbers = new double[value.Count];
        for (int i = 0; i < numbers.Length; i++)
        {
            numbers[i] = Number(key, value, i);
        }

        return numbers;
    }

    private static bool IsNumber(GgufValueType type) => type.IsInteger() || type is GgufValueType.Float32 or GgufValueType.Float64;

    private double Number(string key, GgufValue value, long index) =>
        value.ElementType.IsInteger() ? value.Integer(index) ?? throw Broken(key, "is above 2^63-1") : value.Float(index);

    private GgufValue Required(string key) =>
        _values.TryGetValue(key, out GgufValue value) ? value : throw new FileFormatException($"{_path}: the metadata lacks {SafetensorsHeader.Shown(key)}");

    private GgufValue RequiredArray(string key, string expected, Func<GgufValueType, bool> isElement)
    {
        GgufValue value = Required(key);
        Expect(key, value, value.Type == GgufValueType.Array && (isElement(value.ElementType) || value.Count == 0), expected);
        return value.Count <= LongestNumbers ? value : throw Broken(key, $"has {value.Count} elements; at most {LongestNumbers} are read");
    }

    private void Expect(string key, GgufValue value, bool isRight, string expected)
    {
        if (!isRight)
        {
            throw Broken(key, value.Type == GgufValueType.Array ? $"is an array of {value.ElementType.Name()}, not {expected}" : $"is of type {value.Type.Name()}, not {expected}");
        }
    }

    private FileFormatException Broken(string key, string problem) => new($"{_path}: the metadata {SafetensorsHeader.Shown(key)} {problem}");
}
