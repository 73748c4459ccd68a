namespace MoeSharp.Execution;

/// <summary>Which tokens a balance loss is averaged over.</summary>
public enum BalanceScope
{
    /// <summary>Per sequence, then the mean over sequences (seq_aux of the released DeepSeekMoE code).</summary>
    Sequence,

    /// <summary>All tokens of the micro-batch together.</summary>
    Batch,
}

/// <summary>Auxiliary losses that keep routed experts in use; a factor of 0 switches one off.</summary>
public sealed record BalanceConfig
{
    /// <summary>alpha1 of the expert-level loss (DeepSeekMoE, arXiv 2401.06066, equations 12 to 14).</summary>
    public float ExpertAlpha { get; init; }

    /// <summary>alpha2 of the device-level loss (equations 15 to 17).</summary>
    public float DeviceAlpha { get; init; }

    /// <summary>D: groups of equal size that routed experts are cut into for the device-level loss.</summary>
    public int NumDeviceGroups { get; init; } = 1;

    /// <summary>Factor of the router z-loss (ST-MoE, arXiv 2202.08906, equation 5).</summary>
    public float ZLossAlpha { get; init; }

    /// <summary>Which tokens the expert- and device-level losses are averaged over.</summary>
    public BalanceScope Scope { get; init; } = BalanceScope.Sequence;
}
