using System.Text.Json;
using MoeSharp.Model;
using MoeSharp.Tensors;

namespace MoeSharp.Checkpoints;

/// <summary>How a model folder is written.</summary>
public sealed record ModelFolderOptions
{
    /// <summary>Stored format of the weights: F32 or BF16.</summary>
    public SafetensorsType WeightType { get; init; } = SafetensorsType.F32;

    /// <summary>Weights above this size are cut into shards; 5 GB is the habit of the model hub.</summary>
    public long LargestFileBytes { get; init; } = 5_000_000_000;

    /// <summary>Folder whose tokenizer files are copied along, or null for none.</summary>
    public string? TokenizerFolder { get; init; }
}

/// <summary>A Hugging Face model folder: config.json, generation_config.json, safetensors weights, tokenizer files.</summary>
public static class ModelFolder
{
    /// <summary>Name of the configuration file.</summary>
    public const string ConfigFile = "config.json";

    /// <summary>Name of the file with defaults for generation.</summary>
    public const string GenerationConfigFile = "generation_config.json";

    private static readonly string[] s_tokenizerFiles =
    [
        "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "tokenizer.model", "chat_template.jinja",
    ];

    /// <summary>Loads a model with its weights.</summary>
    /// <exception cref="ConfigurationException">Folder or configuration are missing or not supported.</exception>
    /// <exception cref="FileFormatException">A file breaks its format, or tensors are missing, misshapen or unknown; the message lists them.</exception>
    public static LanguageModel Load(string folder)
    {
        using ModelFiles files = ModelFiles.Open(folder);
        return files.Load(new LoadOptions());
    }

    /// <summary>Reads the configuration; generation_config.json, where present, decides the end token.</summary>
    /// <exception cref="ConfigurationException">There is no config.json, or the model is not supported.</exception>
    /// <exception cref="FileFormatException">A file is not JSON.</exception>
    public static ModelConfig LoadConfig(string folder)
    {
        string path = Path.Combine(folder, ConfigFile);
        if (!File.Exists(path))
        {
            throw new ConfigurationException($"{folder}: there is no {ConfigFile}; give a Hugging Face model folder, a run folder or a checkpoint");
        }

        ModelConfig config = ModelConfigJson.Load(path);
        IReadOnlyList<int> endTokens = EndTokens(folder);
        return endTokens.Count > 0 && !endTokens.Contains(config.EosTokenId ?? -1) && endTokens[0] < config.VocabSize ? config with { EosTokenId = endTokens[0] } : config;
    }

    /// <summary>Rows and columns of weights that share a scale, or null when the configuration names no quantisation.</summary>
    internal static (int Rows, int Columns)? ScaleBlock(string folder)
    {
        const int UsualBlock = 128;
        string path = Path.Combine(folder, ConfigFile);
        if (!File.Exists(path))
        {
            return null; // weights alone, read with a configuration from elsewhere
        }

        using JsonDocument document = ModelConfigJson.ParseObject(ModelConfigJson.ReadText(path), path);
        if (!document.RootElement.TryGetProperty("quantization_config", out JsonElement quantization) || quantization.ValueKind != JsonValueKind.Object)
        {
            return null;
        }

        return quantization.TryGetProperty("weight_block_size", out JsonElement block) && block.ValueKind == JsonValueKind.Array && block.GetArrayLength() == 2
            && block[0].ValueKind == JsonValueKind.Number && block[1].ValueKind == JsonValueKind.Number
            && block[0].TryGetInt32(out int rows) && block[1].TryGetInt32(out int columns) && rows > 0 && columns > 0
            ? (rows, columns)
            : (UsualBlock, UsualBlock);
    }

    /// <summary>Every token that ends a text: those of generation_config.json, which may list several, else those of config.json.</summary>
    /// <exception cref="FileFormatException">A file is not JSON.</exception>
    public static IReadOnlyList<int> EndTokens(string folder)
    {
        foreach (string path in (string[])[Path.Combine(folder, GenerationConfigFile), Path.Combine(folder, ConfigFile)])
        {
            if (!File.Exists(path))
            {
                continue;
            }

            using JsonDocument document = ModelConfigJson.ParseObject(ModelConfigJson.ReadText(path), path);
            ConfigReader reader = new(document.RootElement);
            IReadOnlyList<int> tokens = reader.Tokens("eos_token_id");
            if (reader.Problems.Count > 0)
            {
                throw new ConfigurationException($"{path}: {string.Join("; ", reader.Problems)}");
            }

            if (tokens.Count > 0)
            {
                return tokens;
            }
        }

        return [];
    }

