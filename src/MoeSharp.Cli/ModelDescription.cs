using System.Globalization;
using MoeSharp.Model;
using MoeSharp.Model.Routers;

namespace MoeSharp.Cli;

/// <summary>One line each on the parts of an architecture.</summary>
internal static class ModelDescription
{
    public static string Structure(ModelConfig config) =>
        $"{config.NumHiddenLayers} layers, hidden {config.HiddenSize}, vocabulary {config.VocabSize}{(config.TieWordEmbeddings ? " (tied)" : "")}, model_type {config.ModelType}";

    public static string Attention(ModelConfig config)
    {
        List<string> parts = [Heads(config)];
        if (config.AttentionExperts is { } experts)
        {
            parts.Add(experts.Kind == AttentionExpertsKind.Mixture
                ? $"{experts.TopK} of {experts.NumExperts} experts, each with query heads and output of its own"
                : $"values and output of a head by {experts.TopK} of {experts.NumExperts} experts");
        }

        int sliding = config.LayerAttention.Count(kind => kind == AttentionKind.Sliding);
        int linear = config.LayerAttention.Count(kind => kind == AttentionKind.Linear);
        if (sliding > 0)
        {
            parts.Add($"{sliding} of {config.NumHiddenLayers} layers see {config.SlidingWindow} tokens");
        }

        if (linear > 0)
        {
            parts.Add($"{linear} of {config.NumHiddenLayers} layers are linear");
        }

        if (config.HasAttentionSinks)
        {
            parts.Add("sinks");
        }

        RopeConfig rope = config.Rope;
        string extension = rope.Scaling == RopeScaling.None ? "" : string.Create(CultureInfo.InvariantCulture, $" ({rope.Scaling.ToString().ToLowerInvariant()} of factor {rope.Factor:0.##})");
        parts.Add($"up to {config.MaxPositionEmbeddings} positions{extension}");
        return string.Join("; ", parts);
    }

    public static string FeedForward(ModelConfig config)
    {
        if (config.Moe is not { } moe)
        {
            return $"dense, {config.IntermediateSize} wide";
        }

        string shared = moe.NumSharedExperts > 0 ? $"{moe.NumSharedExperts} shared and " : moe.SharedWidth > 0 ? $"a shared one of {moe.SharedWidth} and " : "";
        string router = moe.Router is not TopKRouterConfig ? $" by router {moe.Router.Name}" : moe.NumGroups > 1 ? $" in {moe.TopKGroups} of {moe.NumGroups} groups" : "";
        int dense = config.NumHiddenLayers - config.NumMoeLayers;
        string denseLayers = dense > 0 ? $"; {dense} dense of {config.IntermediateSize}" : "";
        string parallel = config.BlockLayout == BlockLayout.ParallelExperts ? $", beside a dense one of {config.HiddenSize}" : "";
        return $"{config.NumMoeLayers} MoE layers: {shared}{moe.TopK} of {moe.NumExperts} experts{router}, {moe.IntermediateSize} wide{parallel}{denseLayers}";
    }

    private static string Heads(ModelConfig config) => config.LatentAttention is { } latent
        ? $"{config.NumAttentionHeads} heads of {latent.NopeHeadDim} + {latent.RopeHeadDim} rotated over a latent of {latent.LatentRank}"
        : $"{config.NumAttentionHeads} heads of {config.HeadDim}, {config.NumKeyValueHeads} for keys and values";
}
