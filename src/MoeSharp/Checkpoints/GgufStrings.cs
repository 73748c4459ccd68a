using System.Buffers.Binary;
using System.Text;
using System.Text.Unicode;
using MoeSharp.Kernels;

namespace MoeSharp.Checkpoints;

/// <summary>An array of texts that stays in the file, such as a vocabulary: eight bytes of memory per text.</summary>
public sealed class GgufStrings
{
    private const int LengthBytes = 8;

    private readonly MappedFile _mapping;
    private readonly string _place;
    private readonly long[] _begins;

    internal GgufStrings(MappedFile mapping, long position, int count, string place)
    {
        _mapping = mapping;
        _place = place;
        _begins = new long[count];
        for (int i = 0; i < count; i++)
        {
            _begins[i] = position;
            position += LengthBytes + Length(position);
        }
    }

    /// <summary>Number of texts.</summary>
    public int Count => _begins.Length;

    /// <summary>Bytes of a text, as stored: UTF-8 by the format's rule, but not checked. Valid as long as the file is open.</summary>
    public ReadOnlySpan<byte> this[int index] => _mapping.Slice(_begins[index] + LengthBytes, (int)Length(_begins[index]));

    /// <summary>A text.</summary>
    /// <exception cref="FileFormatException">The bytes are not UTF-8.</exception>
    public string Text(int index)
    {
        ReadOnlySpan<byte> bytes = this[index];
        return Utf8.IsValid(bytes) ? Encoding.UTF8.GetString(bytes) : throw new FileFormatException($"{_place}: text {index} is not valid UTF-8");
    }

    /// <summary>All texts.</summary>
    /// <exception cref="FileFormatException">The bytes of one are not UTF-8.</exception>
    public string[] ToArray()
    {
        string[] texts = new string[Count];
        for (int i = 0; i < texts.Length; i++)
        {
            texts[i] = Text(i);
        }

        return texts;
    }

    private long Length(long position) => BinaryPrimitives.ReadInt64LittleEndian(_mapping.Slice(position, LengthBytes));
}
