using System.Text.Json;
using MoeSharp.Moe.Routing;
using MoeSharp.Tensors;

namespace MoeSharp.Model.Routers;

/// <summary>Experts choose tokens, each the same number (Expert Choice, arXiv 2202.09368).</summary>
/// <remarks>
/// An expert compares all tokens of a text, so what it takes of a token depends on later ones: losses of a causal model come out too good, and it cannot write.
/// Such a model is refused unless its configuration says that this is known (acknowledge_future_leak); decoding is refused always.
/// </remarks>
public sealed record ExpertChoiceRouterConfig : RouterConfig
{
    internal const string Kind = "expert_choice";

    /// <inheritdoc/>
    public override string Name => Kind;

    /// <inheritdoc/>
    public override bool HasScores => false; // loads are equal by definition

    /// <inheritdoc/>
    public override string? DecodingRefusal => "its experts choose among all tokens of a text, and those to come are not there yet";

    /// <inheritdoc/>
    public override string? LossCaveat => "its experts choose among all tokens of a text, those to be predicted included, so its losses are too good; compare them with none of another router";

    /// <summary>Experts per token on average (capacity_factor); null for num_experts_per_tok.</summary>
    public double? CapacityFactor { get; init; }

    /// <summary>Whether the tokens of an expert are rounded up (capacity_rounding: ceil).</summary>
    public bool RoundsUp { get; init; }

    /// <summary>Tokens that an expert takes at least (min_expert_capacity).</summary>
    public int MinExpertCapacity { get; init; } = 1;

    /// <summary>Whether experts choose within each sequence instead of within the batch (scope: sequence).</summary>
    public bool IsPerSequence { get; init; } = true;

    /// <summary>Whether the user knows that a causal model with this router sees the future (acknowledge_future_leak).</summary>
    public bool AcknowledgesFutureLeak { get; init; }

    internal override bool HasOwnCapacity => true;

    internal static RouterConfig ReadSettings(ConfigReader section) => new ExpertChoiceRouterConfig
    {
        CapacityFactor = section.Number("capacity_factor"),
        RoundsUp = section.OneOf("capacity_rounding", "floor", "floor", "ceil") == "ceil",
        MinExpertCapacity = section.Int("min_expert_capacity", 1),
        IsPerSequence = section.OneOf("scope", "sequence", "sequence", "batch") == "sequence",
        AcknowledgesFutureLeak = section.Switch("acknowledge_future_leak", false),
    };

    internal override void Write(Utf8JsonWriter writer)
    {
        if (CapacityFactor is { } factor)
        {
            writer.WriteNumber("capacity_factor", factor);
        }

        writer.WriteString("capacity_rounding", RoundsUp ? "ceil" : "floor");
        writer.WriteNumber("min_expert_capacity", MinExpertCapacity);
        writer.WriteString("scope", IsPerSequence ? "sequence" : "batch");
        writer.WriteBoolean("acknowledge_future_leak", AcknowledgesFutureLeak);
    }

    internal override IReadOnlyList<RouterWeight> Weights(ModelConfig config, MoeConfig moe) => [new("router", "gate.weight", new Shape(moe.NumExperts, config.HiddenSize))];

    internal override void AddProblems(ModelConfig config, MoeConfig moe, List<string> problems)
    {
        if (!AcknowledgesFutureLeak)
        {
            problems.Add("router 'expert_choice' lets every expert choose among all tokens of a text, so a token's experts depend on the tokens it is to predict: its losses are too good and it cannot write; use router 'top_k', or set acknowledge_future_leak to true to train it all the same");
        }

        if (CapacityFactor is { } factor && !(factor > 0 && factor <= moe.NumExperts))
        {
            problems.Add($"capacity_factor {factor} is outside 0..{moe.NumExperts} (n_routed_experts); it is the number of experts per token on average");
        }

        if (MinExpertCapacity < 0)
        {
            problems.Add($"min_expert_capacity {MinExpertCapacity} is negative; use 0 for none");
        }

        if (moe.NormTopKProb)
        {
            problems.Add("norm_topk_prob does not go with router 'expert_choice': a token may have one expert alone, whose weight would always be 1; set it to false");
        }
    }

    internal override IRouter Build(MoePlace place, MoeConfig moe)
    {
        LinearRouterProjection projection = new($"{place.Name}.router", place.HiddenSize, moe.NumExperts, false, place.Parameters);
        return Over(projection, moe, moe.ScalingOf(place.Layer));
    }

    /// <summary>What experts take.</summary>
    internal ExpertChoiceRule Rule(MoeConfig moe) => new(CapacityFactor ?? moe.TopK, RoundsUp, MinExpertCapacity, IsPerSequence);

    /// <summary>The router over a projection.</summary>
    internal IRouter Over(IRouterProjection projection, MoeConfig moe, float scale) => new ExpertChoiceRouter(projection, Rule(moe), scale);
}
