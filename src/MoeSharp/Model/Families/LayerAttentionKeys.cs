using System.Text.Json;

namespace MoeSharp.Model.Families;

/// <summary>The keys that say what each layer's attention sees: sliding_window, use_sliding_window, max_window_layers, layer_types.</summary>
internal static class LayerAttentionKeys
{
    /// <summary>A window in every layer where sliding_window is a number.</summary>
    public static ModelConfig ReadEverywhere(ConfigReader reader, ModelConfig config) => WithWindow(reader, config, reader.Int("sliding_window"), _ => AttentionKind.Sliding);

    /// <summary>A window only where use_sliding_window is true, in the layers that the family names.</summary>
    public static ModelConfig ReadSwitched(ConfigReader reader, ModelConfig config, int absentWindow, Func<int, AttentionKind> kindOf)
    {
        reader.Ignore("max_window_layers");
        int? window = DecoderKeys.IntOrAbsent(reader, "sliding_window", absentWindow);
        return WithWindow(reader, config, reader.Switch("use_sliding_window", false) ? window : null, kindOf);
    }

    /// <summary>The window's width (null for none) and, from layer_types or else from the family, the layers that have it.</summary>
    public static ModelConfig WithWindow(ConfigReader reader, ModelConfig config, int? width, Func<int, AttentionKind> kindOf)
    {
        if (width is not { } window)
        {
            reader.Ignore("layer_types");
            return config;
        }

        if (window < 1)
        {
            reader.Problems.Add($"{reader.Place("sliding_window")} {window} must be at least 1; use null for no window");
            return config;
        }

        return WithLayers(reader, config with { SlidingWindow = window }, kindOf);
    }

    /// <summary>The kind of every layer, from layer_types or else from the family.</summary>
    public static ModelConfig WithLayers(ConfigReader reader, ModelConfig config, Func<int, AttentionKind> kindOf)
    {
        if (config.NumHiddenLayers is < 1 or > ModelConfigRules.MostLayers)
        {
            return config; // reported by the rules
        }

        IReadOnlyList<JsonElement>? names = reader.List("layer_types", JsonValueKind.String);
        if (names is null)
        {
            return config with { LayerAttention = [.. Enumerable.Range(0, config.NumHiddenLayers).Select(kindOf)] };
        }

        if (names.Count != config.NumHiddenLayers)
        {
            reader.Problems.Add($"{reader.Place("layer_types")} has {names.Count} entries, num_hidden_layers is {config.NumHiddenLayers}; name every layer once");
            return config;
        }

        return config with { LayerAttention = [.. names.Select(name => KindOf(reader, name))] };
    }

    /// <summary>Writes sliding_window and layer_types where the model needs them.</summary>
    public static void Write(Utf8JsonWriter writer, ModelConfig config)
    {
        DecoderKeys.WriteOptional(writer, "sliding_window", config.SlidingWindow > 0 ? config.SlidingWindow : null);
        if (config.LayerAttention.Count == 0)
        {
            return;
        }

        writer.WriteStartArray("layer_types");
        foreach (AttentionKind kind in config.LayerAttention)
        {
            writer.WriteStringValue(kind switch
            {
                AttentionKind.Sliding => "sliding_attention",
                AttentionKind.Linear => "linear_attention",
                _ => "full_attention",
            });
        }

        writer.WriteEndArray();
    }

    private static AttentionKind KindOf(ConfigReader reader, JsonElement name)
    {
        switch (name.GetString())
        {
            case "full_attention":
                return AttentionKind.Full;
            case "sliding_attention":
                return AttentionKind.Sliding;
            case "linear_attention":
                return AttentionKind.Linear;
            default:
                reader.Problems.Add($"{reader.Place("layer_types")} holds {ConfigReader.Shown(name)}; use 'full_attention', 'sliding_attention' or 'linear_attention'");
                return AttentionKind.Full;
        }
    }
}
