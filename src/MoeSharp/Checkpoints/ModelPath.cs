namespace MoeSharp.Checkpoints;

/// <summary>The model behind a path that a user gave.</summary>
/// <param name="Folder">A Hugging Face model folder, or a GGUF file.</param>
/// <param name="Damaged">Newer checkpoints of the run that had to be passed over.</param>
public sealed record FoundModel(string Folder, IReadOnlyList<DamagedCheckpoint> Damaged);

/// <summary>Understands what users name when they mean a model: a model folder, a GGUF file, a checkpoint, a run folder.</summary>
public static class ModelPath
{
    /// <summary>Whether a path names a GGUF file that exists.</summary>
    public static bool IsGguf(string path) => HasGgufName(path) && File.Exists(path);

    /// <summary>Whether a path is named like a GGUF file.</summary>
    public static bool HasGgufName(string path) => path.EndsWith(".gguf", StringComparison.OrdinalIgnoreCase);

    /// <summary>Finds the model; of a run folder it is the newest undamaged checkpoint.</summary>
    /// <exception cref="ConfigurationException">There is no model at this path.</exception>
    /// <exception cref="FileFormatException">A run folder has only damaged checkpoints; the message names them.</exception>
    public static FoundModel Find(string path)
    {
        if (IsGguf(path) || File.Exists(Path.Combine(path, ModelFolder.ConfigFile)))
        {
            return new FoundModel(path, []);
        }

        if (!Directory.Exists(Path.Combine(path, CheckpointStore.FolderName)))
        {
            string problem = Directory.Exists(path) ? $"has neither {ModelFolder.ConfigFile} nor {CheckpointStore.FolderName}/" : "does not exist";
            throw new ConfigurationException($"{path} {problem}; give a Hugging Face model folder, a .gguf file, a run folder or a checkpoint");
        }

        CheckpointSearch search = CheckpointStore.LatestValidModel(path);
        if (search.Latest is { } latest)
        {
            return new FoundModel(latest.Folder, search.Damaged);
        }

        throw search.Damaged.Count == 0
            ? new ConfigurationException($"{path} has no checkpoint yet; train until the first one is saved")
            : new FileFormatException($"{path}: every checkpoint is damaged: {string.Join("; ", search.Damaged.Select(damaged => $"step {damaged.Step}: {damaged.Reason}"))}");
    }
}
