using System.Buffers.Binary;
using System.Text.Encodings.Web;
using System.Text.Json;
using MoeSharp.Kernels;

namespace MoeSharp.Checkpoints;

/// <summary>Name, stored format and shape of a tensor to be written.</summary>
/// <param name="Name">Name in the file.</param>
/// <param name="Type">Stored format: F32, BF16 or I64.</param>
/// <param name="Shape">Dimensions.</param>
public sealed record TensorLayout(string Name, SafetensorsType Type, IReadOnlyList<int> Shape)
{
    /// <summary>Number of elements.</summary>
    public long Length => Shape.Aggregate(1L, (product, dimension) => checked(product * dimension));

    /// <summary>Bytes in the file.</summary>
    public long ByteLength => checked(Length * Type.Bits() / 8);
}

/// <summary>A tensor in memory, to be written or compared.</summary>
/// <param name="Name">Name in the file.</param>
/// <param name="Shape">Dimensions.</param>
/// <param name="Values">Elements in row-major order.</param>
public sealed record NamedTensor(string Name, IReadOnlyList<int> Shape, ReadOnlyMemory<float> Values);

/// <summary>Writes a safetensors file front to back: layouts first, then the elements of each tensor in that order, in pieces of any size.</summary>
public sealed class SafetensorsWriter
{
    private const int Alignment = 8;
    private const int PieceLength = 1 << 16;

    private readonly Stream _stream;
    private readonly IReadOnlyList<TensorLayout> _tensors;
    private readonly byte[] _piece = new byte[PieceLength * 2];
    private int _current;
    private long _written;

    /// <summary>Writes the header.</summary>
    /// <param name="stream">Destination; stays open.</param>
    /// <param name="tensors">Tensors in the order in which their elements will be appended.</param>
    /// <param name="metadata">Free texts; <c>format: pt</c> is added, other programs insist on it.</param>
    public SafetensorsWriter(Stream stream, IReadOnlyList<TensorLayout> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        _stream = stream;
        _tensors = tensors;
        byte[] header = Header(tensors, metadata);
        Span<byte> prefix = stackalloc byte[SafetensorsHeader.PrefixLength];
        BinaryPrimitives.WriteInt64LittleEndian(prefix, header.Length);
        stream.Write(prefix);
        stream.Write(header);
        SkipEmpty();
    }

    /// <summary>Writes tensors of a program's own as float32, under a temporary name that is renamed when complete.</summary>
    public static void WriteFile(string path, IReadOnlyList<NamedTensor> tensors)
    {
        string temporary = path + ".tmp";
        try
        {
            using (FileStream stream = new(temporary, FileMode.Create))
            {
                Write(stream, tensors);
            }

            File.Move(temporary, path, overwrite: true);
        }
        catch
        {
            File.Delete(temporary);
            throw;
        }
    }

    private static void Write(FileStream stream, IReadOnlyList<NamedTensor> tensors)
    {
        SafetensorsWriter writer = new(stream, [.. tensors.Select(tensor => new TensorLayout(tensor.Name, SafetensorsType.F32, tensor.Shape))], new Dictionary<string, string>());
        foreach (NamedTensor tensor in tensors)
        {
            if (tensor.Values.Length != tensor.Shape.Aggregate(1L, (product, dimension) => product * dimension))
            {
                throw new ArgumentException($"tensor {tensor.Name} has {tensor.Values.Length} elements, not those of its shape [{string.Join(", ", tensor.Shape)}]", nameof(tensors));
            }

            writer.Append(tensor.Values.Span);
        }

        writer.Finish();
    }

