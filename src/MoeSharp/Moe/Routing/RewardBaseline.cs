using MoeSharp.Tensors;

namespace MoeSharp.Moe.Routing;

/// <summary>What reward a router is used to: only what is better than that speaks for a choice.</summary>
public interface IRewardBaseline
{
    /// <summary>Writes the reward that each row was to be expected to bring.</summary>
    /// <param name="expected">= rewards, nats, [tokens].</param>
    void Fill(Span<float> expected);
}

/// <summary>The same baseline always.</summary>
/// <param name="value">Reward, nats.</param>
public sealed class FixedBaseline(float value) : IRewardBaseline
{
    /// <inheritdoc/>
    public void Fill(Span<float> expected) => expected.Fill(value);
}

/// <summary>The running mean of rewards: a number of the model that is saved with it and has no gradient.</summary>
/// <remarks>b after an optimiser step = decay b + (1 - decay) mean reward of the step's targets; the step itself goes by b before.</remarks>
public sealed class RunningBaseline(Parameter value) : IRewardBaseline
{
    /// <summary>Name of the number below the path of a mixture.</summary>
    public const string WeightName = "router_reward_baseline";

    /// <inheritdoc/>
    public void Fill(Span<float> expected) => expected.Fill(value.Value[0]);

    /// <summary>Whether a parameter is such a baseline.</summary>
    public static bool Is(Parameter parameter) => parameter.Name.EndsWith("." + WeightName, StringComparison.Ordinal);

    /// <summary>Moves a baseline after an optimiser step.</summary>
    /// <param name="baseline">Modified, [1].</param>
    /// <param name="meanReward">Mean reward of the step.</param>
    /// <param name="decay">Share of the old value that stays.</param>
    public static void Move(Span<float> baseline, double meanReward, float decay) => baseline[0] = (float)((decay * (double)baseline[0]) + ((1 - (double)decay) * meanReward));
}
