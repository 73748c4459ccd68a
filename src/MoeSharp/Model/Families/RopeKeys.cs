using System.Text.Json;

namespace MoeSharp.Model.Families;

/// <summary>The keys of rotary positions, in both spellings: rope_theta with rope_scaling, and everything inside rope_parameters.</summary>
internal static class RopeKeys
{
    /// <summary>Reads them.</summary>
    /// <param name="reader">The file.</param>
    /// <param name="absent">What the family assumes.</param>
    /// <param name="headDim">Width of a head.</param>
    /// <param name="maxPositions">max_position_embeddings.</param>
    public static RopeConfig Read(ConfigReader reader, RopeConfig absent, int headDim, int maxPositions)
    {
        RopeConfig rope = absent with { Theta = reader.Number("rope_theta", absent.Theta) };
        double partial = reader.Number("partial_rotary_factor", 1);
        foreach (string key in (ReadOnlySpan<string>)["rope_scaling", "rope_parameters"])
        {
            if (reader.Value(key) is null)
            {
                if (reader.Has(key) && key == "rope_scaling")
                {
                    rope = new RopeConfig { Theta = rope.Theta, IsInterleaved = rope.IsInterleaved }; // an explicit null switches the family's own off
                }

                continue;
            }

            ConfigReader section = reader.Section(key);
            rope = ReadScaling(reader, section, rope, maxPositions);
            partial = section.Number("partial_rotary_factor", partial);
        }

        return partial == 1 ? rope : rope with { RotaryDim = (int)(headDim * partial) };
    }

    /// <summary>Replaces the factor on cosines and sines by DeepSeek's, m(factor, mscale) / m(factor, mscale_all_dim), and keeps mscale_all_dim for the scores.</summary>
    public static RopeConfig WithDeepSeekMagnitude(ConfigReader reader, RopeConfig rope)
    {
        if (rope.Scaling != RopeScaling.Yarn)
        {
            return rope;
        }

        ConfigReader section = reader.Section(reader.Value("rope_parameters") is null ? "rope_scaling" : "rope_parameters");
        double all = section.Number("mscale_all_dim", 0);
        double magnitude = RopeConfig.Magnitude(rope.Factor, section.Number("mscale", 1)) / RopeConfig.Magnitude(rope.Factor, all);
        return rope with { MscaleAllDim = all, AttentionFactor = section.Number("attention_factor", magnitude) };
    }

    /// <summary>Writes rope_theta and rope_scaling.</summary>
    public static void Write(Utf8JsonWriter writer, ModelConfig config)
    {
        RopeConfig rope = config.Rope.Scaling == RopeScaling.Divided ? Llama3(config) : config.Rope;
        writer.WriteNumber("rope_theta", rope.Theta);
        if (rope.RotaryDim > 0 && rope.RotaryDim != config.HeadDim)
        {
            writer.WriteNumber("partial_rotary_factor", (double)rope.RotaryDim / config.HeadDim);
        }

        if (rope.Scaling == RopeScaling.None)
        {
            writer.WriteNull("rope_scaling");
            return;
        }

        writer.WriteStartObject("rope_scaling");
        writer.WriteString("type", rope.Scaling.ToString().ToLowerInvariant());
        writer.WriteString("rope_type", rope.Scaling.ToString().ToLowerInvariant());
        writer.WriteNumber("factor", rope.Factor);
        if (rope.Scaling != RopeScaling.Linear)
        {
            writer.WriteNumber("original_max_position_embeddings", rope.OriginalMaxPositions);
        }

        if (rope.Scaling == RopeScaling.Llama3)
        {
            writer.WriteNumber("low_freq_factor", rope.LowFrequencyFactor);
            writer.WriteNumber("high_freq_factor", rope.HighFrequencyFactor);
        }

        if (rope.Scaling == RopeScaling.Yarn)
        {
            WriteYarn(writer, config);
        }

        writer.WriteEndObject();
    }

    private static RopeConfig Llama3(ModelConfig config) =>
        RopeFrequencies.Llama3(config.Rope, RopeFrequencies.RotatedLanes(config))
            ?? throw new ConfigurationException("config.json has no words for these rotary divisors: they are not those of Llama 3.1");

