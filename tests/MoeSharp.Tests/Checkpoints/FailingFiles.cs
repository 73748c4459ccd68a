using MoeSharp.Checkpoints;

namespace MoeSharp.Tests.Checkpoints;

/// <summary>A disk that fails at the n-th operation: once, as when it is full, or from there on, as when the process is killed.</summary>
/// <remarks>Syncing is counted but left out: it cannot be seen without cutting the power, and takes most of the time.</remarks>
internal sealed class FailingFiles(int failAt, bool isKilled) : ICheckpointFiles
{
    private readonly DurableFiles _disk = new();
    private int _operation;

    /// <summary>A disk that never fails.</summary>
    public static FailingFiles Never => new(int.MaxValue, isKilled: false);

    public bool HasFailed => _operation > failAt;

    public void CreateFolder(string path)
    {
        Step();
        _disk.CreateFolder(path);
    }

    public Stream CreateFile(string path)
    {
        Step();
        return new FailingStream(this, _disk.CreateFile(path));
    }

    public void SyncFile(Stream stream)
    {
        Step();
        stream.Flush();
    }

    public void SyncFolder(string path) => Step();

    public void Rename(string from, string to)
    {
        Step();
        _disk.Rename(from, to);
    }

    public void DeleteFolder(string path)
    {
        if (Directory.Exists(path))
        {
            // A deletion that is interrupted leaves part of the folder.
            if (_operation == failAt)
            {
                string? victim = Directory.GetFiles(path).Order(StringComparer.Ordinal).FirstOrDefault();
                if (victim is not null)
                {
                    File.Delete(victim);
                }
            }

            Step();
        }

        _disk.DeleteFolder(path);
    }

    private void Step()
    {
        int operation = _operation++;
        if (isKilled ? operation >= failAt : operation == failAt)
        {
            throw new IOException($"No space left on device (operation {operation})");
        }
    }

    private sealed class FailingStream(FailingFiles files, Stream inner) : Stream
    {
        public override bool CanRead => false;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override long Length => inner.Length;

        public override long Position
        {
            get => inner.Position;
            set => throw new NotSupportedException();
        }

        // A write that fails has put half of its bytes on disk.
        public override void Write(ReadOnlySpan<byte> buffer)
        {
            if (files._operation == files.FailAt)
            {
                inner.Write(buffer[..(buffer.Length / 2)]);
                inner.Flush();
            }

            files.Step();
            inner.Write(buffer);
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
                inner.Dispose();
            }

            base.Dispose(disposing);
        }
    }

    private int FailAt => failAt;
}
