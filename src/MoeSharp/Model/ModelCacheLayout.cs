using MoeSharp.Execution;
using MoeSharp.Kernels;

namespace MoeSharp.Model;

/// <summary>What the layers of an architecture keep of a sequence.</summary>
public static class ModelCacheLayout
{
    /// <summary>The layout of a model's pages, in the format that it is set to.</summary>
    public static CacheLayout Of(LanguageModel model) => Of(model.Config, model.CacheFormat);

    /// <summary>The layout of an architecture's pages.</summary>
    /// <param name="config">The architecture.</param>
    /// <param name="format">How keys and values are stored.</param>
    public static CacheLayout Of(ModelConfig config, CacheFormat format = CacheFormat.Float32)
    {
        LayerCache[] layers = new LayerCache[config.NumHiddenLayers];
        for (int layer = 0; layer < layers.Length; layer++)
        {
            layers[layer] = Of(config, layer);
        }

        return new CacheLayout(layers, format);
    }

    private static LayerCache Of(ModelConfig config, int layer)
    {
        if (config.AttentionOf(layer) == AttentionKind.Linear)
        {
            // Lightning attention sums key value^T per head.
            return LayerCache.State(checked(config.NumAttentionHeads * config.HeadDim * config.HeadDim));
        }

        return config.LatentAttention is { } latent
            ? LayerCache.Latent(latent.LatentRank + latent.RopeHeadDim, latent.LatentRank)
            : LayerCache.Heads(config.NumKeyValueHeads, config.HeadDim, config.HeadDim);
    }
}