    private static RopeConfig ReadScaling(ConfigReader reader, ConfigReader section, RopeConfig rope, int maxPositions)
    {
        rope = new RopeConfig { Theta = section.Number("rope_theta", rope.Theta), IsInterleaved = rope.IsInterleaved };
        string? newName = section.Text("rope_type");
        string type = newName ?? section.Text("type") ?? "default";
        section.Ignore("type", "mscale", "mscale_all_dim", "finetuned");
        RopeScaling? scaling = type switch
        {
            "default" => RopeScaling.None,
            "linear" => RopeScaling.Linear,
            "yarn" => RopeScaling.Yarn,
            "dynamic" => RopeScaling.Dynamic,
            "llama3" => RopeScaling.Llama3,
            _ => null,
        };
        if (scaling is null)
        {
            section.Problems.Add($"{section.Place("rope_type")} '{type}' is not supported; use 'default' or 'linear' or 'yarn' or 'dynamic' or 'llama3'");
        }

        if (scaling is null or RopeScaling.None)
        {
            section.Ignore("factor", "original_max_position_embeddings", "beta_fast", "beta_slow", "truncate", "attention_factor", "low_freq_factor", "high_freq_factor", "short_factor", "long_factor");
            return rope;
        }

        double factor = section.Number("factor") ?? MissingFactor(section);
        int original = section.Int("original_max_position_embeddings") ?? reader.Int("original_max_position_embeddings") ?? maxPositions;
        rope = rope with { Scaling = scaling.Value, Factor = factor, OriginalMaxPositions = scaling == RopeScaling.Linear ? 0 : original };
        return scaling switch
        {
            RopeScaling.Yarn => ReadYarn(section, rope),
            RopeScaling.Llama3 => rope with { LowFrequencyFactor = section.Number("low_freq_factor", 1), HighFrequencyFactor = section.Number("high_freq_factor", 4) },
            _ => rope,
        };
    }

    private static double MissingFactor(ConfigReader section)
    {
        section.Problems.Add($"{section.Place("factor")} is missing; write the factor by which the context is extended");
        return 1;
    }

    private static RopeConfig ReadYarn(ConfigReader section, RopeConfig rope)
    {
        double mscale = section.Number("mscale", 0);
        double all = section.Number("mscale_all_dim", 0);
        double magnitude = mscale != 0 && all != 0
            ? RopeConfig.Magnitude(rope.Factor, mscale) / RopeConfig.Magnitude(rope.Factor, all)
            : RopeConfig.Magnitude(rope.Factor, 1);
        return rope with
        {
            BetaFast = section.Number("beta_fast", 32),
            BetaSlow = section.Number("beta_slow", 1),
            Truncates = section.Switch("truncate", true),
            AttentionFactor = section.Number("attention_factor", magnitude),
        };
    }

    private static void WriteYarn(Utf8JsonWriter writer, ModelConfig config)
    {
        RopeConfig rope = config.Rope;
        writer.WriteNumber("beta_fast", rope.BetaFast);
        writer.WriteNumber("beta_slow", rope.BetaSlow);
        if (!rope.Truncates)
        {
            writer.WriteBoolean("truncate", false);
        }

        if (config.LatentAttention is null)
        {
            writer.WriteNumber("attention_factor", rope.AttentionFactor);
            return;
        }

        // DeepSeek's own code knows mscale and mscale_all_dim only: solve m(factor, mscale) / m(factor, all) = attention factor for mscale.
        double all = RopeConfig.Magnitude(rope.Factor, rope.MscaleAllDim);
        double slope = 0.1 * Math.Log(Math.Max(rope.Factor, 1 + 1e-9));
        const int Digits = 9; // published values have three
        writer.WriteNumber("mscale", rope.AttentionFactor == 1 ? rope.MscaleAllDim : Math.Round(((rope.AttentionFactor * all) - 1) / slope, Digits));
        writer.WriteNumber("mscale_all_dim", rope.MscaleAllDim);
    }
}
