using System.Buffers.Binary;
using MoeSharp.Kernels;
using MoeSharp.Kernels.Formats;

namespace MoeSharp.Checkpoints;

/// <summary>A safetensors file, mapped into memory and fully validated when opened; tensors are converted when read.</summary>
public sealed class SafetensorsFile : IDisposable
{
    private const int PieceBytes = 1 << 14; // copied at a time

    private readonly MappedFile _mapping;
    private readonly long _dataBegin;
    private readonly Dictionary<string, SafetensorsTensor> _tensors;

    private SafetensorsFile(string path, MappedFile mapping, SafetensorsHeader header, long dataBegin)
    {
        Path = path;
        _mapping = mapping;
        _dataBegin = dataBegin;
        _tensors = header.Tensors.ToDictionary(tensor => tensor.Name, StringComparer.Ordinal);
        Names = [.. header.Tensors.Select(tensor => tensor.Name)];
        Metadata = header.Metadata;
    }

    /// <summary>Opens and validates a file.</summary>
    /// <exception cref="FileFormatException">The file breaks a rule of the format; the message names it.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static SafetensorsFile Open(string path)
    {
        MappedFile mapping = new(path);
        try
        {
            int headerLength = SafetensorsHeader.ReadLength(mapping.Slice(0, (int)Math.Min(mapping.Length, SafetensorsHeader.PrefixLength)), mapping.Length, path);
            long dataBegin = SafetensorsHeader.PrefixLength + headerLength;
            SafetensorsHeader header = SafetensorsHeader.Parse(mapping.Slice(SafetensorsHeader.PrefixLength, headerLength), mapping.Length - dataBegin, path);
            return new SafetensorsFile(path, mapping, header, dataBegin);
        }
        catch
        {
            mapping.Dispose();
            throw;
        }
    }

    /// <summary>Where the file lies.</summary>
    public string Path { get; }

    /// <summary>Tensor names in data order.</summary>
    public IReadOnlyList<string> Names { get; }

    /// <summary>Free texts of the file.</summary>
    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>Whether there is a tensor of this name.</summary>
    public bool Contains(string name) => _tensors.ContainsKey(name);

    /// <summary>Type, shape and place of a tensor.</summary>
    /// <exception cref="FileFormatException">There is no such tensor.</exception>
    public SafetensorsTensor Tensor(string name) =>
        _tensors.TryGetValue(name, out SafetensorsTensor? tensor) ? tensor : throw new FileFormatException($"{Path}: there is no tensor {SafetensorsHeader.Shown(name)}");

    /// <summary>Reads a whole tensor as floats.</summary>
    /// <param name="name">Tensor.</param>
    /// <param name="values">= elements in row-major order; exactly as long as the tensor.</param>
    /// <exception cref="FileFormatException">There is no such tensor, or its format is not a float that is read.</exception>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    public void ReadFloats(string name, Span<float> values)
    {
        SafetensorsTensor tensor = Tensor(name);
        if (values.Length != tensor.Length)
        {
            throw new ArgumentException($"{Path}: tensor {SafetensorsHeader.Shown(name)} has {tensor.Length} elements, room is for {values.Length}", nameof(values));
        }

        ReadFloats(name, 0, values);
    }

    /// <summary>Reads part of a tensor as floats.</summary>
    /// <param name="name">Tensor.</param>
    /// <param name="first">First element.</param>
    /// <param name="values">= elements from there on.</param>
    /// <exception cref="FileFormatException">There is no such tensor, or its format is not a float that is read.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The range leaves the tensor.</exception>
    /// <exception cref="IOException">The file cannot be read, or has become shorter since it was opened.</exception>
    public void ReadFloats(string name, long first, Span<float> values)
    {
        SafetensorsTensor tensor = Tensor(name);
        WeightFormat format = tensor.Type.Format()
            ?? throw new FileFormatException($"{Path}: tensor {SafetensorsHeader.Shown(name)} is stored as {tensor.Type.Name()}; weights can be read from F32, BF16, F16, F64 and the 8-bit floats");
        int width = format.BlockBytes();
        if (first < 0 || first > tensor.Length - values.Length)
        {
            throw new ArgumentOutOfRangeException(nameof(first), $"{Path}: range {first}+{values.Length} leaves tensor {SafetensorsHeader.Shown(name)} of {tensor.Length} elements");
        }

        // Copied, not mapped: a file that is cut off while it is read is an error then, and not the end of the process.
        Span<byte> bytes = stackalloc byte[PieceBytes];
        int step = PieceBytes / width;
        for (int done = 0; done < values.Length; done += step)
        {
            Span<float> piece = values.Slice(done, Math.Min(step, values.Length - done));
            Span<byte> stored = bytes[..(piece.Length * width)];
            _mapping.Read(_dataBegin + tensor.Begin + ((first + done) * width), stored);
            BlockDecoder.Decode(format, stored, piece);
        }
    }

