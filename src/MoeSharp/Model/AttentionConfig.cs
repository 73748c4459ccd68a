namespace MoeSharp.Model;

/// <summary>Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): keys and values come from one small latent per token.</summary>
public sealed record LatentAttentionConfig
{
    /// <summary>Width of the compressed queries (q_lora_rank), or 0 for a full projection.</summary>
    public int QueryRank { get; init; }

    /// <summary>Width of the latent (kv_lora_rank).</summary>
    public required int LatentRank { get; init; }

    /// <summary>Part of a head without rotation (qk_nope_head_dim).</summary>
    public required int NopeHeadDim { get; init; }

    /// <summary>Rotated part of a head; its key is shared by all heads (qk_rope_head_dim).</summary>
    public required int RopeHeadDim { get; init; }

    /// <summary>Width of a head's values (v_head_dim).</summary>
    public required int ValueHeadDim { get; init; }
}

/// <summary>What a layer's attention sees.</summary>
public enum AttentionKind
{
    /// <summary>All earlier tokens.</summary>
    Full,

    /// <summary>The last <see cref="ModelConfig.SlidingWindow"/> tokens.</summary>
    Sliding,

    /// <summary>Lightning attention: a decaying sum instead of a softmax (MiniMax-01, arXiv 2501.08313).</summary>
    Linear,
}

/// <summary>Normalisation of queries and keys.</summary>
public enum QueryKeyNorm
{
    /// <summary>None.</summary>
    None,

    /// <summary>RMS norm of each head, weights [head_dim] (Qwen3).</summary>
    PerHead,

    /// <summary>RMS norm of the whole projection, before the heads are split (OLMoE).</summary>
    WholeProjection,
}
