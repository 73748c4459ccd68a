using MoeSharp.Model;
using MoeSharp.Model.Routers;

namespace MoeSharp.Checkpoints.Names;

/// <summary>DeepSeekMoE, DeepSeek-V2 and V3 (<c>deepseek</c>, <c>deepseek_v2</c>, <c>deepseek_v3</c>).</summary>
internal static class DeepSeekNames
{
    public static IEnumerable<WeightSlice> Slices(ModelConfig config, TensorPresence isPresent) => NameParts.Decoder(
        config,
        layer => config.LatentAttention is { } latent
            ? LatentNames.Attention(config, latent, NameParts.Ours(layer, "attention."), NameParts.Theirs(layer, "self_attn."))
            : config.AttentionExperts is { } experts
            ? AttentionExpertNames.Attention(config, experts, NameParts.Ours(layer, "attention."), NameParts.Theirs(layer, "self_attn."))
            : NameParts.Attention(config, NameParts.Ours(layer, "attention."), NameParts.Theirs(layer, "self_attn.")),
        layer => config.IsMoeLayer(layer) && config.Moe is { } moe
            ? WithResidual(config, layer, Experts(config, moe, isPresent, NameParts.Ours(layer, "moe."), NameParts.Theirs(layer, "mlp.")))
            : NameParts.FeedForward(NameParts.Ours(layer, "feed_forward."), NameParts.Theirs(layer, "mlp."), FeedForwardNames.Usual, config.HiddenSize, config.IntermediateSize));

    /// <summary>Layers behind the last draft further tokens; the model's own logits do not see them.</summary>
    public static IEnumerable<string> DraftLayers(ModelConfig config) => [$"model.layers.{config.NumHiddenLayers}.*"];

    // Own models may have Arctic's layers.
    private static IEnumerable<WeightSlice> WithResidual(ModelConfig config, int layer, IEnumerable<WeightSlice> experts) =>
        config.BlockLayout == BlockLayout.ParallelExperts ? NameParts.Residual(config, layer, FeedForwardNames.Usual).Concat(experts) : experts;

    private static IEnumerable<WeightSlice> Experts(ModelConfig config, MoeConfig moe, TensorPresence isPresent, string ours, string theirs)
    {
        foreach (RouterWeight weight in moe.Router.Weights(config, moe))
        {
            yield return WeightSlice.Whole(theirs + weight.FileName, ours + weight.Name, 0, [.. weight.Shape.ToArray()]);
        }

        if (moe.HasSelectionBias)
        {
            yield return WeightSlice.Whole(theirs + "gate.e_score_correction_bias", ours + "selection_bias", 0, moe.NumExperts);
        }

        foreach (WeightSlice slice in NameParts.Experts(isPresent, ours + "experts.", theirs + "experts.", FeedForwardNames.Usual, config.HiddenSize, moe))
        {
            yield return slice;
        }

        if (moe.SharedWidth > 0)
        {
            // All shared experts are one feed-forward.
            foreach (WeightSlice slice in NameParts.FeedForward(ours + "shared_experts.", theirs + "shared_experts.", FeedForwardNames.Usual, config.HiddenSize, moe.SharedWidth))
            {
                yield return slice;
            }
        }
    }
}
