using System.Runtime.CompilerServices;

namespace MoeSharp.Execution;

/// <summary>The losses of routers that are reported beside the language-model loss, never in it.</summary>
public enum AuxiliaryLoss
{
    /// <summary>Expert-level balance (DeepSeekMoE); 1 when balanced. Always measured.</summary>
    ExpertLevel,

    /// <summary>Device-level balance (DeepSeekMoE); 1 when balanced.</summary>
    DeviceLevel,

    /// <summary>Communication balance (DeepSeek-V2); 1 when balanced.</summary>
    Communication,

    /// <summary>Balance of first choices (Switch, GShard); 1 when balanced.</summary>
    FirstChoice,

    /// <summary>Balance of unbiased choices per sequence (DeepSeek-V3); 1 when balanced.</summary>
    SequenceWise,

    /// <summary>The same over all tokens of the batch; 1 when balanced.</summary>
    BatchWise,

    /// <summary>Squared coefficient of variation of the routing weights' sums; 0 when balanced.</summary>
    Importance,

    /// <summary>Squared coefficient of variation of the smooth loads; 0 when balanced.</summary>
    Load,

    /// <summary>Mean squared log-sum-exp of router logits.</summary>
    ZLoss,

    /// <summary>StableMoE's balance of gates.</summary>
    GateBalance,

    /// <summary>Cross-entropy of a light router that learns another's choices (StableMoE).</summary>
    Distillation,

    /// <summary>Loss of a router that is rewarded for its choices (REINFORCE).</summary>
    Policy,
}

/// <summary>What the kinds are called in logs.</summary>
public static class AuxiliaryLossNames
{
    private static readonly string[] s_names =
    [
        "expert_loss", "device_loss", "communication_loss", "first_choice_loss", "sequence_loss", "batch_loss", "importance_loss", "load_loss", "z_loss",
        "gate_balance_loss", "distillation_loss", "policy_loss",
    ];

    /// <summary>Name of a kind, in snake case.</summary>
    public static string Of(AuxiliaryLoss kind) => s_names[(int)kind];
}

/// <summary>One value per <see cref="AuxiliaryLoss"/>.</summary>
[InlineArray(Count)]
public struct AuxiliaryLosses : IEquatable<AuxiliaryLosses>
{
    /// <summary>Number of kinds.</summary>
    public const int Count = (int)AuxiliaryLoss.Policy + 1;

    private double _first;

    /// <summary>Value of a kind.</summary>
    public double this[AuxiliaryLoss kind]
    {
        readonly get => this[(int)kind];
        set => this[(int)kind] = value;
    }

    /// <summary>Adds every value of another, times a factor.</summary>
    public void Add(in AuxiliaryLosses other, double factor)
    {
        for (int kind = 0; kind < Count; kind++)
        {
            this[kind] += factor * other[kind];
        }
    }

    /// <inheritdoc/>
    public readonly bool Equals(AuxiliaryLosses other)
    {
        for (int kind = 0; kind < Count; kind++)
        {
            if (!this[kind].Equals(other[kind]))
            {
                return false;
            }
        }

        return true;
    }

    /// <inheritdoc/>
    public override readonly bool Equals(object? other) => other is AuxiliaryLosses losses && Equals(losses);

    /// <inheritdoc/>
    public override readonly int GetHashCode()
    {
        HashCode hash = default;
        for (int kind = 0; kind < Count; kind++)
        {
            hash.Add(this[kind]);
        }

        return hash.ToHashCode();
    }

    /// <summary>Whether all values are the same.</summary>
    public static bool operator ==(AuxiliaryLosses first, AuxiliaryLosses second) => first.Equals(second);

    /// <summary>Whether a value differs.</summary>
    public static bool operator !=(AuxiliaryLosses first, AuxiliaryLosses second) => !first.Equals(second);
}
