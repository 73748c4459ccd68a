using System.Globalization;

namespace MoeSharp.Checkpoints;

/// <summary>A checkpoint that cannot be used.</summary>
/// <param name="Folder">Where it lies.</param>
/// <param name="Step">Its step.</param>
/// <param name="Reason">The damaged file and what is wrong with it.</param>
public sealed record DamagedCheckpoint(string Folder, long Step, string Reason);

/// <summary>What a search for the newest usable checkpoint found.</summary>
/// <param name="Latest">The newest checkpoint whose files are all as written, or null.</param>
/// <param name="Damaged">Newer ones that are not, newest first.</param>
public sealed record CheckpointSearch(Checkpoint? Latest, IReadOnlyList<DamagedCheckpoint> Damaged);

/// <summary>The checkpoints of a run folder: <c>checkpoints/step-N/</c>, each complete or absent, whatever happens while it is written.</summary>
/// <remarks>
/// A checkpoint is written under a temporary name: every file is hashed and synced, then the manifest, then the folder's names; then the folder is renamed and its
/// parent synced. A process that dies before the rename leaves a temporary folder, which the next store deletes; the older checkpoints are never touched before that.
/// </remarks>
public sealed class CheckpointStore : IDisposable
{
    /// <summary>Name of the folder inside the run folder.</summary>
    public const string FolderName = "checkpoints";

    private const string TrainerFolder = "trainer";
    private const string StepPrefix = "step-";
    private const string TemporaryPrefix = ".tmp-";
    private const string ReplacedPrefix = ".replaced-";
    private const string LockFile = ".lock";

    private readonly ICheckpointFiles _files;
    private readonly string _folder;
    private readonly int _keepLast;
    private readonly FileStream _lock;

    private CheckpointStore(string folder, int keepLast, ICheckpointFiles files, FileStream exclusive)
    {
        _folder = folder;
        _keepLast = keepLast;
        _files = files;
        _lock = exclusive;
    }

    /// <summary>Opens a run folder for writing, deletes what an interrupted process left, and keeps other writers out until disposed.</summary>
    /// <param name="runFolder">Run folder; created when absent.</param>
    /// <param name="keepLast">How many checkpoints to keep, at least 1.</param>
    /// <exception cref="ConfigurationException">Another process is writing here.</exception>
    public static CheckpointStore Open(string runFolder, int keepLast) => Open(runFolder, keepLast, new DurableFiles());

