using MoeSharp.Tensors;

namespace MoeSharp.Model;

/// <summary>How positions turn queries and keys.</summary>
public sealed record RopeConfig
{
    private readonly ValueList<float> _frequencyDivisors = ValueList<float>.Empty;

    /// <summary>Base of the frequencies (rope_theta).</summary>
    public double Theta { get; init; } = 10000;

    /// <summary>Dimensions of a head that are rotated, from its first; 0 for all.</summary>
    public int RotaryDim { get; init; }

    /// <summary>Whether pairs are (2i, 2i+1) instead of (i, i + half).</summary>
    public bool IsInterleaved { get; init; }

    /// <summary>Extension to longer contexts.</summary>
    public RopeScaling Scaling { get; init; } = RopeScaling.None;

    /// <summary>Factor of the extension.</summary>
    public double Factor { get; init; } = 1;

    /// <summary>Context before the extension (original_max_position_embeddings).</summary>
    public int OriginalMaxPositions { get; init; }

    /// <summary>YaRN's beta_fast.</summary>
    public double BetaFast { get; init; } = 32;

    /// <summary>YaRN's beta_slow.</summary>
    public double BetaSlow { get; init; } = 1;

    /// <summary>Whether YaRN's bounds are rounded to whole dimensions (truncate).</summary>
    public bool Truncates { get; init; } = true;

    /// <summary>Of <see cref="RopeScaling.Llama3"/>: pairs with fewer turns than this over the original context are slowed down by the whole factor.</summary>
    public double LowFrequencyFactor { get; init; } = 1;

    /// <summary>Of <see cref="RopeScaling.Llama3"/>: pairs with more turns than this over the original context stay.</summary>
    public double HighFrequencyFactor { get; init; } = 4;

    /// <summary>Of <see cref="RopeScaling.Divided"/>: what the angle of each pair is divided by.</summary>
    public IReadOnlyList<float> FrequencyDivisors
    {
        get => _frequencyDivisors;
        init => _frequencyDivisors = new ValueList<float>(value);
    }

    /// <summary>Factor on cosines and sines, already resolved from attention_factor, mscale and mscale_all_dim.</summary>
    public double AttentionFactor { get; init; } = 1;

    /// <summary>Mscale_all_dim of DeepSeek's YaRN: the softmax scale is multiplied by (0.1 mscale_all_dim ln factor + 1)^2; 0 for none.</summary>
    public double MscaleAllDim { get; init; }

    /// <summary>YaRN's magnitude correction: 0.1 weight ln(factor) + 1 for factors above 1 (arXiv 2309.00071, section 3.4).</summary>
    /// <param name="factor">Factor of the extension.</param>
    /// <param name="weight">Share of the correction: mscale or mscale_all_dim.</param>
    public static double Magnitude(double factor, double weight) => factor <= 1 ? 1 : (0.1 * weight * Math.Log(factor)) + 1;
}

/// <summary>Extension of rotary positions to longer contexts.</summary>
public enum RopeScaling
{
    /// <summary>None.</summary>
    None,

    /// <summary>Positions divided by the factor.</summary>
    Linear,

    /// <summary>YaRN (arXiv 2309.00071): high frequencies stay, low ones are interpolated.</summary>
    Yarn,

    /// <summary>NTK-aware base that grows with the sequence.</summary>
    Dynamic,

    /// <summary>That of Llama 3.1: high frequencies stay, low ones are divided by the factor, those between partly.</summary>
    Llama3,

    /// <summary>A divisor for every pair, as GGUF files store it.</summary>
    Divided,
}
