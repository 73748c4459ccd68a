using MoeSharp.Kernels;
using MoeSharp.Kernels.Formats;

namespace MoeSharp.Checkpoints;

/// <summary>One tensor of a GGUF file.</summary>
/// <param name="Name">Name in the file.</param>
/// <param name="Format">Stored format.</param>
/// <param name="Shape">Dimensions with the row dimension last: the reverse of the order in the file.</param>
/// <param name="Part">Which file of a split one, from 0.</param>
/// <param name="Offset">First byte in that file.</param>
/// <param name="ByteLength">Bytes stored.</param>
public sealed record GgufTensor(string Name, WeightFormat Format, IReadOnlyList<long> Shape, int Part, long Offset, long ByteLength)
{
    /// <summary>Number of elements.</summary>
    public long Length => ByteLength / Format.BlockBytes() * Format.BlockLength();

    /// <summary>Elements of a row: the last dimension.</summary>
    public long Columns => Shape[^1];
}

/// <summary>A GGUF file, or the parts of a split one, mapped into memory and fully validated when opened; tensors are decoded when read.</summary>
public sealed class GgufFile : IDisposable
{
    private readonly List<MappedFile> _parts = [];
    private readonly List<GgufTensor> _tensors = [];
    private readonly Dictionary<string, GgufTensor> _byName = new(StringComparer.Ordinal);

    private GgufFile(string path) => Path = path;

    /// <summary>Opens and validates a file. Any part of a split file opens all of them.</summary>
    /// <exception cref="FileFormatException">A file breaks a rule of the format; the message names it.</exception>
    /// <exception cref="IOException">A file cannot be read.</exception>
    public static GgufFile Open(string path)
    {
        GgufSplit split = GgufSplit.Of(path);
        GgufFile result = new(split.PathOf(0));
        try
        {
            result.OpenParts(split);
            return result;
        }
        catch
        {
            result.Dispose();
            throw;
        }
    }

    /// <summary>Where the file lies; the first part of a split one.</summary>
    public string Path { get; }

    /// <summary>Version of the layout, 2 or 3.</summary>
    public int Version { get; private set; }

    /// <summary>Number of files.</summary>
    public int NumParts => _parts.Count;

    /// <summary>Bytes of all files.</summary>
    public long ByteLength => _parts.Sum(part => part.Length);

    /// <summary>Metadata; of the first part if split.</summary>
    public GgufMetadata Metadata { get; private set; } = new("", [], new Dictionary<string, GgufValue>());

    /// <summary>Tensors in the order of the file.</summary>
    public IReadOnlyList<GgufTensor> Tensors => _tensors;

    /// <summary>Whether there is a tensor of this name.</summary>
    public bool Contains(string name) => _byName.ContainsKey(name);

    /// <summary>Format, shape and place of a tensor.</summary>
    /// <exception cref="FileFormatException">There is no such tensor.</exception>
    public GgufTensor Tensor(string name) =>
        _byName.TryGetValue(name, out GgufTensor? tensor) ? tensor : throw new FileFormatException($"{Path}: there is no tensor {SafetensorsHeader.Shown(name)}");

    /// <summary>Stored bytes of a tensor; the view must not outlive the file.</summary>
    /// <param name="tensor">A tensor of this file.</param>
    /// <param name="offset">First byte, counted from the tensor's own.</param>
    /// <param name="length">How many.</param>
    /// <exception cref="ArgumentOutOfRangeException">The range leaves the tensor.</exception>
    public ReadOnlySpan<byte> Bytes(GgufTensor tensor, long offset, int length)
    {
        if (offset < 0 || length < 0 || offset > tensor.ByteLength - length)
        {
            throw new ArgumentOutOfRangeException(nameof(offset), $"{Path}: range {offset}+{length} leaves tensor {SafetensorsHeader.Shown(tensor.Name)} of {tensor.ByteLength} bytes");
        }

        return _parts[tensor.Part].Slice(tensor.Offset + offset, length);
    }

