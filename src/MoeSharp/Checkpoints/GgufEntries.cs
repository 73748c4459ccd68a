using System.Buffers.Binary;
using System.Text;
using MoeSharp.Kernels;

namespace MoeSharp.Checkpoints;

/// <summary>Metadata of a GGUF file that is to be written, in order.</summary>
public sealed class GgufEntries
{
    private readonly HashSet<string> _keys = new(StringComparer.Ordinal);
    private readonly MemoryStream _bytes = new();

    /// <summary>Number of entries.</summary>
    public int Count => _keys.Count;

    /// <summary>Adds a text.</summary>
    public void Add(string key, string value)
    {
        Begin(key, GgufValueType.String);
        WriteText(value);
    }

    /// <summary>Adds an unsigned 32-bit number, the usual type of counts.</summary>
    public void Add(string key, uint value)
    {
        Begin(key, GgufValueType.UInt32);
        WriteNumber(value, sizeof(uint));
    }

    /// <summary>Adds an unsigned 16-bit number.</summary>
    public void Add(string key, ushort value)
    {
        Begin(key, GgufValueType.UInt16);
        WriteNumber(value, sizeof(ushort));
    }

    /// <summary>Adds a signed 32-bit number.</summary>
    public void Add(string key, int value)
    {
        Begin(key, GgufValueType.Int32);
        WriteNumber((uint)value, sizeof(int));
    }

    /// <summary>Adds a float.</summary>
    public void Add(string key, float value)
    {
        Begin(key, GgufValueType.Float32);
        WriteNumber(BitConverter.SingleToUInt32Bits(value), sizeof(float));
    }

    /// <summary>Adds a truth value.</summary>
    public void Add(string key, bool value)
    {
        Begin(key, GgufValueType.Bool);
        _bytes.WriteByte(value ? (byte)1 : (byte)0);
    }

    /// <summary>Adds an array of texts.</summary>
    public void Add(string key, IReadOnlyList<string> values)
    {
        BeginArray(key, GgufValueType.String, values.Count);
        foreach (string value in values)
        {
            WriteText(value);
        }
    }

    /// <summary>Adds an array of texts given as bytes, UTF-8 as far as the reader is concerned.</summary>
    public void Add(string key, IReadOnlyList<byte[]> values)
    {
        BeginArray(key, GgufValueType.String, values.Count);
        foreach (byte[] value in values)
        {
            WriteNumber((ulong)value.Length, sizeof(ulong));
            _bytes.Write(value);
        }
    }

    /// <summary>Adds an array of signed 32-bit numbers.</summary>
    public void Add(string key, IReadOnlyList<int> values)
    {
        BeginArray(key, GgufValueType.Int32, values.Count);
        foreach (int value in values)
        {
            WriteNumber((uint)value, sizeof(int));
        }
    }

    /// <summary>Adds an array of floats.</summary>
    public void Add(string key, ReadOnlySpan<float> values)
    {
        BeginArray(key, GgufValueType.Float32, values.Length);
        _bytes.Write(NumberFormats.Bytes(values));
    }

    /// <summary>Adds an entry of another file as it is.</summary>
    /// <exception cref="FileFormatException">It is not there.</exception>
    public void Copy(GgufMetadata source, string key)
    {
        GgufValue value = source.Find(key) ?? throw new FileFormatException($"the metadata lacks {SafetensorsHeader.Shown(key)}");
        Begin(key, value.Type);
        value.CopyTo(_bytes);
    }

    internal void WriteTo(Stream stream) => _bytes.WriteTo(stream);

    private void BeginArray(string key, GgufValueType elementType, int count)
    {
        Begin(key, GgufValueType.Array);
        WriteNumber((uint)elementType, sizeof(uint));
        WriteNumber((ulong)count, sizeof(ulong));
    }

    private void Begin(string key, GgufValueType type)
    {
        int length = Encoding.UTF8.GetByteCount(key);
        if (length is 0 or > GgufHeader.LongestKey || !_keys.Add(key))
        {
            throw new ArgumentException($"the metadata key {SafetensorsHeader.Shown(key)} is empty, too long or there already", nameof(key));
        }

        WriteText(key);
        WriteNumber((uint)type, sizeof(uint));
    }

    private void WriteText(string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        WriteNumber((ulong)bytes.Length, sizeof(ulong));
        _bytes.Write(bytes);
    }

    private void WriteNumber(ulong value, int width)
    {
        Span<byte> bytes = stackalloc byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        _bytes.Write(bytes[..width]);
    }
}
