using System.Reflection;
using System.Runtime.InteropServices;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace MoeSharp.Training;

/// <summary>The folder of a run and its description, run.json: configuration, seed, versions, data.</summary>
public sealed class RunFolder
{
    /// <summary>Name of the description.</summary>
    public const string DescriptionFile = "run.json";

    private const int FormatVersion = 1;

    private RunFolder(string path, JsonObject description)
    {
        Path = path;
        Description = description;
    }

    /// <summary>The folder, as given.</summary>
    public string Path { get; }

    /// <summary>Content of run.json; changes are written by <see cref="Write"/>.</summary>
    public JsonObject Description { get; }

    /// <summary>Makes the folder of a new run; its run.json is not written yet.</summary>
    /// <param name="path">Folder; created when absent.</param>
    /// <param name="command">The command that started the run.</param>
    /// <param name="clock">Wall clock.</param>
    /// <exception cref="ConfigurationException">There is a run already, or the folder cannot be made.</exception>
    public static RunFolder Create(string path, string command, TimeProvider clock)
    {
        if (File.Exists(System.IO.Path.Combine(path, DescriptionFile)))
        {
            throw new ConfigurationException($"{path} holds a run already. Give another folder with --out, or go on with a run of moe train by --resume {path}.");
        }

        try
        {
            Directory.CreateDirectory(path);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new ConfigurationException($"the run folder {path} cannot be created: {error.Message} Give another one with --out.", error);
        }

        return new RunFolder(path, new JsonObject
        {
            ["format_version"] = FormatVersion,
            ["created"] = clock.GetUtcNow().ToString("yyyy-MM-ddTHH:mm:ssZ", System.Globalization.CultureInfo.InvariantCulture),
            ["command"] = command,
            ["versions"] = new JsonObject
            {
                ["moesharp"] = Assembly.GetExecutingAssembly().GetName().Version?.ToString(3),
                ["dotnet"] = RuntimeInformation.FrameworkDescription,
                ["system"] = RuntimeInformation.RuntimeIdentifier,
            },
        });
    }

    /// <summary>Opens the folder of a run.</summary>
    /// <exception cref="ConfigurationException">There is no run.</exception>
    /// <exception cref="FileFormatException">run.json cannot be read.</exception>
    public static RunFolder Open(string path)
    {
        string file = System.IO.Path.Combine(path, DescriptionFile);
        if (!File.Exists(file))
        {
            throw new ConfigurationException($"{path} is not a run folder: it has no {DescriptionFile}. Give the folder that 'moe train' printed.");
        }

        try
        {
            if (JsonNode.Parse(File.ReadAllText(file)) is JsonObject description && description["format_version"]?.GetValue<int>() == FormatVersion)
            {
                return new RunFolder(path, description);
            }
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException or FormatException)
        {
            throw new FileFormatException($"{file} cannot be read: {error.Message}", error);
        }

        throw new FileFormatException($"{file} is not a description of format {FormatVersion}.");
    }

    /// <summary>The configuration that the run was started with.</summary>
    /// <exception cref="FileFormatException">run.json holds none.</exception>
    public TrainingConfig ReadConfig() => Description["config"] is JsonObject config
        ? TrainingConfigJson.Parse(config.ToJsonString(), System.IO.Path.Combine(Path, DescriptionFile))
        : throw new FileFormatException($"{System.IO.Path.Combine(Path, DescriptionFile)} has no section config.");

    /// <summary>Writes run.json; the file is replaced at once, never seen half written.</summary>
    public void Write()
    {
        string file = System.IO.Path.Combine(Path, DescriptionFile);
        File.WriteAllText(file + ".tmp", Description.ToJsonString(s_indented) + "\n");
        File.Move(file + ".tmp", file, overwrite: true);
    }

    private static readonly JsonSerializerOptions s_indented = new() { WriteIndented = true };
}