    /// <summary>Copies stored bytes of a tensor without touching the mapping; see <see cref="MappedFile.Read"/>.</summary>
    /// <param name="tensor">A tensor of this file.</param>
    /// <param name="offset">First byte, counted from the tensor's own.</param>
    /// <param name="bytes">= bytes from there on.</param>
    /// <exception cref="ArgumentOutOfRangeException">The range leaves the tensor.</exception>
    internal void Read(GgufTensor tensor, long offset, Span<byte> bytes)
    {
        if (offset < 0 || offset > tensor.ByteLength - bytes.Length)
        {
            throw new ArgumentOutOfRangeException(nameof(offset), $"{Path}: range {offset}+{bytes.Length} leaves tensor {SafetensorsHeader.Shown(tensor.Name)} of {tensor.ByteLength} bytes");
        }

        _parts[tensor.Part].Read(tensor.Offset + offset, bytes);
    }

    /// <summary>Decodes a whole tensor.</summary>
    /// <param name="name">Tensor.</param>
    /// <param name="values">= elements in row-major order; exactly as long as the tensor.</param>
    /// <exception cref="FileFormatException">There is no such tensor.</exception>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    public void ReadFloats(string name, Span<float> values)
    {
        GgufTensor tensor = Tensor(name);
        if (values.Length != tensor.Length)
        {
            throw new ArgumentException($"{Path}: tensor {SafetensorsHeader.Shown(name)} has {tensor.Length} elements, room is for {values.Length}", nameof(values));
        }

        ReadFloats(name, 0, values);
    }

    /// <summary>Decodes part of a tensor: whole blocks of its format.</summary>
    /// <param name="name">Tensor.</param>
    /// <param name="first">First element; a multiple of the format's block length.</param>
    /// <param name="values">= elements from there on; a whole number of blocks.</param>
    /// <exception cref="FileFormatException">There is no such tensor.</exception>
    /// <exception cref="ArgumentException">The range leaves the tensor or cuts a block.</exception>
    public void ReadFloats(string name, long first, Span<float> values)
    {
        GgufTensor tensor = Tensor(name);
        int blockLength = tensor.Format.BlockLength();
        if (first < 0 || first > tensor.Length - values.Length || first % blockLength != 0 || values.Length % blockLength != 0)
        {
            throw new ArgumentException($"{Path}: range {first}+{values.Length} is not whole blocks of {blockLength} inside tensor {SafetensorsHeader.Shown(name)} of {tensor.Length} elements", nameof(first));
        }

        // Copied, not mapped: a file that is cut off while it is read is an error then, and not the end of the process.
        const int PieceBytes = 1 << 14;
        Span<byte> bytes = stackalloc byte[PieceBytes];
        int step = PieceBytes / tensor.Format.BlockBytes() * blockLength;
        for (int done = 0; done < values.Length; done += step)
        {
            Span<float> piece = values.Slice(done, Math.Min(step, values.Length - done));
            Span<byte> stored = bytes[..(int)tensor.Format.RowBytes(piece.Length)];
            Read(tensor, (first + done) / blockLength * tensor.Format.BlockBytes(), stored);
            BlockDecoder.Decode(tensor.Format, stored, piece);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (MappedFile part in _parts)
        {
            part.Dispose();
        }
    }

    private void OpenParts(GgufSplit split)
    {
        GgufHeader first = OpenPart(split, 0);
        Version = first.Version;
        Metadata = new GgufMetadata(Path, first.Keys, first.Values);
        split.CheckPart(Metadata, Path, 0);
        GgufRules.Check(Metadata, Path);
        for (int part = 1; part < split.Count; part++)
        {
            string path = split.PathOf(part);
            if (!File.Exists(path))
            {
                throw new FileFormatException($"{Path}: the model is split into {split.Count} files and {System.IO.Path.GetFileName(path)} is missing next to it");
            }

            GgufHeader header = OpenPart(split, part);
            split.CheckPart(new GgufMetadata(path, header.Keys, header.Values), path, part);
        }

        split.CheckTensors(Metadata, Path, _tensors.Count);
    }

    private GgufHeader OpenPart(GgufSplit split, int part)
    {
        string path = split.PathOf(part);
        MappedFile mapping = new(path);
        _parts.Add(mapping);
        GgufHeader header = GgufHeader.Read(mapping, path, part);
        foreach (GgufTensor tensor in header.Tensors)
        {
            if (!_byName.TryAdd(tensor.Name, tensor))
            {
                throw new FileFormatException($"{path}: the tensor {SafetensorsHeader.Shown(tensor.Name)} is also in another part of the model");
            }

            _tensors.Add(tensor);
        }

        return header;
    }
}
