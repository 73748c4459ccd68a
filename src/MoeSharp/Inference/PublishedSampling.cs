using System.Text.Json;
using MoeSharp.Checkpoints;

namespace MoeSharp.Inference;

/// <summary>How the publishers of a model draw its tokens: the generation_config.json beside its weights.</summary>
public static class PublishedSampling
{
    /// <summary>Reads temperature, top_k, top_p, min_p and repetition_penalty.</summary>
    /// <param name="modelPath">Folder of the model, or its file.</param>
    /// <returns>The options; null when there is no such file, or it asks for no sampling.</returns>
    /// <exception cref="ConfigurationException">A value is out of range or of another type; the message names the file.</exception>
    /// <exception cref="FileFormatException">The file is not JSON.</exception>
    public static SamplingOptions? Of(string modelPath)
    {
        string path = Path.Combine(modelPath, ModelFolder.GenerationConfigFile);
        if (!File.Exists(path))
        {
            return null;
        }

        using JsonDocument document = Parse(path);
        JsonElement root = document.RootElement;
        bool samples = root.ValueKind == JsonValueKind.Object
            && (root.TryGetProperty("do_sample", out JsonElement wish) ? wish.ValueKind == JsonValueKind.True : root.TryGetProperty("temperature", out _));
        if (!samples)
        {
            return null;
        }

        SamplingOptions options = new()
        {
            Temperature = (float)Number(root, "temperature", 1, path),
            TopK = (int)Math.Clamp(Number(root, "top_k", 0, path), -1, int.MaxValue),
            TopP = (float)Number(root, "top_p", 1, path),
            MinP = (float)Number(root, "min_p", 0, path),
            RepetitionPenalty = (float)Number(root, "repetition_penalty", 1, path),
        };
        try
        {
            options.Validate();
        }
        catch (ConfigurationException exception)
        {
            throw new ConfigurationException($"{path}: {exception.Message}", exception);
        }

        return options;
    }

    private static double Number(JsonElement root, string name, double usual, string path)
    {
        if (!root.TryGetProperty(name, out JsonElement value) || value.ValueKind == JsonValueKind.Null)
        {
            return usual;
        }

        return value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out double number)
            ? number
            : throw new ConfigurationException($"{path}: {name} is not a number");
    }

    private static JsonDocument Parse(string path)
    {
        try
        {
            return JsonDocument.Parse(File.ReadAllBytes(path));
        }
        catch (JsonException exception)
        {
            throw new FileFormatException($"{path} is not valid JSON: {exception.Message}", exception);
        }
    }
}