    internal static CheckpointStore Open(string runFolder, int keepLast, ICheckpointFiles files)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(keepLast, 1);
        string folder = Path.Combine(Path.GetFullPath(runFolder), FolderName);
        Directory.CreateDirectory(folder);
        CheckpointStore store = new(folder, keepLast, files, Lock(folder));
        try
        {
            store.RemoveLeftovers();
            return store;
        }
        catch
        {
            store.Dispose();
            throw;
        }
    }

    /// <summary>Finds the newest checkpoint whose every file has the length and hash that were written.</summary>
    /// <param name="runFolder">Run folder; may have no checkpoints.</param>
    public static CheckpointSearch LatestValid(string runFolder) => Search(runFolder, _ => true);

    /// <summary>The same for who wants only the model: the trainer's files, twice as large, are not read.</summary>
    /// <param name="runFolder">Run folder; may have no checkpoints.</param>
    public static CheckpointSearch LatestValidModel(string runFolder) => Search(runFolder, name => !name.StartsWith(TrainerFolder + "/", StringComparison.Ordinal));

    private static CheckpointSearch Search(string runFolder, Func<string, bool> isChecked)
    {
        List<DamagedCheckpoint> damaged = [];
        foreach ((long step, string folder) in Steps(Path.Combine(runFolder, FolderName)))
        {
            if (CheckpointManifest.FindDamage(folder, step, [ModelFolder.ConfigFile, Checkpoint.StateFile, Checkpoint.TensorsFile], isChecked) is not { } reason)
            {
                return new CheckpointSearch(new Checkpoint(folder, step), damaged);
            }

            if (Directory.Exists(folder)) // a running trainer may have deleted it as too old meanwhile
            {
                damaged.Add(new DamagedCheckpoint(folder, step, reason));
            }
        }

        return new CheckpointSearch(null, damaged);
    }

    /// <summary>Writes a checkpoint; when it returns, the checkpoint survives a loss of power, and old ones beyond the number to keep are gone.</summary>
    /// <returns>The checkpoint.</returns>
    /// <exception cref="TrainingException">The disk refused; the checkpoints before are untouched.</exception>
    public Checkpoint Save(CheckpointContent content)
    {
        string name = StepPrefix + content.State.Step.ToString(CultureInfo.InvariantCulture);
        string target = Path.Combine(_folder, name);
        string temporary = Path.Combine(_folder, TemporaryPrefix + name);
        try
        {
            _files.DeleteFolder(temporary);
            WriteFolder(temporary, content);
            Publish(temporary, target, name);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            TryDelete(temporary);
            throw new TrainingException($"{target}: the checkpoint could not be written: {exception.Message}. Earlier checkpoints are untouched; free the disk and resume", exception);
        }

        Prune(content.State.Step);
        return new Checkpoint(target, content.State.Step);
    }

    /// <inheritdoc/>
    public void Dispose() => _lock.Dispose();

    private void WriteFolder(string folder, CheckpointContent content)
    {
        FolderWriter writer = new(_files, folder);
        ModelFolder.Write(writer, content.Config, content.Parameters, new ModelFolderOptions { TokenizerFolder = content.TokenizerFolder });
        writer.CreateSubfolder(TrainerFolder);
        writer.Write(Checkpoint.TensorsFile, stream =>
        {
            SafetensorsWriter tensors = new(stream, [.. content.Tensors.Select(tensor => new TensorLayout(tensor.Name, SafetensorsType.F32, tensor.Shape.ToArray()))], new Dictionary<string, string>());
            foreach (TrainerTensor tensor in content.Tensors)
            {
                tensors.Append(tensor.Values());
            }

            tensors.Finish();
        });
        writer.WriteText(Checkpoint.StateFile, content.State.ToJson());
        writer.WriteText(CheckpointManifest.FileName, CheckpointManifest.Write(content.State.Step, writer.Seals));
        writer.Complete();
    }

    // A checkpoint of the same step, damaged or repeated, steps aside until the new one has its name.
    private void Publish(string temporary, string target, string name)
    {
        string replaced = Path.Combine(_folder, ReplacedPrefix + name);
        bool isRepeated = Directory.Exists(target);
        if (isRepeated)
        {
            _files.DeleteFolder(replaced);
            _files.Rename(target, replaced);
        }

        _files.Rename(temporary, target);
        _files.SyncFolder(_folder);
        if (isRepeated)
        {
            TryDelete(replaced);
        }
    }

    // Only checkpoints older than the one just made durable are counted and deleted.
    private void Prune(long newest)
    {
        foreach ((_, string folder) in Steps(_folder).Where(entry => entry.Step < newest).Skip(_keepLast - 1))
        {
            TryDelete(folder);
        }
    }

    private void RemoveLeftovers()
    {
        foreach (string leftover in Directory.GetDirectories(_folder, TemporaryPrefix + "*"))
        {
            _files.DeleteFolder(leftover);
        }

        foreach (string replaced in Directory.GetDirectories(_folder, ReplacedPrefix + "*"))
        {
            string target = Path.Combine(_folder, Path.GetFileName(replaced)[ReplacedPrefix.Length..]);
            if (Directory.Exists(target))
            {
                _files.DeleteFolder(replaced);
            }
            else
            {
                _files.Rename(replaced, target); // the process died between the two renames
            }
        }
    }

    // What cannot be deleted now is deleted by the next store; it must not fail a checkpoint that is safe on disk.
    private void TryDelete(string folder)
    {
        try
        {
            string doomed = folder;
            if (Path.GetFileName(folder).StartsWith(StepPrefix, StringComparison.Ordinal))
            {
                // A half-deleted folder must not look like a damaged checkpoint.
                doomed = Path.Combine(_folder, TemporaryPrefix + "delete-" + Path.GetFileName(folder));
                _files.Rename(folder, doomed);
            }

            _files.DeleteFolder(doomed);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
        }
    }

    private static FileStream Lock(string folder)
    {
        string path = Path.Combine(folder, LockFile);
        try
        {
            return new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (IOException exception) when (File.Exists(path))
        {
            throw new ConfigurationException($"{folder}: another process is writing checkpoints here; wait for it, or choose another run folder", exception);
        }
    }

    // Newest first.
    private static List<(long Step, string Folder)> Steps(string folder)
    {
        List<(long Step, string Folder)> steps = [];
        foreach (string path in Directory.Exists(folder) ? Directory.GetDirectories(folder, StepPrefix + "*") : [])
        {
            if (long.TryParse(Path.GetFileName(path).AsSpan(StepPrefix.Length), NumberStyles.None, CultureInfo.InvariantCulture, out long step))
            {
                steps.Add((step, path));
            }
        }

        steps.Sort((left, right) => right.Step.CompareTo(left.Step));
        return steps;
    }
}
