using System.Buffers.Binary;
using System.Text;
using System.Text.Json;
using System.Text.Unicode;

namespace MoeSharp.Checkpoints;

/// <summary>One tensor of a safetensors file.</summary>
/// <param name="Name">Name in the file.</param>
/// <param name="Type">Stored number format.</param>
/// <param name="Shape">Dimensions; empty for a single number.</param>
/// <param name="Begin">First byte, counted from the start of the data section.</param>
/// <param name="ByteLength">Bytes stored.</param>
public sealed record SafetensorsTensor(string Name, SafetensorsType Type, IReadOnlyList<long> Shape, long Begin, long ByteLength)
{
    /// <summary>Number of elements.</summary>
    public long Length => ByteLength * 8 / Type.Bits();
}

/// <summary>The header of a safetensors file, read under every rule of the format before anything is trusted.</summary>
/// <remarks>
/// Layout: an unsigned 64-bit little-endian header length, the header (a JSON object, padded with spaces), the data. Memory is bounded by the header's own length:
/// no number read from it decides an allocation.
/// </remarks>
internal sealed class SafetensorsHeader
{
    /// <summary>Largest header that the format allows.</summary>
    public const long LongestHeader = 100_000_000;

    /// <summary>Bytes of the length field.</summary>
    public const int PrefixLength = 8;

    // Far above every published file; they bound the tables built from a hostile one.
    private const int MostTensors = 1 << 18;
    private const int MostTexts = 1 << 16;
    private const int MostDimensions = 64;
    private const int LongestName = 65535;

    private static readonly JsonReaderOptions s_strict = new() { MaxDepth = 4, CommentHandling = JsonCommentHandling.Disallow };

    private readonly string _path;

    private SafetensorsHeader(string path) => _path = path;

    /// <summary>Tensors in data order.</summary>
    public List<SafetensorsTensor> Tensors { get; } = [];

    /// <summary>Free texts of the file.</summary>
    public Dictionary<string, string> Metadata { get; } = new(StringComparer.Ordinal);

    /// <summary>Length of the header of a file.</summary>
    /// <exception cref="FileFormatException">The length is impossible.</exception>
    public static int ReadLength(ReadOnlySpan<byte> start, long fileLength, string path)
    {
        if (start.Length < PrefixLength)
        {
            throw new FileFormatException($"{path}: only {fileLength} bytes; a safetensors file has at least {PrefixLength}. Download or save it again");
        }

        ulong length = BinaryPrimitives.ReadUInt64LittleEndian(start);
        if (length > LongestHeader)
        {
            throw new FileFormatException($"{path}: offset 0: header length {length} is above the format's bound {LongestHeader}; this is not a safetensors file");
        }

        if (length > (ulong)(fileLength - PrefixLength))
        {
            throw new FileFormatException($"{path}: offset 0: header length {length} reaches past the end of the file ({fileLength} bytes); the file is truncated");
        }

        return (int)length;
    }

    /// <summary>Reads a header.</summary>
    /// <param name="header">The JSON, with its padding.</param>
    /// <param name="dataLength">Bytes after the header.</param>
    /// <param name="path">File name for messages.</param>
    /// <exception cref="FileFormatException">A rule is broken.</exception>
    public static SafetensorsHeader Parse(ReadOnlySpan<byte> header, long dataLength, string path)
    {
        SafetensorsHeader result = new(path);
        if (header.IsEmpty || header[0] != (byte)'{')
        {
            throw result.Broken(0, "the header does not start with '{'");
        }

        if (!Utf8.IsValid(header))
        {
            throw result.Broken(0, "the header is not valid UTF-8");
        }

        Utf8JsonReader reader = new(header, s_strict);
        try
        {
            result.ReadRoot(ref reader);
            int end = (int)reader.BytesConsumed;
            int stray = header[end..].IndexOfAnyExcept((byte)' ');
            if (stray >= 0)
            {
                throw result.Broken(end + stray, "only spaces may follow the header's JSON");
            }
        }
        catch (JsonException exception)
        {
            throw result.Broken(reader.BytesConsumed, "the header is not valid JSON: " + exception.Message);
        }
        catch (InvalidOperationException exception)
        {
            // The reader's answer to an escaped half of a surrogate pair.
            throw result.Broken(reader.BytesConsumed, "a text of the header is not valid: " + exception.Message);
        }

        result.CheckLayout(dataLength);
        return result;
    }

