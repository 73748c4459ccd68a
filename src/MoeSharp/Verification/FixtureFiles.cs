using System.Text.Json;
using System.Text.Json.Serialization;

namespace MoeSharp.Verification;

/// <summary>The JSON files of a fixture folder: its tokens and the expectations that are not tensors.</summary>
internal sealed record FixtureFiles(string Folder, FixtureTokens Tokens, FixtureExpectations Expectations)
{
    public const string Expected = "expected.json";
    public const string Logits = "expected_logits.safetensors";
    public const string Intermediates = "intermediates.safetensors";
    public const string Gradients = "grads.safetensors";
    public const string LossGradients = "grads_ce_only.safetensors";
    public const string UpdatedWeights = "weights_after_steps.safetensors";
    public const string MovedBiases = "bias_after_update.safetensors";

    private static readonly string[] s_known = [Logits, Intermediates, Gradients, LossGradients, UpdatedWeights, MovedBiases];

    public static FixtureFiles Load(string folder)
    {
        if (!Directory.Exists(folder))
        {
            throw new ConfigurationException($"{folder}: no such folder. Give a folder with config.json, weights, tokens.json and expected.json, or with model.gguf, tokens.json and logits.f32.");
        }

        return new FixtureFiles(
            folder,
            Read(Path.Combine(folder, "tokens.json"), FixtureJson.Default.FixtureTokens),
            Read(Path.Combine(folder, Expected), FixtureJson.Default.FixtureExpectations));
    }

    public string PathOf(string file) => Path.Combine(Folder, file);

    public bool Has(string file) => File.Exists(PathOf(file));

    /// <summary>Expectation files that nothing here knows how to check.</summary>
    public IEnumerable<string> Unknown() =>
        Directory.EnumerateFiles(Folder, "*.safetensors").Select(path => Path.GetFileName(path))
            .Where(name => !name.StartsWith("model", StringComparison.Ordinal) && !s_known.Contains(name)).Order(StringComparer.Ordinal);

    private static T Read<T>(string path, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type)
    {
        if (!File.Exists(path))
        {
            throw new ConfigurationException($"{path}: no such file. A fixture folder has tokens.json and expected.json beside its model.");
        }

        try
        {
            return JsonSerializer.Deserialize(File.ReadAllText(path), type) ?? throw new FileFormatException($"{path}: the file holds null");
        }
        catch (JsonException exception)
        {
            throw new FileFormatException($"{path}: {exception.Message}", exception);
        }
    }
}

/// <summary>tokens.json.</summary>
internal sealed record FixtureTokens
{
    [JsonRequired]
    public int[][] InputIds { get; init; } = []; // [batch][seq]

    public int[][][] TrainBatches { get; init; } = []; // [steps][batch][seq]
}

/// <summary>expected.json.</summary>
internal sealed record FixtureExpectations
{
    public double? NextTokenCeLoss { get; init; }

    public int[]? GreedyPrompt { get; init; }

    public int[]? GreedyContinuation { get; init; }

    public FixtureTraining? Train { get; init; }
}

/// <summary>The part of expected.json about losses, gradients and updates.</summary>
internal sealed record FixtureTraining
{
    public Dictionary<string, JsonElement> Options { get; init; } = [];

    public Dictionary<string, double> LossParts { get; init; } = [];

    public FixtureSteps? Steps { get; init; }

    /// <summary>What else the fixture says about training: loads by layer, notes about its own accuracy.</summary>
    [JsonExtensionData]
    public Dictionary<string, JsonElement> Others { get; set; } = [];
}

/// <summary>A short run of the optimiser.</summary>
internal sealed record FixtureSteps
{
    [JsonRequired]
    public int Count { get; init; }

    [JsonRequired]
    public FixtureAdamW Adamw { get; init; } = new();

    public List<Dictionary<string, double>> Log { get; init; } = [];
}

/// <summary>Coefficients of the run.</summary>
internal sealed record FixtureAdamW
{
    public float Lr { get; init; }

    public float B1 { get; init; }

    public float B2 { get; init; }

    public float Eps { get; init; }

    public float Wd { get; init; }

    public float Clip { get; init; }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(FixtureTokens))]
[JsonSerializable(typeof(int[]))]
[JsonSerializable(typeof(FixtureExpectations))]
internal sealed partial class FixtureJson : JsonSerializerContext;
