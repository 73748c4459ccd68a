using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace MoeSharp.Checkpoints;

/// <summary>manifest.json of a checkpoint: name, length and SHA-256 of every file. It is written last, so a folder without one is unfinished.</summary>
internal static class CheckpointManifest
{
    /// <summary>Name of the file.</summary>
    public const string FileName = "manifest.json";

    private const int FormatVersion = 1;
    private const long LongestManifest = 16_000_000; // bytes
    private const int BufferBytes = 1 << 20;

    /// <summary>Content of the file.</summary>
    public static string Write(long step, IReadOnlyList<FileSeal> seals)
    {
        using MemoryStream stream = new();
        using (Utf8JsonWriter json = new(stream, new JsonWriterOptions { Indented = true, NewLine = "\n" }))
        {
            json.WriteStartObject();
            json.WriteNumber("format_version", FormatVersion);
            json.WriteNumber("step", step);
            json.WriteStartArray("files");
            foreach (FileSeal seal in seals)
            {
                json.WriteStartObject();
                json.WriteString("name", seal.Name);
                json.WriteNumber("length", seal.Length);
                json.WriteString("sha256", seal.Sha256);
                json.WriteEndObject();
            }

            json.WriteEndArray();
            json.WriteString("files_sha256", HashOf(seals));
            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(stream.ToArray()) + "\n";
    }

    /// <summary>Compares a folder with its manifest.</summary>
    /// <param name="folder">Checkpoint.</param>
    /// <param name="step">Its step.</param>
    /// <param name="requiredFiles">Files that a manifest must list.</param>
    /// <param name="isChecked">Says by name whether a file matters to the caller.</param>
    /// <returns>Null when everything is as written, else what is damaged.</returns>
    public static string? FindDamage(string folder, long step, IReadOnlyList<string> requiredFiles, Func<string, bool> isChecked)
    {
        string path = Path.Combine(folder, FileName);
        try
        {
            if (!File.Exists(path))
            {
                return $"{FileName} is missing";
            }

            if (new FileInfo(path).Length > LongestManifest)
            {
                return $"{FileName} is longer than {LongestManifest} bytes";
            }

            if (Read(File.ReadAllBytes(path), step) is not { } seals)
            {
                return $"{FileName} is damaged, or not of step {step} in a form this version reads";
            }

            string? absent = requiredFiles.FirstOrDefault(name => seals.All(seal => seal.Name != name));
            return absent is not null ? $"{FileName} does not list {absent}" : seals.Where(seal => isChecked(seal.Name)).Select(seal => FindDamage(folder, seal)).FirstOrDefault(damage => damage is not null);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            return exception.Message;
        }
    }

    private static string? FindDamage(string folder, FileSeal seal)
    {
        FileInfo file = new(Path.Combine(folder, seal.Name));
        if (!file.Exists)
        {
            return $"{seal.Name} is missing";
        }

        if (file.Length != seal.Length)
        {
            return $"{seal.Name} has {file.Length} bytes, {seal.Length} were written";
        }

        using FileStream stream = new(file.FullName, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, BufferBytes, FileOptions.SequentialScan);
        return Convert.ToHexStringLower(SHA256.HashData(stream)) == seal.Sha256 ? null : $"{seal.Name} has changed: its SHA-256 differs from the one written";
    }

    // So that damage to the manifest itself is not blamed on the files it lists.
    private static string HashOf(IReadOnlyList<FileSeal> seals) => Convert.ToHexStringLower(
        SHA256.HashData(Encoding.UTF8.GetBytes(string.Concat(seals.Select(seal => $"{seal.Name}\n{seal.Length}\n{seal.Sha256}\n")))));

    // Null for anything but an undamaged manifest of that step.
    private static List<FileSeal>? Read(byte[] json, long step)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(json, new JsonDocumentOptions { AllowDuplicateProperties = false });
            JsonElement root = document.RootElement;
            if (root.GetProperty("format_version").GetInt32() != FormatVersion || root.GetProperty("step").GetInt64() != step)
            {
                return null;
            }

            List<FileSeal> seals = [];
            foreach (JsonElement file in root.GetProperty("files").EnumerateArray())
            {
                string name = file.GetProperty("name").GetString() ?? "";
                if (name.Length == 0 || name[0] == '/' || name.Contains("..", StringComparison.Ordinal) || name.IndexOfAny(['\\', ':', '\0']) >= 0)
                {
                    return null;
                }

                seals.Add(new FileSeal(name, file.GetProperty("length").GetInt64(), file.GetProperty("sha256").GetString() ?? ""));
            }

            return root.GetProperty("files_sha256").GetString() == HashOf(seals) ? seals : null;
        }
        catch (Exception exception) when (exception is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            return null;
        }
    }
}
