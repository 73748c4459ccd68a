using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace MoeSharp.Data;

/// <summary>A finished shard file.</summary>
internal sealed record ShardFile
{
    public required string Name { get; init; }

    public required long Length { get; init; }

    public required string Sha256 { get; init; }
}

/// <summary>A source as it was when the dataset was built.</summary>
internal sealed record BuiltSource
{
    public required string Name { get; init; }

    public required long Length { get; init; }

    public required long ModifiedTicks { get; init; }

    public required string Sha256 { get; init; }
}

/// <summary>dataset.json: what the shards were built from, and what they must look like. Written last, so that a dataset exists whole or not at all.</summary>
internal sealed record DatasetManifest
{
    public const string FileName = "dataset.json";
    public const int CurrentVersion = 1;

    private const long MaximumBytes = 256 * 1024 * 1024; // a list of a million files fits

    public required int Version { get; init; }

    /// <summary>Tokenizer, options and way of cutting documents, hashed.</summary>
    public required string Recipe { get; init; }

    public required long BuiltTicks { get; init; }

    public required IReadOnlyList<BuiltSource> Sources { get; init; }

    public required IReadOnlyList<string> Domains { get; init; }

    public required ShardFile Train { get; init; }

    public required ShardFile Validation { get; init; }

    public required double UnigramBitsPerByte { get; init; }

    public required double BigramBitsPerByte { get; init; }

    public required IReadOnlyList<string> Warnings { get; init; }

    /// <summary>Reads and checks the manifest of a folder.</summary>
    /// <exception cref="FileFormatException">It is damaged or of another version.</exception>
    public static DatasetManifest Read(string folder)
    {
        string path = Path.Combine(folder, FileName);
        if (!File.Exists(path))
        {
            throw new FileFormatException($"{folder} holds no {FileName}, so it is no token dataset");
        }

        if (new FileInfo(path).Length > MaximumBytes)
        {
            throw new FileFormatException($"{path} is larger than {MaximumBytes / (1024 * 1024)} MiB and cannot be a dataset's manifest");
        }

        DatasetManifest? manifest;
        try
        {
            manifest = JsonSerializer.Deserialize(File.ReadAllBytes(path), DatasetJson.Default.DatasetManifest);
        }
        catch (JsonException exception)
        {
            throw new FileFormatException($"{path} is damaged ({exception.Message}); delete its folder to have it built again", exception);
        }

        if (manifest is null || manifest.Version != CurrentVersion || !manifest.IsWellFormed())
        {
            throw new FileFormatException($"{path} is damaged or of another version; delete its folder to have it built again");
        }

        return manifest;
    }

    /// <summary>Writes the manifest under a temporary name and renames it.</summary>
    public void Write(string folder)
    {
        string path = Path.Combine(folder, FileName);
        string temporary = $"{path}.{Environment.ProcessId}.tmp";
        try
        {
            using (FileStream stream = new(temporary, FileMode.Create, FileAccess.Write, FileShare.None))
            {
                JsonSerializer.Serialize(stream, this, DatasetJson.Default.DatasetManifest);
                stream.Flush(flushToDisk: true);
            }

            File.Move(temporary, path, overwrite: true);
        }
        finally
        {
            File.Delete(temporary);
        }
    }

    /// <summary>Compares a shard with the length and hash it must have.</summary>
    /// <exception cref="FileFormatException">It is missing or damaged.</exception>
    public static void Verify(string folder, ShardFile shard)
    {
        string path = Path.Combine(folder, shard.Name);
        if (!File.Exists(path))
        {
            throw new FileFormatException($"{path}: the token shard is missing; delete its folder to have it built again");
        }

        using FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, bufferSize: 0, FileOptions.SequentialScan);
        if (stream.Length != shard.Length)
        {
            throw new FileFormatException($"{path}: damaged token shard: {stream.Length} bytes instead of {shard.Length}; delete its folder to have it built again");
        }

        if (Convert.ToHexStringLower(SHA256.HashData(stream)) != shard.Sha256)
        {
            throw new FileFormatException($"{path}: damaged token shard: its SHA-256 is not the one recorded; delete its folder to have it built again");
        }
    }

    private bool IsWellFormed() =>
        Recipe is not null && Sources is not null && Domains is { Count: > 0 } && Warnings is not null && Domains.All(domain => domain is not null)
        && Sources.All(source => source is { Name: not null, Sha256: not null }) && IsPlainName(Train) && IsPlainName(Validation);

    private static bool IsPlainName(ShardFile? shard) =>
        shard is { Name.Length: > 0, Sha256: not null } && shard.Name == Path.GetFileName(shard.Name) && !shard.Name.Contains('\\') && shard.Name.EndsWith(".tokens", StringComparison.Ordinal);
}

/// <summary>JSON of the manifest.</summary>
[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(DatasetManifest))]
internal sealed partial class DatasetJson : JsonSerializerContext;
