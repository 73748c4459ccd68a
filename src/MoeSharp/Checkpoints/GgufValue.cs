using System.Buffers.Binary;
using MoeSharp.Kernels;

namespace MoeSharp.Checkpoints;

/// <summary>A metadata value where it lies in the file; nothing is copied until it is asked for.</summary>
/// <remarks>The header's reader has checked that the bytes are there; the value must not outlive its file.</remarks>
public readonly struct GgufValue
{
    private readonly MappedFile _mapping;
    private readonly long _position;
    private readonly long _begin;
    private readonly long _end;

    // The position is that of the first element; the value as a whole lies between begin and end.
    internal GgufValue(MappedFile mapping, GgufValueType type, GgufValueType elementType, long count, long position, long begin, long end)
    {
        _mapping = mapping;
        _position = position;
        _begin = begin;
        _end = end;
        Type = type;
        ElementType = elementType;
        Count = count;
    }

    /// <summary>Type of the value.</summary>
    public GgufValueType Type { get; }

    /// <summary>Type of the elements of an array; the type of the value itself otherwise.</summary>
    public GgufValueType ElementType { get; }

    /// <summary>Elements of an array, bytes of a text, 1 otherwise.</summary>
    public long Count { get; }

    /// <summary>Bytes of a text.</summary>
    internal ReadOnlySpan<byte> Utf8 => _mapping.Slice(_position, checked((int)Count));

    /// <summary>Writes the value as it is stored, without its type.</summary>
    internal void CopyTo(Stream stream)
    {
        const int Piece = 1 << 20;
        for (long position = _begin; position < _end; position += Piece)
        {
            stream.Write(_mapping.Slice(position, (int)Math.Min(Piece, _end - position)));
        }
    }

    /// <summary>Element of an array of whole numbers, or the number itself; null when it does not fit 64 bits with sign.</summary>
    internal long? Integer(long index)
    {
        ReadOnlySpan<byte> bytes = Element(index);
        return ElementType switch
        {
            GgufValueType.UInt8 => bytes[0],
            GgufValueType.Int8 => (sbyte)bytes[0],
            GgufValueType.UInt16 => BinaryPrimitives.ReadUInt16LittleEndian(bytes),
            GgufValueType.Int16 => BinaryPrimitives.ReadInt16LittleEndian(bytes),
            GgufValueType.UInt32 => BinaryPrimitives.ReadUInt32LittleEndian(bytes),
            GgufValueType.Int32 => BinaryPrimitives.ReadInt32LittleEndian(bytes),
            GgufValueType.UInt64 when BinaryPrimitives.ReadInt64LittleEndian(bytes) < 0 => null,
            _ => BinaryPrimitives.ReadInt64LittleEndian(bytes),
        };
    }

    /// <summary>Element of an array of floats, or the float itself.</summary>
    internal double Float(long index) =>
        ElementType == GgufValueType.Float64 ? BinaryPrimitives.ReadDoubleLittleEndian(Element(index)) : BinaryPrimitives.ReadSingleLittleEndian(Element(index));

    /// <summary>Element of an array of truth values, or the value itself.</summary>
    internal bool Bool(long index) => Element(index)[0] != 0;

    /// <summary>The texts of an array of texts.</summary>
    internal GgufStrings Strings(string place) => new(_mapping, _position, checked((int)Count), place);

    private ReadOnlySpan<byte> Element(long index)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((ulong)index, (ulong)Count);
        return _mapping.Slice(_position + (index * ElementType.Bytes()), ElementType.Bytes());
    }
}