    /// <summary>Fills parameters from the folder's weights; every tensor is used, known to be without use, or an error.</summary>
    /// <param name="folder">Folder.</param>
    /// <param name="config">Its configuration.</param>
    /// <param name="parameters">= weights; the parameters of a model with that configuration.</param>
    /// <exception cref="FileFormatException">Tensors are missing, misshapen or unknown; the message lists them.</exception>
    public static void LoadWeights(string folder, ModelConfig config, IReadOnlyList<Parameter> parameters)
    {
        using ModelFiles files = ModelFiles.OpenFolder(folder, config);
        files.Fill(parameters, new LoadOptions());
    }

    /// <summary>Writes a model to a new folder; the folder appears under its name only when complete.</summary>
    /// <exception cref="ConfigurationException">The folder exists and is not empty.</exception>
    public static void Save(LanguageModel model, string folder, ModelFolderOptions options) => Save(model.Config, model.Parameters, folder, options);

    /// <summary>Writes weights to a new folder; the folder appears under its name only when complete.</summary>
    /// <param name="config">Configuration.</param>
    /// <param name="parameters">All parameters of a model with that configuration.</param>
    /// <param name="folder">Folder that does not exist yet, or is empty.</param>
    /// <param name="options">Format, shards, tokenizer.</param>
    /// <exception cref="ConfigurationException">The folder exists and is not empty.</exception>
    public static void Save(ModelConfig config, IReadOnlyList<Parameter> parameters, string folder, ModelFolderOptions options) =>
        SaveFolder(folder, writer => Write(writer, config, parameters, options));

    /// <summary>Writes a new folder; it appears under its name only when complete.</summary>
    /// <exception cref="ConfigurationException">The folder exists and is not empty.</exception>
    internal static void SaveFolder(string folder, Action<FolderWriter> write)
    {
        string target = Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder));
        if (Directory.Exists(target))
        {
            if (Directory.EnumerateFileSystemEntries(target).Any())
            {
                throw new ConfigurationException($"{folder} exists and is not empty; name a new folder");
            }

            Directory.Delete(target);
        }

        DurableFiles files = new();
        string temporary = $"{target}.tmp-{Guid.NewGuid():N}";
        try
        {
            FolderWriter writer = new(files, temporary);
            write(writer);
            writer.Complete();
            files.Rename(temporary, target);
            files.SyncFolder(Path.GetDirectoryName(target) ?? target);
        }
        catch
        {
            files.DeleteFolder(temporary);
            throw;
        }
    }

    /// <summary>Writes the files of a model folder, each synced.</summary>
    internal static void Write(FolderWriter writer, ModelConfig config, IReadOnlyList<Parameter> parameters, ModelFolderOptions options)
    {
        WriteConfig(writer, config, options.WeightType);
        ModelWeightsWriter.Write(writer, config, parameters, options);
        if (options.TokenizerFolder is { } tokenizerFolder)
        {
            CopyTokenizer(writer, tokenizerFolder);
        }
    }

    /// <summary>Writes config.json and generation_config.json.</summary>
    internal static void WriteConfig(FolderWriter writer, ModelConfig config, SafetensorsType weightType)
    {
        writer.WriteText(ConfigFile, ModelConfigJson.Write(config, weightType == SafetensorsType.BF16 ? "bfloat16" : "float32"));
        writer.WriteText(GenerationConfigFile, GenerationConfig(config));
    }

    /// <summary>Copies the files of a tokenizer.</summary>
    internal static void CopyTokenizer(FolderWriter writer, string folder)
    {
        foreach (string name in s_tokenizerFiles.Where(name => File.Exists(Path.Combine(folder, name))))
        {
            writer.CopyFile(name, Path.Combine(folder, name));
        }
    }

    private static string GenerationConfig(ModelConfig config)
    {
        string bos = config.BosTokenId is { } start ? $"  \"bos_token_id\": {start},\n" : "";
        string eos = config.EosTokenId is { } end ? $"  \"eos_token_id\": {end},\n" : "";
        return $"{{\n{bos}{eos}  \"_from_model_config\": true\n}}\n";
    }
}
