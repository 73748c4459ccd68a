using System.Buffers.Binary;
using System.Text;
using System.Text.Unicode;
using MoeSharp.Kernels;
using MoeSharp.Kernels.Formats;

namespace MoeSharp.Checkpoints;

/// <summary>The part of a GGUF file before its data, read under every rule of the format before anything is trusted.</summary>
/// <remarks>
/// Every count and length is compared with the bytes that are left before it is used, and every sum and product is checked. Metadata values stay in the file.
/// Arrays may contain arrays: they are walked with a list of pending counts, not by recursion, so no file can exhaust the stack.
/// </remarks>
internal sealed class GgufHeader
{
    /// <summary>Alignment of the data where the file names none.</summary>
    public const int DefaultAlignment = 32;

    /// <summary>Bytes of the longest key.</summary>
    public const int LongestKey = 65535;

    /// <summary>Bytes of the longest tensor name.</summary>
    public const int LongestName = 63;

    /// <summary>Dimensions that a tensor may have.</summary>
    public const int MostDimensions = 4;

    private const string AlignmentKey = "general.alignment";
    private const long LargestAlignment = 1 << 20;
    private const int FixedBytes = 24; // magic, version and both counts
    private const int SmallestEntry = 14; // key length, one letter, type, one byte
    private const int SmallestTensor = 33; // name length, one letter, rank, one dimension, type, offset
    private const int SmallestArray = 12; // type and count
    private const int DeepestArray = 8;
    private const long LongestText = 1 << 30;

    // Far above every published file (one of 256 experts in 61 layers, each its own tensor, has 47,000): they bound the tables built from a hostile one.
    private const long MostEntries = 1 << 16;
    private const long MostTensors = 1 << 18;

    private readonly MappedFile _mapping;
    private readonly string _path;
    private long _position;

    private GgufHeader(MappedFile mapping, string path)
    {
        _mapping = mapping;
        _path = path;
    }

    /// <summary>Version of the layout, 2 or 3.</summary>
    public int Version { get; private set; }

    /// <summary>Data begins, and every tensor begins, at a multiple of this.</summary>
    public long Alignment { get; private set; } = DefaultAlignment;

    /// <summary>Keys in the order of the file.</summary>
    public List<string> Keys { get; } = [];

    /// <summary>Values by key.</summary>
    public Dictionary<string, GgufValue> Values { get; } = new(StringComparer.Ordinal);

    /// <summary>Tensors in the order of the file.</summary>
    public List<GgufTensor> Tensors { get; } = [];

    private long Left => _mapping.Length - _position;

    /// <summary>Reads the header of a mapped file.</summary>
    /// <param name="mapping">The file.</param>
    /// <param name="path">File name for messages.</param>
    /// <param name="part">Number that the tensors get as their <see cref="GgufTensor.Part"/>.</param>
    /// <exception cref="FileFormatException">A rule is broken.</exception>
    public static GgufHeader Read(MappedFile mapping, string path, int part)
    {
        GgufHeader header = new(mapping, path);
        if (mapping.Length < FixedBytes)
        {
            throw new FileFormatException($"{path}: only {mapping.Length} bytes; a GGUF file has at least {FixedBytes}. Download it again");
        }

        header.ReadVersion();
        long tensors = header.ReadCount("tensors", SmallestTensor, MostTensors);
        long entries = header.ReadCount("metadata entries", SmallestEntry, MostEntries);
        for (long i = 0; i < entries; i++)
        {
            header.ReadEntry();
        }

        header.ReadAlignment();
        header.ReadTensors(tensors, part);
        return header;
    }

    private void ReadVersion()
    {
        if (!_mapping.Slice(0, 4).SequenceEqual("GGUF"u8))
        {
            throw Broken("the file does not start with GGUF; this is not a GGUF file");
        }

        _position = 4;
        uint version = ReadUInt32("the version");
        Version = version switch
        {
            2 or 3 => (int)version,
            1 => throw Broken("version 1 counts in 32 bits and is not read; convert the file to version 3"),
            _ when BinaryPrimitives.ReverseEndianness(version) is >= 1 and <= 3 => throw Broken("the file is big-endian; only little-endian files are read"),
            _ => throw Broken($"version {version} is unknown; versions 2 and 3 are read"),
        };
    }

    private long ReadCount(string what, int smallest, long most)
    {
        ulong count = ReadUInt64($"the number of {what}");
        if (count > (ulong)(Left / smallest))
        {
            throw Broken($"{count} {what} do not fit into the {Left} bytes that are left");
        }

        return (long)count <= most ? (long)count : throw Broken($"{count} {what} are above the bound of {most}");
    }

    private void ReadEntry()
    {
        long begin = _position;
        string key = ReadName("a key", LongestKey);
        GgufValueType type = ReadType(key);
        GgufValue value = ReadValue(key, type);
        if (!Values.TryAdd(key, value))
        {
            _position = begin;
            throw Broken($"the metadata {SafetensorsHeader.Shown(key)} occurs twice");
        }

        Keys.Add(key);
    }

