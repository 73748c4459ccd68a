using System.Text.Json;
using MoeSharp.Moe.Routing;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Model.Routers;

/// <summary>One expert per token, its weight the softmax score; while training the router sees a jittered input (Switch, arXiv 2101.03961).</summary>
public sealed record SwitchRouterConfig : RouterConfig
{
    internal const string Kind = "switch";

    /// <inheritdoc/>
    public override string Name => Kind;

    /// <summary>Half the range of the factors on the router's input while training (router_jitter_noise); 0 for none. 1e-2 in the paper.</summary>
    public float JitterNoise { get; init; } = 0.01f;

    internal static RouterConfig ReadSettings(ConfigReader section) => new SwitchRouterConfig { JitterNoise = (float)section.Number("router_jitter_noise", 0.01) };

    internal override void Write(Utf8JsonWriter writer) => writer.WriteNumber("router_jitter_noise", JitterNoise);

    internal override IReadOnlyList<RouterWeight> Weights(ModelConfig config, MoeConfig moe) => [new("router", "gate.weight", new Shape(moe.NumExperts, config.HiddenSize))];

    internal override void AddProblems(ModelConfig config, MoeConfig moe, List<string> problems)
    {
        if (moe.TopK != 1)
        {
            problems.Add($"router 'switch' chooses one expert per token, num_experts_per_tok is {moe.TopK}; set it to 1, or use router 'gshard' or 'top_k'");
        }

        if (moe.NormTopKProb)
        {
            problems.Add("norm_topk_prob divides a single weight by itself: it would always be 1 and the router would get no gradient; set it to false");
        }

        if (!(JitterNoise is >= 0 and < 1))
        {
            problems.Add($"router_jitter_noise {JitterNoise} is outside 0..1; the paper has 0.01");
        }
    }

    internal override MoeConfig? AsTopK(MoeConfig moe) => moe with { Router = new TopKRouterConfig() };

    internal override IRouter Build(MoePlace place, MoeConfig moe)
    {
        LinearRouterProjection projection = new($"{place.Name}.router", place.HiddenSize, moe.NumExperts, false, place.Parameters);
        return Over(projection, new SeededNoise($"{place.Name}.router"), moe.ScalingOf(place.Layer));
    }

    /// <summary>The router over a projection.</summary>
    /// <param name="projection">Gives the logits.</param>
    /// <param name="noise">Gives the factors.</param>
    /// <param name="scale">Factor on the weights.</param>
    internal IRouter Over(IRouterProjection projection, IRouterNoise noise, float scale) => new TopKRouter(
        JitterNoise > 0 ? new JitteredProjection(projection, JitterNoise, noise) : projection,
        new ExpertSelection(new ExpertChoice(1), new WeightRule(0f, scale), null));
}