    /// <summary>A name fit for a message: control characters escaped, cut to a sensible length.</summary>
    public static string Shown(string name)
    {
        const int LongestShown = 120;
        StringBuilder text = new();
        foreach (char character in name.AsSpan(0, Math.Min(name.Length, LongestShown)))
        {
            text = char.IsControl(character) || char.IsSurrogate(character) ? text.Append($"\\u{(int)character:x4}") : text.Append(character);
        }

        return name.Length > LongestShown ? $"'{text}...'" : $"'{text}'";
    }

    private void ReadRoot(ref Utf8JsonReader reader)
    {
        HashSet<string> names = new(StringComparer.Ordinal);
        reader.Read();
        while (NextKey(ref reader, out string name))
        {
            if (!names.Add(name))
            {
                throw Broken(reader.TokenStartIndex, $"the key {Shown(name)} occurs twice");
            }

            reader.Read();
            if (name == "__metadata__")
            {
                ReadMetadata(ref reader);
            }
            else
            {
                ReadTensor(ref reader, name);
            }
        }
    }

    private void ReadMetadata(ref Utf8JsonReader reader)
    {
        Expect(ref reader, JsonTokenType.StartObject, "__metadata__", "", "must be an object");
        while (NextKey(ref reader, out string key))
        {
            reader.Read();
            Expect(ref reader, JsonTokenType.String, "__metadata__", key, "must be a text");
            if (!Metadata.TryAdd(key, reader.GetString() ?? ""))
            {
                throw Broken(reader.TokenStartIndex, $"__metadata__ has the key {Shown(key)} twice");
            }

            if (Metadata.Count > MostTexts)
            {
                throw Broken(reader.TokenStartIndex, $"__metadata__ has more than {MostTexts} texts");
            }
        }
    }

    private void ReadTensor(ref Utf8JsonReader reader, string name)
    {
        Expect(ref reader, JsonTokenType.StartObject, "tensor", name, "must be an object");
        SafetensorsType? type = null;
        List<long>? shape = null;
        List<long>? offsets = null;
        while (NextKey(ref reader, out string key))
        {
            long keyOffset = reader.TokenStartIndex;
            reader.Read();
            bool isRepeated = key switch { "dtype" => type is not null, "shape" => shape is not null, "data_offsets" => offsets is not null, _ => false };
            if (isRepeated)
            {
                throw Broken(keyOffset, $"tensor {Shown(name)} has the key {Shown(key)} twice");
            }

            switch (key)
            {
                case "dtype":
                    type = ReadType(ref reader, name);
                    break;
                case "shape":
                    shape = ReadNumbers(ref reader, name, key);
                    break;
                case "data_offsets":
                    offsets = ReadNumbers(ref reader, name, key);
                    break;
                default:
                    throw Broken(keyOffset, $"tensor {Shown(name)} has the unknown key {Shown(key)}");
            }
        }

        if (type is not { } known || shape is null || offsets is not { Count: 2 })
        {
            throw Broken(reader.TokenStartIndex, $"tensor {Shown(name)} needs exactly dtype, shape and data_offsets with two numbers");
        }

        if (Tensors.Count == MostTensors)
        {
            throw Broken(reader.TokenStartIndex, $"the header has more than {MostTensors} tensors");
        }

        Tensors.Add(CheckTensor(name, known, shape, offsets[0], offsets[1]));
    }