    /// <summary>Copies part of a tensor as it is stored.</summary>
    /// <param name="name">Tensor.</param>
    /// <param name="first">First element.</param>
    /// <param name="count">Elements.</param>
    /// <param name="bytes">= their bytes.</param>
    /// <exception cref="FileFormatException">There is no such tensor.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The range leaves the tensor.</exception>
    public void ReadBytes(string name, long first, long count, Span<byte> bytes)
    {
        SafetensorsTensor tensor = Tensor(name);
        int width = tensor.Type.Bits() / 8;
        if (first < 0 || count < 0 || first > tensor.Length - count)
        {
            throw new ArgumentOutOfRangeException(nameof(first), $"{Path}: range {first}+{count} leaves tensor {SafetensorsHeader.Shown(name)} of {tensor.Length} elements");
        }

        _mapping.Read(_dataBegin + tensor.Begin + (first * width), bytes[..checked((int)(count * width))]);
    }

    /// <summary>Reads a whole tensor of integers.</summary>
    /// <param name="name">Tensor.</param>
    /// <param name="values">= elements in row-major order; exactly as long as the tensor.</param>
    /// <exception cref="FileFormatException">There is no such tensor, it does not hold integers, or one does not fit 64 bits with sign.</exception>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    public void ReadIntegers(string name, Span<long> values)
    {
        SafetensorsTensor tensor = Tensor(name);
        if (values.Length != tensor.Length)
        {
            throw new ArgumentException($"{Path}: tensor {SafetensorsHeader.Shown(name)} has {tensor.Length} elements, room is for {values.Length}", nameof(values));
        }

        if (tensor.Type is not (SafetensorsType.Bool or SafetensorsType.U8 or SafetensorsType.I8 or SafetensorsType.I16 or SafetensorsType.U16
            or SafetensorsType.I32 or SafetensorsType.U32 or SafetensorsType.I64 or SafetensorsType.U64))
        {
            throw new FileFormatException($"{Path}: tensor {SafetensorsHeader.Shown(name)} is stored as {tensor.Type.Name()}, which is not an integer format");
        }

        int width = tensor.Type.Bits() / 8;
        Span<byte> bytes = stackalloc byte[PieceBytes];
        int step = PieceBytes / width;
        for (int done = 0; done < values.Length; done += step)
        {
            Span<long> piece = values.Slice(done, Math.Min(step, values.Length - done));
            Span<byte> stored = bytes[..(piece.Length * width)];
            _mapping.Read(_dataBegin + tensor.Begin + ((long)done * width), stored);
            for (int i = 0; i < piece.Length; i++)
            {
                piece[i] = Integer(tensor.Type, stored[(i * width)..])
                    ?? throw new FileFormatException($"{Path}: element {done + i} of tensor {SafetensorsHeader.Shown(name)} is above 2^63-1");
            }
        }
    }

    // Null where it does not fit.
    private static long? Integer(SafetensorsType type, ReadOnlySpan<byte> bytes) => type switch
    {
        SafetensorsType.Bool or SafetensorsType.U8 => bytes[0],
        SafetensorsType.I8 => (sbyte)bytes[0],
        SafetensorsType.I16 => BinaryPrimitives.ReadInt16LittleEndian(bytes),
        SafetensorsType.U16 => BinaryPrimitives.ReadUInt16LittleEndian(bytes),
        SafetensorsType.I32 => BinaryPrimitives.ReadInt32LittleEndian(bytes),
        SafetensorsType.U32 => BinaryPrimitives.ReadUInt32LittleEndian(bytes),
        SafetensorsType.U64 when BinaryPrimitives.ReadInt64LittleEndian(bytes) < 0 => null,
        _ => BinaryPrimitives.ReadInt64LittleEndian(bytes),
    };

    /// <inheritdoc/>
    public void Dispose() => _mapping.Dispose();
}
