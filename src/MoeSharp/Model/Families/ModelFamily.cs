using System.Text.Json;

namespace MoeSharp.Model.Families;

/// <summary>One family of checkpoints: how its <c>config.json</c> maps to a <see cref="ModelConfig"/> and back.</summary>
/// <param name="ModelType">The model_type that is written.</param>
/// <param name="Architecture">The architecture that is written.</param>
/// <param name="Read">Reads the family's keys.</param>
/// <param name="Write">Writes them.</param>
/// <remarks>A new family is one more file beside this one and one more row of <see cref="s_families"/>.</remarks>
internal sealed record ModelFamily(string ModelType, string Architecture, Func<ConfigReader, ModelConfig> Read, Action<Utf8JsonWriter, ModelConfig> Write)
{
    private static readonly ModelFamily[] s_families =
    [
        DeepSeekFamily.Family,
        DeepSeekV2Family.Family,
        DeepSeekV3Family.Family,
        MixtralFamily.Family,
        Qwen2MoeFamily.Family,
        Qwen3MoeFamily.Family,
        OlmoeFamily.Family,
        JetMoeFamily.Family,
        DbrxFamily.Family,
        ArcticFamily.Family,
        LlamaMoeFamily.Family,
        GrokFamily.Family,
        MiniMaxFamily.Family,
        MiniMaxFamily.Remote,
        GptOssFamily.Family,
        LlamaFamily.Family,
        Qwen2Family.Family,
    ];

    /// <summary>The family of a file, by its architecture and, failing that, its model_type.</summary>
    /// <exception cref="ConfigurationException">The family is not supported.</exception>
    public static ModelFamily Of(ConfigReader reader, string source)
    {
        string? architecture = reader.Value("architectures") is { ValueKind: JsonValueKind.Array } names && names.GetArrayLength() > 0 && names[0].ValueKind == JsonValueKind.String
            ? names[0].GetString()
            : null;
        string? modelType = reader.Text("model_type");
        return Array.Find(s_families, family => family.Architecture == architecture)
            ?? Array.Find(s_families, family => family.ModelType == modelType)
            ?? throw new ConfigurationException($"{source}: model_type '{modelType ?? "(absent)"}' is not supported; this version reads {SupportedTypes}");
    }

    /// <summary>The family with a model_type.</summary>
    /// <exception cref="ConfigurationException">The family is not supported.</exception>
    public static ModelFamily Of(string modelType) =>
        Array.Find(s_families, family => family.ModelType == modelType)
            ?? throw new ConfigurationException($"model_type '{modelType}' is not supported; use {SupportedTypes}");

    private static string SupportedTypes => string.Join(" or ", s_families.Select(family => $"'{family.ModelType}'"));
}
