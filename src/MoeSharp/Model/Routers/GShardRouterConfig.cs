using System.Text.Json;
using MoeSharp.Moe.Routing;
using MoeSharp.Tensors;

namespace MoeSharp.Model.Routers;

/// <summary>Two experts per token, weighed by their shares; the second may be left out at random (GShard, arXiv 2006.16668).</summary>
public sealed record GShardRouterConfig : RouterConfig
{
    internal const string Kind = "gshard";
    private const double UsualThreshold = 0.2; // of Mesh TensorFlow; algorithm 1 of the paper is 0.5

    // Name in config.json -> meaning.
    private static readonly (string Name, SecondExpertPolicy Policy)[] s_policies =
    [
        ("all", SecondExpertPolicy.All),
        ("none", SecondExpertPolicy.None),
        ("threshold", SecondExpertPolicy.Threshold),
        ("random", SecondExpertPolicy.Random),
        ("sampling", SecondExpertPolicy.Sampling),
    ];

    /// <inheritdoc/>
    public override string Name => Kind;

    /// <summary>When the second expert is used (second_expert_policy).</summary>
    public SecondExpertPolicy SecondExpertPolicy { get; init; } = SecondExpertPolicy.Random;

    /// <summary>Threshold of the policies threshold and random (second_expert_threshold).</summary>
    public float SecondExpertThreshold { get; init; } = (float)UsualThreshold;

    /// <summary>Whether weights are shares of the experts left after dropping (renormalize: after_drop) instead of the two chosen (before_drop).</summary>
    public bool RenormalizesAfterDrop { get; init; }

    /// <summary>Places per expert and group while training (expert_capacity); null for no limit.</summary>
    public int? ExpertCapacity { get; init; }

    /// <summary>Consecutive tokens that share places (group_size); null for all of the batch.</summary>
    public int? GroupSize { get; init; }

    private bool HasThreshold => SecondExpertPolicy is SecondExpertPolicy.Threshold or SecondExpertPolicy.Random;

    internal static RouterConfig ReadSettings(ConfigReader section)
    {
        string policy = section.OneOf("second_expert_policy", "random", [.. s_policies.Select(row => row.Name)]);
        GShardRouterConfig router = new() { SecondExpertPolicy = Array.Find(s_policies, row => row.Name == policy).Policy };
        return router with
        {
            SecondExpertThreshold = router.HasThreshold ? (float)section.Number("second_expert_threshold", UsualThreshold) : (float)UsualThreshold,
            RenormalizesAfterDrop = section.OneOf("renormalize", "before_drop", "before_drop", "after_drop") == "after_drop",
            ExpertCapacity = section.Int("expert_capacity"),
            GroupSize = section.Int("group_size"),
        };
    }

    internal override void Write(Utf8JsonWriter writer)
    {
        writer.WriteString("second_expert_policy", Array.Find(s_policies, row => row.Policy == SecondExpertPolicy).Name);
        if (HasThreshold)
        {
            writer.WriteNumber("second_expert_threshold", SecondExpertThreshold);
        }

        writer.WriteString("renormalize", RenormalizesAfterDrop ? "after_drop" : "before_drop");
        if (ExpertCapacity is { } capacity)
        {
            writer.WriteNumber("expert_capacity", capacity);
        }

        if (GroupSize is { } size)
        {
            writer.WriteNumber("group_size", size);
        }
    }

    internal override IReadOnlyList<RouterWeight> Weights(ModelConfig config, MoeConfig moe) => [new("router", "gate.weight", new Shape(moe.NumExperts, config.HiddenSize))];

    internal override void AddProblems(ModelConfig config, MoeConfig moe, List<string> problems)
    {
        if (moe.TopK != 2)
        {
            problems.Add($"router 'gshard' chooses two experts per token, num_experts_per_tok is {moe.TopK}; set it to 2, or use router 'switch' for one or 'top_k' for more");
        }

        if (HasThreshold && !(SecondExpertThreshold is > 0 and <= 1))
        {
            problems.Add($"second_expert_threshold {SecondExpertThreshold} is outside 0..1; Mesh TensorFlow has 0.2, algorithm 1 of GShard is 0.5");
        }

        if (ExpertCapacity < 1)
        {
            problems.Add($"expert_capacity {ExpertCapacity} must be at least 1; use null for no limit");
        }

        if (ExpertCapacity is not null && moe.Capacity is not null)
        {
            problems.Add("expert_capacity and capacity_factor both limit what an expert takes; use one of them");
        }

        if (GroupSize < 1 || (GroupSize is not null && ExpertCapacity is null))
        {
            problems.Add($"group_size {GroupSize} must be at least 1 and goes with an expert_capacity; use null for one group");
        }

        if (RenormalizesAfterDrop && SecondExpertPolicy == SecondExpertPolicy.None)
        {
            problems.Add("renormalize 'after_drop' with second_expert_policy 'none' gives the only expert the weight 1 always: the router would get no gradient; use 'before_drop'");
        }
    }

    // Without gradients these three policies use the two best experts always, and no expert is full.
    internal override MoeConfig? AsTopK(MoeConfig moe) =>
        SecondExpertPolicy is SecondExpertPolicy.All or SecondExpertPolicy.Random or SecondExpertPolicy.Sampling ? moe with { Router = new TopKRouterConfig(), NormTopKProb = true } : null;

    internal override IRouter Build(MoePlace place, MoeConfig moe)
    {
        LinearRouterProjection projection = new($"{place.Name}.router", place.HiddenSize, moe.NumExperts, false, place.Parameters);
        return Over(projection, new SeededNoise($"{place.Name}.router"), moe.ScalingOf(place.Layer));
    }

    /// <summary>The router over a projection.</summary>
    /// <param name="projection">Gives the logits.</param>
    /// <param name="noise">Gives the random numbers.</param>
    /// <param name="scale">Factor on the weights.</param>
    internal IRouter Over(IRouterProjection projection, IRouterNoise noise, float scale) => new GShardRouter(
        projection, new GShardRule(SecondExpertPolicy, SecondExpertThreshold, RenormalizesAfterDrop, ExpertCapacity ?? 0, GroupSize ?? 0, scale), noise);
}
