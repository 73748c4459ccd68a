using System.Text.Json;
using MoeSharp.Kernels.Formats;
using MoeSharp.Model;

namespace MoeSharp.Checkpoints;

/// <summary>The weights of a model folder: one <c>model.safetensors</c>, or shards listed in <c>model.safetensors.index.json</c>.</summary>
public sealed class SafetensorsFolder : IWeightSource
{
    /// <summary>Name of an unsharded weight file.</summary>
    public const string SingleFile = "model.safetensors";

    /// <summary>Name of the list of shards.</summary>
    public const string IndexFile = "model.safetensors.index.json";

    private const long LongestIndex = 200_000_000; // bytes; a released model of 160 experts has about 10 million

    private readonly Dictionary<string, SafetensorsFile> _files = new(StringComparer.Ordinal);
    private readonly Dictionary<string, SafetensorsFile> _fileOfTensor = new(StringComparer.Ordinal);

    private SafetensorsFolder(string folder) => Description = folder;

    /// <summary>Opens the weights of a folder; a single file is preferred when both forms are present.</summary>
    /// <exception cref="ConfigurationException">The folder holds no safetensors weights.</exception>
    /// <exception cref="FileFormatException">A file breaks the format, a shard is missing, or a tensor is not where the index says.</exception>
    public static SafetensorsFolder Open(string folder)
    {
        SafetensorsFolder result = new(folder);
        try
        {
            if (File.Exists(Path.Combine(folder, SingleFile)))
            {
                SafetensorsFile file = result.OpenFile(folder, SingleFile);
                foreach (string name in file.Names)
                {
                    result._fileOfTensor.Add(name, file);
                }
            }
            else if (File.Exists(Path.Combine(folder, IndexFile)))
            {
                result.OpenShards(folder);
            }
            else
            {
                bool hasPickle = Directory.Exists(folder) && Directory.EnumerateFiles(folder, "*.bin").Any();
                string hint = hasPickle ? "; .bin files can run code when loaded and are not read: convert them to safetensors" : "";
                throw new ConfigurationException($"{folder}: there is neither {SingleFile} nor {IndexFile}{hint}");
            }

            return result;
        }
        catch
        {
            result.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public string Description { get; }

    /// <inheritdoc/>
    public IReadOnlyCollection<string> Names => _fileOfTensor.Keys;

    /// <inheritdoc/>
    public WeightTensor? Find(string name)
    {
        if (!_fileOfTensor.TryGetValue(name, out SafetensorsFile? file))
        {
            return null;
        }

        SafetensorsTensor tensor = file.Tensor(name);
        return tensor.Type.Format() is { } known
            ? new WeightTensor(name, tensor.Shape, known)
            : throw new FileFormatException($"{file.Path}: tensor {SafetensorsHeader.Shown(name)} is stored as {tensor.Type.Name()}; weights can be read from F32, BF16, F16, F64 and the 8-bit floats");
    }

    /// <inheritdoc/>
    public void ReadBlocks(WeightTensor tensor, long firstElement, long count, Span<byte> blocks) => _fileOfTensor[tensor.Name].ReadBytes(tensor.Name, firstElement, count, blocks);

    /// <inheritdoc/>
    public void ReadFloats(WeightTensor tensor, long firstElement, Span<float> values) => BlockReader.ReadFloats(this, tensor, firstElement, values);

    /// <summary>The file that holds a tensor, or null.</summary>
    public SafetensorsFile? FileOf(string tensor) => _fileOfTensor.GetValueOrDefault(tensor);

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (SafetensorsFile file in _files.Values)
        {
            file.Dispose();
        }
    }

    private void OpenShards(string folder)
    {
        string path = Path.Combine(folder, IndexFile);
        if (new FileInfo(path).Length > LongestIndex)
        {
            throw new FileFormatException($"{path}: more than {LongestIndex} bytes; this is not an index of shards");
        }

        using JsonDocument index = ModelConfigJson.ParseObject(File.ReadAllText(path), path);
        if (!index.RootElement.TryGetProperty("weight_map", out JsonElement map) || map.ValueKind != JsonValueKind.Object)
        {
            throw new FileFormatException($"{path}: weight_map is missing; it names the file of every tensor");
        }

        foreach (JsonProperty entry in map.EnumerateObject())
        {
            string name = entry.Value.ValueKind == JsonValueKind.String ? entry.Value.GetString() ?? "" : "";
            if (!IsPlainFileName(name))
            {
                throw new FileFormatException($"{path}: weight_map sends {SafetensorsHeader.Shown(entry.Name)} to {SafetensorsHeader.Shown(name)}; only names of .safetensors files in the same folder are allowed");
            }

            SafetensorsFile file = _files.TryGetValue(name, out SafetensorsFile? open) ? open : OpenShard(folder, name, path);
            if (!file.Contains(entry.Name))
            {
                throw new FileFormatException($"{path}: weight_map sends {SafetensorsHeader.Shown(entry.Name)} to {name}, which does not hold it");
            }

            _fileOfTensor.Add(entry.Name, file);
        }
    }

    private SafetensorsFile OpenShard(string folder, string name, string indexPath) =>
        File.Exists(Path.Combine(folder, name)) ? OpenFile(folder, name) : throw new FileFormatException($"{indexPath}: the shard {name} is missing in {folder}");

    private SafetensorsFile OpenFile(string folder, string name)
    {
        SafetensorsFile file = SafetensorsFile.Open(Path.Combine(folder, name));
        _files.Add(name, file);
        return file;
    }

    // Refuses everything that could leave the folder.
    private static bool IsPlainFileName(string name) =>
        name.EndsWith(".safetensors", StringComparison.Ordinal)
        && name.IndexOfAny(['/', '\\', ':']) < 0
        && !name.Any(char.IsControl)
        && !name.StartsWith('.');
}