    private GgufValueType ReadType(string key)
    {
        uint type = ReadUInt32("a type", key);
        return type < GgufValueTypes.Count ? (GgufValueType)type : throw Broken($"the metadata {SafetensorsHeader.Shown(key)} has the unknown type {type}");
    }

    private GgufValue ReadValue(string key, GgufValueType type)
    {
        long begin = _position;
        GgufValueType elementType = type;
        long count = 1;
        long first = begin;
        if (type == GgufValueType.String)
        {
            count = ReadTextLength(key);
            first = Skip(count);
        }
        else if (type == GgufValueType.Array)
        {
            elementType = ReadType(key);
            count = ReadElementCount(key, elementType);
            first = _position;
            _position = begin;
            SkipArray(key);
        }
        else
        {
            Take(type.Bytes(), "a value", key);
            CheckBools(key, type, first, 1);
        }

        return new GgufValue(_mapping, type, elementType, count, first, begin, _position);
    }

    // One pending count per open array; depth first.
    private void SkipArray(string key)
    {
        Span<long> pending = stackalloc long[DeepestArray];
        int depth = 1;
        pending[0] = 1;
        while (depth > 0)
        {
            if (pending[depth - 1]-- == 0)
            {
                depth--;
                continue;
            }

            GgufValueType type = ReadType(key);
            long count = ReadElementCount(key, type);
            if (type == GgufValueType.Array)
            {
                if (depth == DeepestArray)
                {
                    throw Broken($"the metadata {SafetensorsHeader.Shown(key)} has arrays in arrays more than {DeepestArray} deep");
                }

                pending[depth++] = count;
            }
            else if (type == GgufValueType.String)
            {
                for (long i = 0; i < count; i++)
                {
                    Skip(ReadTextLength(key));
                }
            }
            else
            {
                CheckBools(key, type, _position, count);
                Skip(count * type.Bytes());
            }
        }
    }

    private long ReadElementCount(string key, GgufValueType type)
    {
        ulong count = ReadUInt64("the length of an array", key);
        int smallest = type switch { GgufValueType.String => sizeof(long), GgufValueType.Array => SmallestArray, _ => type.Bytes() };
        return count <= (ulong)(Left / smallest)
            ? (long)count
            : throw Broken($"the metadata {SafetensorsHeader.Shown(key)} claims {count} elements of type {type.Name()}; {Left} bytes are left");
    }

    private long ReadTextLength(string key)
    {
        ulong length = ReadUInt64("the length of a text", key);
        return length <= (ulong)Left && length <= LongestText
            ? (long)length
            : throw Broken($"the metadata {SafetensorsHeader.Shown(key)} claims a text of {length} bytes; {Left} bytes are left and at most {LongestText} are allowed");
    }

    private void CheckBools(string key, GgufValueType type, long position, long count)
    {
        const int Piece = 1 << 20;
        for (long done = 0; type == GgufValueType.Bool && done < count; done += Piece)
        {
            if (_mapping.Slice(position + done, (int)Math.Min(Piece, count - done)).IndexOfAnyExcept((byte)0, (byte)1) >= 0)
            {
                throw Broken($"the metadata {SafetensorsHeader.Shown(key)} is a truth value that is neither 0 nor 1");
            }
        }
    }

    private void ReadAlignment()
    {
        if (!Values.TryGetValue(AlignmentKey, out GgufValue value))
        {
            return;
        }

        if (value.Type != GgufValueType.UInt32)
        {
            throw new FileFormatException($"{_path}: {AlignmentKey} is of type {value.Type.Name()}; the format wants u32");
        }

        Alignment = value.Integer(0) ?? 0;
        if (Alignment is < 8 or > LargestAlignment || !long.IsPow2(Alignment))
        {
            throw new FileFormatException($"{_path}: {AlignmentKey} is {Alignment}; it must be a power of two from 8 to {LargestAlignment}");
        }
    }

    private void ReadTensors(long count, int part)
    {
        HashSet<string> names = new(StringComparer.Ordinal);
        long next = 0;
        for (long i = 0; i < count; i++)
        {
            long begin = _position;
            GgufTensor tensor = ReadTensor(part);
            if (!names.Add(tensor.Name))
            {
                throw Broken(begin, $"the tensor {SafetensorsHeader.Shown(tensor.Name)} occurs twice");
            }

            if (tensor.Offset % Alignment != 0)
            {
                throw Broken(begin, $"tensor {SafetensorsHeader.Shown(tensor.Name)} begins at {tensor.Offset}, not at a multiple of the alignment {Alignment}");
            }

            if (tensor.Offset != next)
            {
                throw Broken(begin, $"tensor {SafetensorsHeader.Shown(tensor.Name)} begins at {tensor.Offset}, but the one before it ends at {next}, padding included");
            }

            next = tensor.ByteLength <= long.MaxValue - (4 * LargestAlignment) - next
                ? Padded(next + tensor.ByteLength)
                : throw Broken(begin, $"the tensors up to {SafetensorsHeader.Shown(tensor.Name)} take more bytes than fit 64 bits");
            Tensors.Add(tensor);
        }

        PlaceTensors();
    }

