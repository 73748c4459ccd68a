using MoeSharp.Moe.Routing;

namespace MoeSharp.Model.Routers;

/// <summary>A fixed random table from token id to expert (Hash Layers, arXiv 2106.04426); not trained.</summary>
public sealed record HashRouterConfig : RouterConfig
{
    internal const string Kind = "hash";

    /// <inheritdoc/>
    public override string Name => Kind;

    /// <inheritdoc/>
    public override bool HasScores => false;

    internal override IReadOnlyList<RouterWeight> Weights(int hiddenSize, MoeConfig moe) => [];

    internal override IRouter Build(MoePlace place, MoeConfig moe) => new HashRouter(place.Layer, moe.NumExperts, moe.TopK);
}
