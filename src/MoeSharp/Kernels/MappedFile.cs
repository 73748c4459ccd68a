using System.IO.MemoryMappedFiles;
using Microsoft.Win32.SafeHandles;

namespace MoeSharp.Kernels;

/// <summary>A file mapped read-only into memory; pages are read when touched and may be dropped again, so files larger than memory work.</summary>
public sealed unsafe class MappedFile : IDisposable
{
    private readonly string _path;
    private readonly SafeFileHandle _handle;
    private readonly MemoryMappedFile? _file;
    private readonly MemoryMappedViewAccessor? _view;
    private byte* _pointer;

    /// <summary>Maps a file; an empty file is allowed.</summary>
    /// <exception cref="IOException">The file cannot be opened.</exception>
    public MappedFile(string path)
    {
        _path = path;
        _handle = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete);
        Length = RandomAccess.GetLength(_handle);
        if (Length == 0)
        {
            return; // an empty mapping is an error to the system
        }

        _file = MemoryMappedFile.CreateFromFile(_handle, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: true);
        _view = _file.CreateViewAccessor(0, Length, MemoryMappedFileAccess.Read);
        _view.SafeMemoryMappedViewHandle.AcquirePointer(ref _pointer);
        _pointer += _view.PointerOffset;
    }

    /// <summary>Bytes of the file when it was mapped.</summary>
    public long Length { get; }

    /// <summary>Views part of the file; the view must not outlive the mapping.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The range leaves the file.</exception>
    /// <exception cref="ObjectDisposedException">The mapping is closed.</exception>
    public ReadOnlySpan<byte> Slice(long offset, int length)
    {
        if (offset < 0 || length < 0 || offset > Length - length)
        {
            throw new ArgumentOutOfRangeException(nameof(offset), $"range {offset}+{length} leaves a file of {Length} bytes");
        }

        if (length == 0)
        {
            return [];
        }

        ObjectDisposedException.ThrowIf(_pointer == null, this);
        return new ReadOnlySpan<byte>(_pointer + offset, length);
    }

    /// <summary>Copies part of the file without touching the mapping: pages read this way do not count as memory of this process, as mapped ones do.</summary>
    /// <param name="offset">First byte.</param>
    /// <param name="bytes">= bytes from there on.</param>
    /// <exception cref="ArgumentOutOfRangeException">The range leaves the file.</exception>
    /// <exception cref="IOException">The file cannot be read, or has become shorter.</exception>
    public void Read(long offset, Span<byte> bytes)
    {
        if (offset < 0 || offset > Length - bytes.Length)
        {
            throw new ArgumentOutOfRangeException(nameof(offset), $"range {offset}+{bytes.Length} leaves a file of {Length} bytes");
        }

        for (int done = 0; done < bytes.Length;)
        {
            int count = RandomAccess.Read(_handle, bytes[done..], offset + done);
            done += count > 0 ? count : throw new IOException($"{_path} has become shorter than the {Length} bytes that it had when it was opened; leave it alone until it is read");
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_pointer != null)
        {
            _pointer = null;
            _view?.SafeMemoryMappedViewHandle.ReleasePointer();
        }

        _view?.Dispose();
        _file?.Dispose();
        _handle.Dispose();
    }
}
