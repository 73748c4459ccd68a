using System.Text;
using System.Text.Json;
using MoeSharp.Model;
using MoeSharp.Tensors;

namespace MoeSharp.Checkpoints;

/// <summary>Gives the elements of a tensor, wherever they are kept.</summary>
public delegate Span<float> FloatSpan();

/// <summary>A tensor of the trainer, such as an optimiser moment; written from and read into the same memory.</summary>
/// <param name="Name">Name in the file.</param>
/// <param name="Shape">Dimensions.</param>
/// <param name="Values">Gives the elements in row-major order.</param>
public sealed record TrainerTensor(string Name, Shape Shape, FloatSpan Values);

/// <summary>Where training stands; the details belong to the trainer and are kept as they are.</summary>
/// <param name="Step">Optimiser steps done.</param>
/// <param name="Tokens">Tokens trained on.</param>
/// <param name="Details">A JSON value with everything else needed to go on: random generators, data position, losses.</param>
public sealed record TrainerState(long Step, long Tokens, string Details)
{
    private const int FormatVersion = 1;

    internal string ToJson()
    {
        using MemoryStream stream = new();
        using (Utf8JsonWriter json = new(stream, new JsonWriterOptions { Indented = true, NewLine = "\n" }))
        {
            json.WriteStartObject();
            json.WriteNumber("format_version", FormatVersion);
            json.WriteNumber("step", Step);
            json.WriteNumber("tokens", Tokens);
            json.WritePropertyName("details");
            json.WriteRawValue(Details);
            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(stream.ToArray()) + "\n";
    }

    internal static TrainerState FromJson(string text, string path)
    {
        using JsonDocument document = ModelConfigJson.ParseObject(text, path);
        try
        {
            JsonElement root = document.RootElement;
            int version = root.GetProperty("format_version").GetInt32();
            return version == FormatVersion
                ? new TrainerState(root.GetProperty("step").GetInt64(), root.GetProperty("tokens").GetInt64(), root.GetProperty("details").GetRawText())
                : throw new FileFormatException($"{path}: format_version {version} is not known; this version reads {FormatVersion}");
        }
        catch (Exception exception) when (exception is KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw new FileFormatException($"{path}: step, tokens and details are expected: {exception.Message}", exception);
        }
    }
}

/// <summary>All that one checkpoint keeps.</summary>
public sealed record CheckpointContent
{
    /// <summary>Architecture.</summary>
    public required ModelConfig Config { get; init; }

    /// <summary>All weights of the model.</summary>
    public required IReadOnlyList<Parameter> Parameters { get; init; }

    /// <summary>Where training stands.</summary>
    public required TrainerState State { get; init; }

    /// <summary>Optimiser moments and other tensors of the trainer.</summary>
    public required IReadOnlyList<TrainerTensor> Tensors { get; init; }

    /// <summary>Folder whose tokenizer files are copied along, or null for none.</summary>
    public string? TokenizerFolder { get; init; }
}

/// <summary>A verified checkpoint on disk; its folder is also a Hugging Face model folder.</summary>
/// <param name="Folder">Where it lies.</param>
/// <param name="Step">Optimiser steps done.</param>
public sealed record Checkpoint(string Folder, long Step)
{
    internal const string StateFile = "trainer/state.json";
    internal const string TensorsFile = "trainer/moments.safetensors";

    /// <summary>Reads where training stood.</summary>
    /// <exception cref="FileFormatException">The file is not a state of a trainer.</exception>
    public TrainerState ReadState()
    {
        string path = Path.Combine(Folder, StateFile);
        return TrainerState.FromJson(File.ReadAllText(path), path);
    }

    /// <summary>Reads the architecture.</summary>
    public ModelConfig ReadConfig() => ModelFolder.LoadConfig(Folder);

    /// <summary>Fills a model's parameters.</summary>
    /// <exception cref="FileFormatException">Tensors are missing, misshapen or unknown, or the parameters are those of another model.</exception>
    public void LoadWeights(IReadOnlyList<Parameter> parameters)
    {
        ModelConfig config = ReadConfig();
        ILookup<string, WeightSlice> stored = WeightNames.Of(config).ToLookup(slice => slice.ParameterName, StringComparer.Ordinal);
        List<string> others = [.. parameters
            .Where(parameter => stored[parameter.Name].Sum(slice => slice.Length) != parameter.Shape.Length)
            .Select(parameter => $"{parameter.Name} is {parameter.Shape} here and has {stored[parameter.Name].Sum(slice => slice.Length)} elements there")];
        if (others.Count > 0)
        {
            throw new FileFormatException($"{Folder} holds another model: {string.Join("; ", others.Take(4))}. Use the configuration that the run began with.");
        }

        ModelFolder.LoadWeights(Folder, config, parameters);
    }

    /// <summary>Fills the trainer's tensors; the file must hold exactly these.</summary>
    /// <exception cref="FileFormatException">Tensors are missing, misshapen or unknown.</exception>
    public void LoadTensors(IReadOnlyList<TrainerTensor> tensors)
    {
        using SafetensorsFile file = SafetensorsFile.Open(Path.Combine(Folder, TensorsFile));
        HashSet<string> expected = [.. tensors.Select(tensor => tensor.Name)];
        List<string> problems = [.. file.Names.Where(name => !expected.Contains(name)).Select(name => $"{SafetensorsHeader.Shown(name)} is unknown")];
        foreach (TrainerTensor tensor in tensors)
        {
            if (!file.Contains(tensor.Name))
            {
                problems.Add($"{tensor.Name} is missing");
            }
            else if (!file.Tensor(tensor.Name).Shape.SequenceEqual(tensor.Shape.ToArray().Select(dimension => (long)dimension)))
            {
                problems.Add($"{tensor.Name} is [{string.Join(", ", file.Tensor(tensor.Name).Shape)}], not {tensor.Shape}");
            }
        }

        if (problems.Count > 0)
        {
            throw new FileFormatException($"{file.Path}: the trainer's tensors do not fit this model and optimiser: {string.Join("; ", problems.Take(8))}");
        }

        foreach (TrainerTensor tensor in tensors)
        {
            file.ReadFloats(tensor.Name, tensor.Values());
        }
    }
}
