namespace MoeSharp.Model;

/// <summary>How a decoder block joins attention, feed-forward and residual stream.</summary>
public enum BlockLayout
{
    /// <summary>x += attention(norm(x)); x += feed_forward(norm(x)).</summary>
    PreNorm,

    /// <summary>As <see cref="PreNorm"/>, with the outputs normed before they are added (Grok-1).</summary>
    SandwichNorm,

    /// <summary>The residual is the normed input, scaled (MiniMax-01); see <see cref="ResidualScales"/>.</summary>
    NormedResidual,

    /// <summary>In MoE layers a dense feed-forward follows attention and the experts read the layer's input (Arctic).</summary>
    ParallelExperts,
}

/// <summary>Factors of <see cref="BlockLayout.NormedResidual"/>: x = alpha * norm(x) + beta * f(norm(x)).</summary>
public sealed record ResidualScales
{
    /// <summary>Alpha of full attention.</summary>
    public float FullAttentionAlpha { get; init; } = 1f;

    /// <summary>Beta of full attention.</summary>
    public float FullAttentionBeta { get; init; } = 1f;

    /// <summary>Alpha of linear attention.</summary>
    public float LinearAttentionAlpha { get; init; } = 1f;

    /// <summary>Beta of linear attention.</summary>
    public float LinearAttentionBeta { get; init; } = 1f;

    /// <summary>Alpha of the feed-forward.</summary>
    public float FeedForwardAlpha { get; init; } = 1f;

    /// <summary>Beta of the feed-forward.</summary>
    public float FeedForwardBeta { get; init; } = 1f;
}
