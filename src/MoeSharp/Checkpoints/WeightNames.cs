using MoeSharp.Checkpoints.Names;
using MoeSharp.Model;

namespace MoeSharp.Checkpoints;

/// <summary>Whether a checkpoint has a tensor of a name; a table uses it to choose between spellings. Of a weight stored as <c>X_blocks</c> and <c>X_scales</c> it knows all three names.</summary>
internal delegate bool TensorPresence(string checkpointName);

/// <summary>How one family of Hugging Face checkpoints names its tensors.</summary>
/// <param name="ModelType">The family's <c>model_type</c>.</param>
/// <param name="Slices">Every tensor, lazily and in the order of the model's parameters.</param>
/// <param name="Ignored">Patterns of names, with * for any text, whose tensors are known to hold nothing that the model needs.</param>
internal sealed record FamilyNames(string ModelType, Func<ModelConfig, TensorPresence, IEnumerable<WeightSlice>> Slices, Func<ModelConfig, IEnumerable<string>> Ignored);

/// <summary>The one table between names in Hugging Face checkpoints and parameters of the model; the families are in <c>Names/</c>.</summary>
public static class WeightNames
{
    private static readonly FamilyNames[] s_families =
    [
        new("deepseek", DeepSeekNames.Slices, _ => []),
        new("deepseek_v2", DeepSeekNames.Slices, _ => []),
        new("deepseek_v3", DeepSeekNames.Slices, DeepSeekNames.DraftLayers),
        new("mixtral", MixtralNames.Slices, _ => []),
        new("qwen2_moe", QwenMoeNames.Slices, _ => []),
        new("qwen3_moe", QwenMoeNames.Slices, _ => []),
        new("olmoe", QwenMoeNames.Slices, _ => []),
        new("jetmoe", JetMoeNames.Slices, _ => []),
        new("dbrx", DbrxNames.Slices, _ => []),
        new("arctic", MixtralNames.Slices, _ => []),
        new("llama_moe", LlamaMoeNames.Slices, LlamaMoeNames.Noise),
        new("grok-1", GrokNames.Slices, _ => []),
        new("minimax", MixtralNames.Slices, _ => []),
        new("gpt_oss", GptOssNames.Slices, _ => []),
        new("llama", LlamaNames.Slices, _ => []),
        new("qwen2", LlamaNames.Slices, _ => []),
    ];

    /// <summary>Every tensor of a checkpoint as this program writes it, in the order of the model's parameters.</summary>
    /// <param name="config">Architecture.</param>
    /// <exception cref="ConfigurationException">The family has no table of names.</exception>
    public static IReadOnlyList<WeightSlice> Of(ModelConfig config) => [.. Family(config).Slices(config, _ => false)];

    /// <summary>The same table, made while it is read: a hostile configuration may describe billions of tensors.</summary>
    internal static IEnumerable<WeightSlice> Lazily(ModelConfig config, TensorPresence isPresent) => Family(config).Slices(config, isPresent);

    /// <summary>Matches a checkpoint with a model: every tensor is used, known to be without use, or an error.</summary>
    /// <param name="config">Architecture.</param>
    /// <param name="source">Checkpoint.</param>
    /// <returns>What fills the model's parameters.</returns>
    /// <exception cref="FileFormatException">Tensors are missing, misshapen or unknown; the message lists them.</exception>
    public static IReadOnlyList<WeightSlice> Match(ModelConfig config, IWeightSource source)
    {
        HashSet<string> names = [.. source.Names];
        FamilyNames family = Family(config);
        TensorPresence isPresent = source is ScaledSource scaled ? name => names.Contains(name) || scaled.Stores(name) : names.Contains;
        return WeightMatch.Check(source, ModelFolder.ConfigFile, family.Slices(config, isPresent), [.. Ignored(config), .. family.Ignored(config)]);
    }

    private static IEnumerable<string> Ignored(ModelConfig config)
    {
        yield return "*rotary_emb.inv_freq"; // computed from rope_theta; old files store it
        if (config.TieWordEmbeddings)
        {
            yield return "lm_head.weight"; // a copy of the embedding
        }
    }

    private static FamilyNames Family(ModelConfig config) =>
        Array.Find(s_families, family => family.ModelType == config.ModelType) ?? throw new ConfigurationException($"model_type '{config.ModelType}' has no table of tensor names");
}
