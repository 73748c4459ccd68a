using System.Text.Json;
using MoeSharp.Moe.Routing;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Model.Routers;

/// <summary>One expert per token, drawn at random and learned by reward (RL-R, arXiv 2202.01169).</summary>
public sealed record ReinforceRouterConfig : RouterConfig
{
    internal const string Kind = "reinforce";
    private const double UsualDecay = 0.9;
    private const double UsualEntropy = 0.01; // arbitrary: keeps all experts in play while rewards say little

    /// <inheritdoc/>
    public override string Name => Kind;

    /// <summary>Whether the baseline follows the mean reward (baseline: running_mean) instead of staying what it is (given).</summary>
    public bool HasRunningBaseline { get; init; } = true;

    /// <summary>The baseline, or where it begins (baseline_value); null for a running one that begins at the reward of guessing, minus the logarithm of the vocabulary's size.</summary>
    public float? BaselineValue { get; init; }

    /// <summary>Share of the old baseline that stays after a step (baseline_decay).</summary>
    public float BaselineDecay { get; init; } = (float)UsualDecay;

    /// <summary>Factor of the entropy bonus (entropy_coef).</summary>
    public float EntropyCoef { get; init; } = (float)UsualEntropy;

    /// <summary>Whether the loss is a mean over targets instead of a sum (reduction).</summary>
    public bool IsMean { get; init; } = true;

    internal static RouterConfig ReadSettings(ConfigReader section)
    {
        bool isRunning = section.OneOf("baseline", "running_mean", "running_mean", "given") == "running_mean";
        return new ReinforceRouterConfig
        {
            HasRunningBaseline = isRunning,
            BaselineValue = (float?)section.Number("baseline_value"),
            BaselineDecay = isRunning ? (float)section.Number("baseline_decay", UsualDecay) : (float)UsualDecay,
            EntropyCoef = (float)section.Number("entropy_coef", UsualEntropy),
            IsMean = section.OneOf("reduction", "mean", "mean", "sum") == "mean",
        };
    }

    internal override void Write(Utf8JsonWriter writer)
    {
        writer.WriteString("baseline", HasRunningBaseline ? "running_mean" : "given");
        if (BaselineValue is { } value)
        {
            writer.WriteNumber("baseline_value", value);
        }

        if (HasRunningBaseline)
        {
            writer.WriteNumber("baseline_decay", BaselineDecay);
        }

        writer.WriteNumber("entropy_coef", EntropyCoef);
        writer.WriteString("reduction", IsMean ? "mean" : "sum");
    }

    internal override IReadOnlyList<RouterWeight> Weights(ModelConfig config, MoeConfig moe)
    {
        RouterWeight router = new("router", "gate.weight", new Shape(moe.NumExperts, config.HiddenSize));
        return HasRunningBaseline ? [router, new(RunningBaseline.WeightName, "gate.reward_baseline", new Shape(1)) { IsProduct = false }] : [router];
    }

    internal override void AddProblems(ModelConfig config, MoeConfig moe, List<string> problems)
    {
        RequireOneExpert(moe, problems);
        if (!HasRunningBaseline && BaselineValue is null)
        {
            problems.Add("baseline 'given' needs baseline_value, the reward (minus the loss, nats) that choices are measured by; or use baseline 'running_mean'");
        }

        if (BaselineValue is { } value && !float.IsFinite(value))
        {
            problems.Add($"baseline_value {value} is not a number; it is a reward, minus a loss in nats");
        }

        if (!(BaselineDecay is >= 0 and < 1))
        {
            problems.Add($"baseline_decay {BaselineDecay} is outside 0..1; {UsualDecay} forgets a step's rewards in some ten steps");
        }

        if (!(EntropyCoef >= 0) || !float.IsFinite(EntropyCoef))
        {
            problems.Add($"entropy_coef {EntropyCoef} must be a number not below 0; use 0 for no entropy bonus");
        }
    }

    internal override FirstValues FirstValuesOf(string weight, ModelConfig config) =>
        weight == RunningBaseline.WeightName ? FirstValues.Constant(BaselineValue ?? -MathF.Log(config.VocabSize)) : FirstValues.Drawn;

    internal override IRouter Build(MoePlace place, MoeConfig moe)
    {
        string name = $"{place.Name}.router";
        LinearRouterProjection projection = new(name, place.HiddenSize, moe.NumExperts, false, place.Parameters);
        IRewardBaseline baseline;
        if (HasRunningBaseline)
        {
            Parameter value = new($"{place.Name}.{RunningBaseline.WeightName}", new Shape(1));
            place.Parameters.Add(value);
            baseline = new RunningBaseline(value);
        }
        else
        {
            baseline = new FixedBaseline(BaselineValue ?? 0f); // a configuration without it is refused
        }

        return Over(projection, new SeededNoise(name), baseline, moe.ScalingOf(place.Layer));
    }

    /// <summary>The router over a projection.</summary>
    /// <param name="projection">Gives the logits.</param>
    /// <param name="noise">Gives the draws.</param>
    /// <param name="baseline">What rewards are measured by.</param>
    /// <param name="scale">The weight.</param>
    internal IRouter Over(IRouterProjection projection, IRouterNoise noise, IRewardBaseline baseline, float scale) =>
        new ReinforceRouter(projection, noise, baseline, new PolicyRule(EntropyCoef, IsMean), scale);
}