    private SafetensorsTensor CheckTensor(string name, SafetensorsType type, List<long> shape, long begin, long end)
    {
        if (end < begin)
        {
            throw Broken($"tensor {Shown(name)} ends at {end}, before it begins at {begin}");
        }

        long bits = type.Bits();
        foreach (long dimension in shape)
        {
            if (dimension != 0 && bits > long.MaxValue / dimension)
            {
                throw Broken($"tensor {Shown(name)} has a shape whose size does not fit 64 bits");
            }

            bits *= dimension;
        }

        if (bits % 8 != 0)
        {
            throw Broken($"tensor {Shown(name)} takes {bits} bits, which is not a whole number of bytes");
        }

        return bits / 8 == end - begin
            ? new SafetensorsTensor(name, type, shape, begin, end - begin)
            : throw Broken($"tensor {Shown(name)} spans {end - begin} bytes, but {type.Name()} [{string.Join(", ", shape)}] takes {bits / 8}");
    }

    // Tensors fill the data section exactly: no hole, no overlap, no rest.
    private void CheckLayout(long dataLength)
    {
        Tensors.Sort((left, right) => left.Begin != right.Begin ? left.Begin.CompareTo(right.Begin) : left.ByteLength.CompareTo(right.ByteLength));
        long position = 0;
        foreach (SafetensorsTensor tensor in Tensors)
        {
            if (tensor.Begin != position)
            {
                string what = tensor.Begin > position ? "leaves a hole after" : "overlaps";
                throw Broken($"tensor {Shown(tensor.Name)} begins at {tensor.Begin} and {what} the tensor that ends at {position}");
            }

            position += tensor.ByteLength;
        }

        if (position != dataLength)
        {
            string what = position > dataLength ? "the file is truncated" : "bytes without an owner follow";
            throw Broken($"the tensors end at {position}, but the data section has {dataLength} bytes: {what}");
        }
    }

    private SafetensorsType ReadType(ref Utf8JsonReader reader, string name)
    {
        Expect(ref reader, JsonTokenType.String, "dtype of tensor", name, "must be a text");
        string text = reader.GetString() ?? "";
        return SafetensorsTypes.Find(text) ?? throw Broken(reader.TokenStartIndex, $"tensor {Shown(name)} has the unknown dtype {Shown(text)}");
    }

    private List<long> ReadNumbers(ref Utf8JsonReader reader, string name, string key)
    {
        Expect(ref reader, JsonTokenType.StartArray, key == "shape" ? "shape of tensor" : "data_offsets of tensor", name, "must be a list");
        List<long> numbers = [];
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (reader.TokenType != JsonTokenType.Number || !reader.TryGetInt64(out long number) || number < 0)
            {
                throw Broken(reader.TokenStartIndex, $"{key} of tensor {Shown(name)} holds something other than whole numbers from 0 to 2^63-1");
            }

            if (numbers.Count == MostDimensions)
            {
                throw Broken(reader.TokenStartIndex, $"{key} of tensor {Shown(name)} holds more than {MostDimensions} numbers");
            }

            numbers.Add(number);
        }

        return numbers;
    }

    private bool NextKey(ref Utf8JsonReader reader, out string key)
    {
        reader.Read();
        bool isKey = reader.TokenType == JsonTokenType.PropertyName;
        if (isKey && reader.ValueSpan.Length > LongestName)
        {
            throw Broken(reader.TokenStartIndex, $"a name of {reader.ValueSpan.Length} bytes; at most {LongestName} are allowed");
        }

        key = isKey ? reader.GetString() ?? "" : "";
        return isKey;
    }

    // The message is put together only when it is needed.
    private void Expect(ref Utf8JsonReader reader, JsonTokenType type, string what, string name, string rule)
    {
        if (reader.TokenType != type)
        {
            throw Broken(reader.TokenStartIndex, name.Length > 0 ? $"{what} {Shown(name)} {rule}" : $"{what} {rule}");
        }
    }

    private FileFormatException Broken(long headerOffset, string rule) => new($"{_path}: offset {PrefixLength + headerOffset}: {rule}");

    private FileFormatException Broken(string rule) => new($"{_path}: {rule}");
}
