namespace MoeSharp.Execution;

/// <summary>Which tokens a balance loss is averaged over.</summary>
public enum BalanceScope
{
    /// <summary>Per sequence, then the mean over sequences (seq_aux of the released DeepSeekMoE code).</summary>
    Sequence,

    /// <summary>All tokens of the micro-batch together.</summary>
    Batch,

    /// <summary>All tokens of the micro-batch in all layers together: expert i of every layer counts as one (Mixtral, Qwen-MoE, OLMoE).</summary>
    AllLayers,
}

/// <summary>Auxiliary losses that keep routed experts in use; a factor of 0 switches one off.</summary>
public sealed record BalanceConfig
{
    /// <summary>alpha1 of the expert-level loss (DeepSeekMoE, arXiv 2401.06066, equations 12 to 14).</summary>
    public float ExpertAlpha { get; init; }

    /// <summary>alpha2 of the device-level loss (equations 15 to 17).</summary>
    public float DeviceAlpha { get; init; }

    /// <summary>D: groups of equal size that routed experts are cut into for the device-level and communication losses.</summary>
    public int NumDeviceGroups { get; init; } = 1;

    /// <summary>alpha3 of the communication loss (DeepSeek-V2, arXiv 2405.04434); always per sequence.</summary>
    public float CommunicationAlpha { get; init; }

    /// <summary>M of the communication loss: device groups that a token is meant to use.</summary>
    public int MaxDevicesPerToken { get; init; } = 1;

    /// <summary>Size of the moves of selection biases after a step (arXiv 2408.15664); for models that have them.</summary>
    public float BiasUpdateSpeed { get; init; }

    /// <summary>Factor of the router z-loss (ST-MoE, arXiv 2202.08906, equation 5).</summary>
    public float ZLossAlpha { get; init; }

    /// <summary>Which tokens the expert- and device-level losses are averaged over.</summary>
    public BalanceScope Scope { get; init; } = BalanceScope.Sequence;
}
