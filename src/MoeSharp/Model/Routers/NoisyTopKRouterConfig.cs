using System.Text.Json;
using MoeSharp.Moe.Routing;
using MoeSharp.Tensors;

namespace MoeSharp.Model.Routers;

/// <summary>The k largest of logits with learned noise, weighed by a softmax over these (Shazeer et al., arXiv 1701.06538).</summary>
public sealed record NoisyTopKRouterConfig : RouterConfig
{
    internal const string Kind = "noisy_top_k";
    private const double UsualEpsilon = 0.01; // of the authors' code

    private const string CleanName = "noisy_router";
    private const string NoiseName = "noisy_router_noise";

    /// <inheritdoc/>
    public override string Name => Kind;

    /// <inheritdoc/>
    public override bool HasChoiceChances => true;

    /// <summary>Least standard deviation of the noise (noise_epsilon).</summary>
    public float NoiseEpsilon { get; init; } = (float)UsualEpsilon;

    internal static RouterConfig ReadSettings(ConfigReader section) => new NoisyTopKRouterConfig { NoiseEpsilon = (float)section.Number("noise_epsilon", UsualEpsilon) };

    internal override void Write(Utf8JsonWriter writer) => writer.WriteNumber("noise_epsilon", NoiseEpsilon);

    internal override IReadOnlyList<RouterWeight> Weights(ModelConfig config, MoeConfig moe) =>
    [
        new(CleanName, "gate.weight", new Shape(moe.NumExperts, config.HiddenSize)),
        new(NoiseName, "gate.noise.weight", new Shape(moe.NumExperts, config.HiddenSize)),
    ];

    internal override void AddProblems(ModelConfig config, MoeConfig moe, List<string> problems)
    {
        if (moe.TopK < 2)
        {
            problems.Add($"router 'noisy_top_k' divides the chosen weights by their sum: with num_experts_per_tok {moe.TopK} the weight would always be 1 and the router would get no gradient; use at least 2, or router 'switch'");
        }

        if (!(NoiseEpsilon > 0) || !float.IsFinite(NoiseEpsilon))
        {
            problems.Add($"noise_epsilon {NoiseEpsilon} must be a positive number; the authors' code has 0.01");
        }
    }

    internal override FirstValues FirstValuesOf(string weight, ModelConfig config) => weight is CleanName or NoiseName ? FirstValues.Constant(0f) : FirstValues.Drawn;

    internal override IRouter Build(MoePlace place, MoeConfig moe)
    {
        LinearRouterProjection clean = new($"{place.Name}.{CleanName}", place.HiddenSize, moe.NumExperts, false, place.Parameters);
        LinearRouterProjection noise = new($"{place.Name}.{NoiseName}", place.HiddenSize, moe.NumExperts, false, place.Parameters);
        return new NoisyTopKRouter(clean, noise, new SeededNoise($"{place.Name}.{CleanName}"), NoiseEpsilon, moe.TopK, moe.ScalingOf(place.Layer));
    }
}