    /// <summary>Appends the next elements of the current F32 or BF16 tensor.</summary>
    public void Append(ReadOnlySpan<float> values)
    {
        if (values.IsEmpty)
        {
            return;
        }

        if (Current(values.Length).Type == SafetensorsType.F32)
        {
            _stream.Write(NumberFormats.Bytes(values));
        }
        else
        {
            Require(SafetensorsType.BF16);
            for (int done = 0; done < values.Length; done += PieceLength)
            {
                ReadOnlySpan<float> piece = values.Slice(done, Math.Min(PieceLength, values.Length - done));
                NumberFormats.WriteBFloat16(piece, _piece);
                _stream.Write(_piece, 0, piece.Length * 2);
            }
        }

        Advance(values.Length);
    }

    /// <summary>Appends the next elements of the current I64 tensor.</summary>
    public void Append(ReadOnlySpan<long> values)
    {
        if (values.IsEmpty)
        {
            return;
        }

        Current(values.Length);
        Require(SafetensorsType.I64);
        _stream.Write(NumberFormats.Bytes(values));
        Advance(values.Length);
    }

    /// <summary>Checks that every announced element has been written.</summary>
    /// <exception cref="InvalidOperationException">Some are missing.</exception>
    public void Finish()
    {
        if (_current != _tensors.Count)
        {
            throw new InvalidOperationException($"tensor {_tensors[_current].Name} has {_written} of {_tensors[_current].Length} elements");
        }
    }

    private static byte[] Header(IReadOnlyList<TensorLayout> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        using MemoryStream header = new();
        using (Utf8JsonWriter json = new(header, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            json.WriteStartObject("__metadata__");
            json.WriteString("format", "pt");
            foreach (KeyValuePair<string, string> pair in metadata.Where(pair => pair.Key != "format").OrderBy(pair => pair.Key, StringComparer.Ordinal))
            {
                json.WriteString(pair.Key, pair.Value);
            }

            json.WriteEndObject();
            WriteTensors(json, tensors);
            json.WriteEndObject();
        }

        while ((SafetensorsHeader.PrefixLength + header.Length) % Alignment != 0)
        {
            header.WriteByte((byte)' ');
        }

        return header.ToArray();
    }

    private static void WriteTensors(Utf8JsonWriter json, IReadOnlyList<TensorLayout> tensors)
    {
        HashSet<string> names = new(StringComparer.Ordinal) { "__metadata__" };
        long position = 0;
        foreach (TensorLayout tensor in tensors)
        {
            if (!names.Add(tensor.Name))
            {
                throw new ArgumentException($"the tensor name {tensor.Name} cannot be used, or is used twice", nameof(tensors));
            }

            long end = checked(position + tensor.ByteLength);
            json.WriteStartObject(tensor.Name);
            json.WriteString("dtype", tensor.Type.Name());
            json.WriteStartArray("shape");
            foreach (int dimension in tensor.Shape)
            {
                json.WriteNumberValue(dimension);
            }

            json.WriteEndArray();
            json.WriteStartArray("data_offsets");
            json.WriteNumberValue(position);
            json.WriteNumberValue(end);
            json.WriteEndArray();
            json.WriteEndObject();
            position = end;
        }
    }

    private TensorLayout Current(int count)
    {
        if (_current >= _tensors.Count)
        {
            throw new InvalidOperationException("every announced tensor has been written already");
        }

        TensorLayout tensor = _tensors[_current];
        return count <= tensor.Length - _written ? tensor : throw new InvalidOperationException($"tensor {tensor.Name} has {tensor.Length} elements, {_written + count} were given");
    }

    private void Require(SafetensorsType type)
    {
        if (_tensors[_current].Type != type)
        {
            throw new InvalidOperationException($"tensor {_tensors[_current].Name} was announced as {_tensors[_current].Type.Name()}, not {type.Name()}");
        }
    }

    private void Advance(int count)
    {
        _written += count;
        if (_written == _tensors[_current].Length)
        {
            _current++;
            _written = 0;
            SkipEmpty();
        }
    }

    private void SkipEmpty()
    {
        while (_current < _tensors.Count && _tensors[_current].Length == 0)
        {
            _current++;
        }
    }
}
