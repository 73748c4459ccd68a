using System.Security.Cryptography;
using System.Text;

namespace MoeSharp.Checkpoints;

/// <summary>Length and hash of one file of a folder.</summary>
/// <param name="Name">Path inside the folder, with forward slashes.</param>
/// <param name="Length">Bytes.</param>
/// <param name="Sha256">Lower-case hexadecimal SHA-256.</param>
internal sealed record FileSeal(string Name, long Length, string Sha256);

/// <summary>Writes the files of one folder, each synced and hashed while it is written.</summary>
internal sealed class FolderWriter
{
    private readonly ICheckpointFiles _files;
    private readonly string _folder;
    private readonly List<FileSeal> _seals = [];
    private readonly List<string> _subfolders = [];

    /// <summary>Creates the folder.</summary>
    public FolderWriter(ICheckpointFiles files, string folder)
    {
        _files = files;
        _folder = folder;
        files.CreateFolder(folder);
    }

    /// <summary>What has been written so far.</summary>
    public IReadOnlyList<FileSeal> Seals => _seals;

    /// <summary>Creates a folder inside.</summary>
    public void CreateSubfolder(string name)
    {
        _files.CreateFolder(Path.Combine(_folder, name));
        _subfolders.Add(name);
    }

    /// <summary>Writes one file.</summary>
    public void Write(string name, Action<Stream> content)
    {
        using Stream stream = _files.CreateFile(Path.Combine(_folder, name));
        using HashingStream hashing = new(stream);
        content(hashing);
        stream.Flush();
        _files.SyncFile(stream);
        _seals.Add(new FileSeal(name, hashing.Length, hashing.Hash()));
    }

    /// <summary>Writes one text file, UTF-8.</summary>
    public void WriteText(string name, string text) => Write(name, stream => stream.Write(Encoding.UTF8.GetBytes(text)));

    /// <summary>Copies one file from elsewhere.</summary>
    public void CopyFile(string name, string source) => Write(name, stream =>
    {
        using FileStream original = File.OpenRead(source);
        original.CopyTo(stream);
    });

    /// <summary>Makes the names of the files durable.</summary>
    public void Complete()
    {
        foreach (string subfolder in _subfolders)
        {
            _files.SyncFolder(Path.Combine(_folder, subfolder));
        }

        _files.SyncFolder(_folder);
    }

    // Passes bytes on and hashes them.
    private sealed class HashingStream(Stream inner) : Stream
    {
        private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        private long _length;

        public override bool CanRead => false;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override long Length => _length;

        public override long Position
        {
            get => _length;
            set => throw new NotSupportedException();
        }

        public string Hash() => Convert.ToHexStringLower(_hash.GetHashAndReset());

        public override void Write(ReadOnlySpan<byte> buffer)
        {
            inner.Write(buffer);
            _hash.AppendData(buffer);
            _length += buffer.Length;
        }

        public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

        public override void Flush() => inner.Flush();

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        protected override void Dispose(bool disposing)
        {
            if (disposing)
            {
                _hash.Dispose();
            }

            base.Dispose(disposing);
        }
    }
}
