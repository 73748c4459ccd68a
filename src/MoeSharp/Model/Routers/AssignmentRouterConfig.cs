using MoeSharp.Moe.Routing;
using MoeSharp.Tensors;

namespace MoeSharp.Model.Routers;

/// <summary>One expert per token by an exact balanced assignment of every training pass, the best expert otherwise (BASE layers, arXiv 2103.16716).</summary>
public sealed record AssignmentRouterConfig : RouterConfig
{
    internal const string Kind = "base";
    private const float RowLength = 0.1f; // of a new router's rows, as in the authors' code

    /// <inheritdoc/>
    public override string Name => Kind;

    /// <inheritdoc/>
    public override bool HasSoftmax(MoeConfig moe) => false;

    internal static RouterConfig ReadSettings(ConfigReader section) => new AssignmentRouterConfig();

    internal override IReadOnlyList<RouterWeight> Weights(ModelConfig config, MoeConfig moe) => [new("router", "gate.weight", new Shape(moe.NumExperts, config.HiddenSize))];

    internal override void AddProblems(ModelConfig config, MoeConfig moe, List<string> problems) => RequireOneExpert(moe, problems);

    internal override FirstValues FirstValuesOf(string weight, ModelConfig config) => weight == "router" ? FirstValues.Orthogonal(RowLength) : FirstValues.Drawn;

    internal override IRouter Build(MoePlace place, MoeConfig moe)
    {
        LinearRouterProjection projection = new($"{place.Name}.router", place.HiddenSize, moe.NumExperts, false, place.Parameters);
        return new AssignmentRouter(projection, moe.ScalingOf(place.Layer));
    }
}
