using System.Buffers.Binary;
using System.Text;
using System.Text.Unicode;

namespace MoeSharp.Tokenization;

/// <summary>A field of a protobuf message.</summary>
/// <param name="Number">Its number.</param>
/// <param name="WireType">How it is stored: 0 number, 1 eight bytes, 2 bytes with a length, 5 four bytes.</param>
/// <param name="Value">The number, or the bits of the fixed bytes.</param>
/// <param name="Start">Where its bytes begin.</param>
/// <param name="Length">How many there are.</param>
internal readonly record struct ProtobufField(int Number, int WireType, ulong Value, int Start, int Length);

/// <summary>Reads the fields of a protobuf message from outside; knows nothing of what they mean.</summary>
internal sealed class ProtobufReader
{
    private readonly byte[] _content;
    private readonly string _file;
    private readonly int _end;
    private int _position;

    /// <summary>Begins with a whole file.</summary>
    public ProtobufReader(byte[] content, string file)
        : this(content, file, 0, content.Length)
    {
    }

    private ProtobufReader(byte[] content, string file, int start, int end)
    {
        _content = content;
        _file = file;
        _position = start;
        _end = end;
    }

    /// <summary>Reads the next field; false at the end of the message.</summary>
    public bool TryReadField(out ProtobufField field)
    {
        field = default;
        if (_position == _end)
        {
            return false;
        }

        ulong key = ReadVarint();
        ulong number = key >> 3;
        if (number is 0 or > int.MaxValue)
        {
            throw Wrong("a field has an impossible number");
        }

        field = ReadValue((int)number, (int)(key & 7));
        return true;
    }

    /// <summary>A message inside a field.</summary>
    public ProtobufReader Open(ProtobufField field)
    {
        Expect(field, 2);
        return new ProtobufReader(_content, _file, field.Start, field.Start + field.Length);
    }

    /// <summary>The bytes of a field.</summary>
    public ReadOnlySpan<byte> Bytes(ProtobufField field)
    {
        Expect(field, 2);
        return _content.AsSpan(field.Start, field.Length);
    }

    /// <summary>The text of a field.</summary>
    public string Text(ProtobufField field)
    {
        ReadOnlySpan<byte> bytes = Bytes(field);
        return Utf8.IsValid(bytes) ? Encoding.UTF8.GetString(bytes) : throw Wrong($"the text at byte {field.Start} is not UTF-8");
    }

    /// <summary>The whole number of a field.</summary>
    public long Number(ProtobufField field)
    {
        Expect(field, 0);
        return unchecked((long)field.Value);
    }

    /// <summary>The number of a field.</summary>
    public float Float(ProtobufField field)
    {
        Expect(field, 5);
        return BitConverter.UInt32BitsToSingle((uint)field.Value);
    }

    /// <summary>A complaint about the file.</summary>
    public FileFormatException Wrong(string rule) => new($"{_file} is not a SentencePiece model: {rule}.");

    private ProtobufField ReadValue(int number, int wireType)
    {
        int start = _position;
        switch (wireType)
        {
            case 0:
                return new ProtobufField(number, wireType, ReadVarint(), start, 0);
            case 1:
                return new ProtobufField(number, wireType, BinaryPrimitives.ReadUInt64LittleEndian(_content.AsSpan(Skip(8))), start, 8);
            case 2:
                ulong length = ReadVarint();
                if (length > (ulong)(_end - _position))
                {
                    throw Wrong($"the field at byte {start} is {length} bytes long, but {_end - _position} are left");
                }

                return new ProtobufField(number, wireType, 0, Skip((int)length), (int)length);
            case 5:
                return new ProtobufField(number, wireType, BinaryPrimitives.ReadUInt32LittleEndian(_content.AsSpan(Skip(4))), start, 4);
            default:
                throw Wrong($"the field at byte {start} has the unknown storage {wireType}");
        }
    }

    private int Skip(int length)
    {
        if (length > _end - _position)
        {
            throw Wrong("it ends inside a field");
        }

        int start = _position;
        _position += length;
        return start;
    }

    private ulong ReadVarint()
    {
        ulong value = 0;
        for (int shift = 0; shift < 64; shift += 7)
        {
            byte part = _content[Skip(1)];
            value |= (ulong)(part & 0x7F) << shift;
            if (part < 0x80)
            {
                return value;
            }
        }

        throw Wrong($"the number that ends at byte {_position} is longer than ten bytes");
    }

    private void Expect(ProtobufField field, int wireType)
    {
        if (field.WireType != wireType)
        {
            throw Wrong($"field {field.Number} at byte {field.Start} has storage {field.WireType}, expected {wireType}");
        }
    }
}

/// <summary>Writes the fields of a protobuf message.</summary>
internal sealed class ProtobufWriter
{
    private readonly MemoryStream _stream = new();

    /// <summary>Writes a whole number.</summary>
    public void WriteNumber(int number, long value)
    {
        WriteVarint(((ulong)number << 3) | 0);
        WriteVarint(unchecked((ulong)value));
    }

    /// <summary>Writes a number.</summary>
    public void WriteFloat(int number, float value)
    {
        WriteVarint(((ulong)number << 3) | 5);
        Span<byte> bytes = stackalloc byte[4];
        BinaryPrimitives.WriteSingleLittleEndian(bytes, value);
        _stream.Write(bytes);
    }

    /// <summary>Writes a text.</summary>
    public void WriteText(int number, string value) => WriteBytes(number, Encoding.UTF8.GetBytes(value));

    /// <summary>Writes bytes.</summary>
    public void WriteBytes(int number, ReadOnlySpan<byte> value)
    {
        WriteVarint(((ulong)number << 3) | 2);
        WriteVarint((ulong)value.Length);
        _stream.Write(value);
    }

    /// <summary>Writes a message.</summary>
    public void WriteMessage(int number, ProtobufWriter message) => WriteBytes(number, message.ToArray());

    /// <summary>What was written.</summary>
    public byte[] ToArray() => _stream.ToArray();

    private void WriteVarint(ulong value)
    {
        for (; value >= 0x80; value >>= 7)
        {
            _stream.WriteByte((byte)(value | 0x80));
        }

        _stream.WriteByte((byte)value);
    }
}
