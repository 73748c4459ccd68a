using System.Text.Json;
using System.Text.Json.Serialization;
using MoeSharp.Execution;

namespace MoeSharp.Verification;

/// <summary>The JSON files of a fixture folder: its tokens and the expectations that are not tensors.</summary>
internal sealed record FixtureFiles(string Folder, FixtureTokens Tokens, FixtureExpectations Expectations)
{
    public const string Logits = "expected_logits.safetensors";
    public const string Intermediates = "intermediates.safetensors";
    public const string Gradients = "grads.safetensors";
    public const string LossGradients = "grads_ce_only.safetensors";
    public const string UpdatedWeights = "weights_after_steps.safetensors";

    private static readonly string[] s_known = [Logits, Intermediates, Gradients, LossGradients, UpdatedWeights];

    public static FixtureFiles Load(string folder)
    {
        if (!Directory.Exists(folder))
        {
            throw new ConfigurationException($"{folder}: no such folder. Give a folder with config.json, weights, tokens.json and expected.json.");
        }

        return new FixtureFiles(
            folder,
            Read(Path.Combine(folder, "tokens.json"), FixtureJson.Default.FixtureTokens),
            Read(Path.Combine(folder, "expected.json"), FixtureJson.Default.FixtureExpectations));
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

    /// <summary>The balance losses that the options describe.</summary>
    /// <param name="isPerSequence">seq_aux of the model's config.json.</param>
    public BalanceConfig Balance(bool isPerSequence)
    {
        BalanceConfig balance = new() { Scope = isPerSequence ? BalanceScope.Sequence : BalanceScope.Batch };
        foreach ((string name, JsonElement value) in Options)
        {
            balance = name switch
            {
                "alpha_expert" => balance with { ExpertAlpha = value.GetSingle() },
                "alpha_device" => balance with { DeviceAlpha = value.GetSingle() },
                "device_groups" => balance with { NumDeviceGroups = CountGroups(value) },
                _ => throw new ConfigurationException($"train.options.{name} is not supported"),
            };
        }

        return balance;
    }

    private static int CountGroups(JsonElement groups)
    {
        int size = groups[0].GetArrayLength();
        int next = 0;
        foreach (JsonElement group in groups.EnumerateArray())
        {
            if (group.GetArrayLength() != size || group.EnumerateArray().Any(expert => expert.GetInt32() != next++))
            {
                throw new ConfigurationException("train.options.device_groups are not equal runs of neighbouring experts, the only kind that is supported");
            }
        }

        return groups.GetArrayLength();
    }
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
[JsonSerializable(typeof(FixtureExpectations))]
internal sealed partial class FixtureJson : JsonSerializerContext;
