namespace MoeSharp.Model;

/// <summary>Which architectures can be trained: those whose every part has a backward pass.</summary>
public static class TrainingLimits
{
    /// <summary>The parts of a model without a backward pass, each as the configuration names it; empty when the model can be trained.</summary>
    public static IReadOnlyList<string> Of(ModelConfig config)
    {
        List<string> parts = [];
        if (config.LayerAttention.Contains(AttentionKind.Linear))
        {
            parts.Add("linear attention (layer_types)");
        }

        if (config.LayerAttention.Contains(AttentionKind.Sliding))
        {
            parts.Add("a sliding window (sliding_window)");
        }

        if (config.HasAttentionSinks)
        {
            parts.Add("attention sinks");
        }

        if (config.AttentionScoreCap > 0)
        {
            parts.Add("capped attention scores");
        }

        if (config.LogitCap > 0)
        {
            parts.Add("capped logits");
        }

        return parts;
    }

    /// <summary>Throws where a model cannot be trained.</summary>
    /// <exception cref="ConfigurationException">The message names the parts without a backward pass.</exception>
    public static void Require(ModelConfig config)
    {
        IReadOnlyList<string> parts = Of(config);
        if (parts.Count > 0)
        {
            throw new ConfigurationException($"model_type '{config.ModelType}' cannot be trained: there is no backward pass for {string.Join(", ", parts)}. Use it for text only, or train an architecture without.");
        }
    }
}