    private GgufTensor ReadTensor(int part)
    {
        string name = ReadName("a tensor name", LongestName);
        uint rank = ReadUInt32("a number of dimensions");
        if (rank is 0 or > MostDimensions)
        {
            throw Broken($"tensor {SafetensorsHeader.Shown(name)} has {rank} dimensions; 1 to {MostDimensions} are allowed");
        }

        long[] shape = new long[rank];
        long length = 1;
        for (int i = (int)rank - 1; i >= 0; i--)
        {
            ulong dimension = ReadUInt64("a dimension");
            if (dimension > long.MaxValue || (dimension != 0 && length > long.MaxValue / (long)dimension))
            {
                throw Broken($"tensor {SafetensorsHeader.Shown(name)} has a shape whose size does not fit 64 bits");
            }

            shape[i] = (long)dimension;
            length *= shape[i];
        }

        WeightFormat format = ReadFormat(name);
        if (shape[^1] % format.BlockLength() != 0)
        {
            throw Broken($"tensor {SafetensorsHeader.Shown(name)} has rows of {shape[^1]}; {format.Name()} stores blocks of {format.BlockLength()}");
        }

        long blocks = length / format.BlockLength();
        if (blocks > long.MaxValue / format.BlockBytes())
        {
            throw Broken($"tensor {SafetensorsHeader.Shown(name)} takes more bytes than fit 64 bits");
        }

        ulong offset = ReadUInt64("an offset");
        return offset <= long.MaxValue
            ? new GgufTensor(name, format, shape, part, (long)offset, blocks * format.BlockBytes())
            : throw Broken($"tensor {SafetensorsHeader.Shown(name)} begins at {offset}, which does not fit 63 bits");
    }

    private WeightFormat ReadFormat(string name)
    {
        uint type = ReadUInt32("a tensor type");
        return WeightFormats.FromGgmlType(type) ?? throw Broken(GgufTypeNames.Find(type) is { } known
            ? $"tensor {SafetensorsHeader.Shown(name)} is stored as {known}, which is not supported; {string.Join(", ", GgufTypeNames.Supported)} are"
            : $"tensor {SafetensorsHeader.Shown(name)} has the unknown or removed type {type}");
    }

    // Offsets count from the padded end of the header; a file without tensors may end before it.
    private void PlaceTensors()
    {
        long dataBegin = Padded(_position);
        for (int i = 0; i < Tensors.Count; i++)
        {
            GgufTensor tensor = Tensors[i];
            if (tensor.ByteLength > _mapping.Length - dataBegin - tensor.Offset)
            {
                throw new FileFormatException($"{_path}: tensor {SafetensorsHeader.Shown(tensor.Name)} needs {tensor.ByteLength} bytes from {dataBegin + tensor.Offset} on, the file ends at {_mapping.Length}; it is truncated");
            }

            Tensors[i] = tensor with { Offset = dataBegin + tensor.Offset };
        }
    }

    private string ReadName(string what, int longest)
    {
        ulong length = ReadUInt64("a length");
        if (length == 0 || length > (ulong)longest || length > (ulong)Left)
        {
            throw Broken($"{what} of {length} bytes; 1 to {longest} are allowed and {Left} are left");
        }

        ReadOnlySpan<byte> bytes = _mapping.Slice(_position, (int)length);
        if (!Utf8.IsValid(bytes))
        {
            throw Broken($"{what} is not valid UTF-8");
        }

        _position += bytes.Length;
        return Encoding.UTF8.GetString(bytes);
    }

    // What is read, and for which key, becomes a message only when it is needed: vocabularies have hundreds of thousands of lengths.
    private uint ReadUInt32(string what, string key = "") => BinaryPrimitives.ReadUInt32LittleEndian(Take(sizeof(uint), what, key));

    private ulong ReadUInt64(string what, string key = "") => BinaryPrimitives.ReadUInt64LittleEndian(Take(sizeof(ulong), what, key));

    private ReadOnlySpan<byte> Take(int length, string what, string key)
    {
        if (length > Left)
        {
            throw Broken($"the file ends inside {what}{(key.Length > 0 ? $" of {SafetensorsHeader.Shown(key)}" : "")}");
        }

        ReadOnlySpan<byte> bytes = _mapping.Slice(_position, length);
        _position += length;
        return bytes;
    }

    private long Skip(long length)
    {
        long begin = _position;
        _position += length;
        return begin;
    }

    private long Padded(long position) => (position + Alignment - 1) & -Alignment;

    private FileFormatException Broken(string rule) => Broken(_position, rule);

    private FileFormatException Broken(long position, string rule) => new($"{_path}: offset {position}: {rule}");
}
