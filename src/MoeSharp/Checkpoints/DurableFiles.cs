using System.Runtime.InteropServices;
using System.Text;

namespace MoeSharp.Checkpoints;

/// <summary>The steps of writing to disk that can fail one by one; tests put a failing disk here.</summary>
internal interface ICheckpointFiles
{
    /// <summary>Creates a folder.</summary>
    void CreateFolder(string path);

    /// <summary>Creates a file that must not exist yet.</summary>
    Stream CreateFile(string path);

    /// <summary>Returns when the written bytes would survive a loss of power.</summary>
    void SyncFile(Stream stream);

    /// <summary>Returns when the names in a folder would survive a loss of power.</summary>
    void SyncFolder(string path);

    /// <summary>Gives a folder another name, in one step.</summary>
    void Rename(string from, string to);

    /// <summary>Deletes a folder and what is in it; does nothing when it does not exist.</summary>
    void DeleteFolder(string path);
}

/// <summary>The real disk.</summary>
internal sealed class DurableFiles : ICheckpointFiles
{
    private const int BufferBytes = 1 << 20;

    /// <inheritdoc/>
    public void CreateFolder(string path) => Directory.CreateDirectory(path);

    /// <inheritdoc/>
    public Stream CreateFile(string path) => new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.None, BufferBytes);

    /// <inheritdoc/>
    public void SyncFile(Stream stream) => ((FileStream)stream).Flush(flushToDisk: true);

    /// <inheritdoc/>
    public void SyncFolder(string path)
    {
        if (OperatingSystem.IsWindows())
        {
            return; // NTFS journals names itself and offers no such call
        }

        const int ReadOnly = 0;
        int descriptor = OpenPath(Encoding.UTF8.GetBytes(path + '\0'), ReadOnly);
        if (descriptor < 0)
        {
            throw new IOException($"{path}: the folder cannot be opened to sync it (errno {Marshal.GetLastPInvokeError()})");
        }

        int result = SyncDescriptor(descriptor);
        int error = Marshal.GetLastPInvokeError();
        _ = CloseDescriptor(descriptor);
        if (result != 0 && error is not InvalidArgument)
        {
            throw new IOException($"{path}: the folder cannot be synced (errno {error})");
        }
    }

    /// <inheritdoc/>
    public void Rename(string from, string to) => Directory.Move(from, to);

    /// <inheritdoc/>
    public void DeleteFolder(string path)
    {
        if (Directory.Exists(path))
        {
            Directory.Delete(path, recursive: true);
        }
    }

    private const int InvalidArgument = 22; // EINVAL: a file system that cannot sync folders

    [DllImport("libc", EntryPoint = "open", SetLastError = true)]
    private static extern int OpenPath(byte[] path, int flags);

    [DllImport("libc", EntryPoint = "fsync", SetLastError = true)]
    private static extern int SyncDescriptor(int descriptor);

    [DllImport("libc", EntryPoint = "close", SetLastError = true)]
    private static extern int CloseDescriptor(int descriptor);
}
