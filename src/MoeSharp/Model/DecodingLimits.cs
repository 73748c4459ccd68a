namespace MoeSharp.Model;

/// <summary>Which architectures can write a text token by token: those whose every choice is made by what came before.</summary>
public static class DecodingLimits
{
    /// <summary>Why a model cannot continue a text, or null when it can.</summary>
    public static string? Refusal(ModelConfig config) => config.Moe?.Router is { DecodingRefusal: { } reason } router ? $"a model with router '{router.Name}' cannot continue a text: {reason}" : null;

    /// <summary>What must be known of a model's losses before they are believed; usually nothing.</summary>
    public static IReadOnlyList<string> LossWarnings(ModelConfig config) => config.Moe?.Router is { LossCaveat: { } caveat } router ? [$"a model with router '{router.Name}' sees the future: {caveat}"] : [];

    /// <summary>Throws where a model cannot continue a text.</summary>
    /// <exception cref="ConfigurationException">The message says why.</exception>
    public static void Require(ModelConfig config)
    {
        if (Refusal(config) is { } refusal)
        {
            throw new ConfigurationException($"{refusal}.");
        }
    }
}
