using MoeSharp.Tensors;

namespace MoeSharp.Execution;

/// <summary>Which tokens a balance loss is averaged over. Padding is in none of them; a group without a real token does not count in the mean.</summary>
public enum BalanceScope
{
    /// <summary>Per sequence, then the mean over sequences (seq_aux of the released DeepSeekMoE code).</summary>
    Sequence,

    /// <summary>All tokens of the micro-batch together.</summary>
    MicroBatch,

    /// <summary>
    /// Loads over all tokens of the optimiser step, mean scores over those of the micro-batch (arXiv 2501.11873). With several micro-batches a load is that of
    /// the step so far, because the micro-batches to come are not known when gradients are taken.
    /// </summary>
    GlobalBatch,

    /// <summary>Runs of <see cref="BalanceConfig.GroupTokens"/> tokens, the last one perhaps shorter (GShard's groups).</summary>
    Group,

    /// <summary>All tokens of the micro-batch in all layers together: expert i of every layer counts as one (Mixtral, Qwen-MoE, OLMoE).</summary>
    AllLayers,
}

/// <summary>Auxiliary losses that keep routed experts in use; a factor of 0 switches one off. They can be combined.</summary>
public sealed record BalanceConfig
{
    private readonly ValueList<int> _expertDevices = ValueList<int>.Empty;

    /// <summary>alpha1 of the expert-level loss (DeepSeekMoE, arXiv 2401.06066, equations 12 to 14).</summary>
    public float ExpertAlpha { get; init; }

    /// <summary>alpha2 of the device-level loss (equations 15 to 17).</summary>
    public float DeviceAlpha { get; init; }

    /// <summary>D: groups that routed experts are cut into for the device-level and communication losses, of equal size unless <see cref="ExpertDevices"/> says otherwise.</summary>
    public int NumDeviceGroups { get; init; } = 1;

    /// <summary>Group of each routed expert, from 0; empty for equal runs of neighbours.</summary>
    public IReadOnlyList<int> ExpertDevices
    {
        get => _expertDevices;
        init => _expertDevices = new ValueList<int>(value);
    }

    /// <summary>alpha3 of the communication loss (DeepSeek-V2, arXiv 2405.04434); always per sequence.</summary>
    public float CommunicationAlpha { get; init; }

    /// <summary>M of the communication loss: device groups that a token is meant to use.</summary>
    public int MaxDevicesPerToken { get; init; } = 1;

    /// <summary>Factor of the loss over first choices (Switch, arXiv 2101.03961, equation 4; GShard).</summary>
    public float FirstChoiceAlpha { get; init; }

    /// <summary>Factor of the loss over the choices without selection bias, per sequence (DeepSeek-V3, arXiv 2412.19437, equations 17 to 20).</summary>
    public float SequenceAlpha { get; init; }

    /// <summary>The same over the whole batch.</summary>
    public float BatchAlpha { get; init; }

    /// <summary>Factor of the squared coefficient of variation of importance (Shazeer et al., arXiv 1701.06538, equations 6 and 7).</summary>
    public float ImportanceAlpha { get; init; }

    /// <summary>Factor of the squared coefficient of variation of the smooth load (equations 8 to 11); for the router noisy_top_k.</summary>
    public float LoadAlpha { get; init; }

    /// <summary>Size of the moves of selection biases after a step (arXiv 2408.15664); for models that have them.</summary>
    public float BiasUpdateSpeed { get; init; }

    /// <summary>Factor of the router z-loss (ST-MoE, arXiv 2202.08906, equation 5).</summary>
    public float ZLossAlpha { get; init; }

    /// <summary>Which tokens the expert-level, device-level and first-choice losses are averaged over.</summary>
    public BalanceScope Scope { get; init; } = BalanceScope.Sequence;

    /// <summary>Tokens per group of <see cref="BalanceScope.Group"/>.</summary>
    public int GroupTokens { get; init; }

    /// <summary>Whether any loss is on that needs a learned router.</summary>
    public bool NeedsScores =>
        ExpertAlpha != 0 || DeviceAlpha != 0 || CommunicationAlpha != 0 || FirstChoiceAlpha != 0 || SequenceAlpha != 0 || BatchAlpha != 0 || ImportanceAlpha != 0 || LoadAlpha != 0 || ZLossAlpha != 0;
}
