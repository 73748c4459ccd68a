using System.Buffers.Binary;
using System.Text;
using MoeSharp.Kernels.Formats;

namespace MoeSharp.Checkpoints;

/// <summary>Writes a GGUF file of version 3 front to back: metadata and layouts first, then the blocks of each tensor in that order, in pieces of any size.</summary>
/// <remarks>The file has a temporary name until <see cref="Complete"/>; what is not completed is deleted.</remarks>
public sealed class GgufWriter : IDisposable
{
    private const uint Version = 3;
    private const int Alignment = GgufHeader.DefaultAlignment;
    private const int BufferBytes = 1 << 20;
    private const string TemporarySuffix = ".tmp";

    private readonly string _path;
    private readonly IReadOnlyList<WeightTensor> _tensors;
    private readonly FileStream _stream;
    private int _current;
    private long _written;
    private bool _isComplete;

    /// <summary>Creates the file and writes everything before the data.</summary>
    /// <param name="path">Where the file will be; an existing one is replaced when the new one is complete.</param>
    /// <param name="metadata">Metadata.</param>
    /// <param name="tensors">Tensors in the order in which their blocks will be appended; rows are whole blocks.</param>
    /// <exception cref="ArgumentException">A name or shape cannot be stored.</exception>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public GgufWriter(string path, GgufEntries metadata, IReadOnlyList<WeightTensor> tensors)
    {
        _path = path;
        _tensors = tensors;
        byte[] layouts = Layouts(tensors);
        _stream = new FileStream(path + TemporarySuffix, FileMode.Create, FileAccess.Write, FileShare.None, BufferBytes);
        try
        {
            _stream.Write("GGUF"u8);
            Write(_stream, Version, sizeof(uint));
            Write(_stream, (ulong)tensors.Count, sizeof(ulong));
            Write(_stream, (ulong)metadata.Count, sizeof(ulong));
            metadata.WriteTo(_stream);
            _stream.Write(layouts);
            Pad();
            SkipEmpty();
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The tensor whose blocks come next, or null when all are written.</summary>
    public WeightTensor? Current => _current < _tensors.Count ? _tensors[_current] : null;

    /// <summary>Appends the next blocks of the current tensor; they must not reach into the following one.</summary>
    /// <exception cref="InvalidOperationException">There are more bytes than the tensor has left.</exception>
    public void Append(ReadOnlySpan<byte> blocks)
    {
        if (blocks.IsEmpty)
        {
            return;
        }

        long left = Current is { } tensor ? tensor.ByteLength - _written : 0;
        if (blocks.Length > left)
        {
            throw new InvalidOperationException($"{blocks.Length} bytes were given, {Current?.Name ?? "the file"} has {left} left");
        }

        _stream.Write(blocks);
        _written += blocks.Length;
        if (blocks.Length == left)
        {
            _current++;
            _written = 0;
            Pad();
            SkipEmpty();
        }
    }

    /// <summary>Makes the file durable and gives it its name.</summary>
    /// <exception cref="InvalidOperationException">Blocks are missing.</exception>
    /// <exception cref="IOException">The disk refuses.</exception>
    public void Complete()
    {
        if (Current is { } tensor)
        {
            throw new InvalidOperationException($"tensor {tensor.Name} has {_written} of {tensor.ByteLength} bytes");
        }

        DurableFiles files = new();
        files.SyncFile(_stream);
        _stream.Dispose();
        File.Move(_path + TemporarySuffix, _path, overwrite: true);
        _isComplete = true;
        files.SyncFolder(Path.GetDirectoryName(Path.GetFullPath(_path)) ?? ".");
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (!_isComplete)
        {
            _isComplete = true;
            try
            {
                _stream.Dispose();
            }
            finally
            {
                File.Delete(_path + TemporarySuffix);
            }
        }
    }

    private static byte[] Layouts(IReadOnlyList<WeightTensor> tensors)
    {
        using MemoryStream bytes = new();
        HashSet<string> names = new(StringComparer.Ordinal);
        long offset = 0;
        foreach (WeightTensor tensor in tensors)
        {
            byte[] name = Encoding.UTF8.GetBytes(tensor.Name);
            if (name.Length is 0 or > GgufHeader.LongestName || !names.Add(tensor.Name) || tensor.Shape.Count is 0 or > GgufHeader.MostDimensions || tensor.Format.GgmlType() is not { } type)
            {
                throw new ArgumentException($"tensor {SafetensorsHeader.Shown(tensor.Name)} {tensor.Format.Name()} [{string.Join(", ", tensor.Shape)}] cannot be stored: names are unique and at most {GgufHeader.LongestName} bytes, ranks 1 to {GgufHeader.MostDimensions}", nameof(tensors));
            }

            Write(bytes, (ulong)name.Length, sizeof(ulong));
            bytes.Write(name);
            Write(bytes, (ulong)tensor.Shape.Count, sizeof(uint));
            foreach (long dimension in tensor.Shape.Reverse())
            {
                Write(bytes, checked((ulong)dimension), sizeof(ulong));
            }

            Write(bytes, type, sizeof(uint));
            Write(bytes, (ulong)offset, sizeof(ulong));
            offset = checked((offset + tensor.ByteLength + Alignment - 1) / Alignment * Alignment);
        }

        return bytes.ToArray();
    }

    private void SkipEmpty()
    {
        while (_current < _tensors.Count && _tensors[_current].Length == 0)
        {
            _current++;
        }
    }

    private void Pad()
    {
        ReadOnlySpan<byte> zeros = stackalloc byte[Alignment];
        int over = (int)(_stream.Position % Alignment);
        _stream.Write(zeros[..(over == 0 ? 0 : Alignment - over)]);
    }

    private static void Write(Stream stream, ulong value, int width)
    {
        Span<byte> bytes = stackalloc byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        stream.Write(bytes[..width]);
    }
}
