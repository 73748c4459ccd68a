using MoeSharp.Model;

namespace MoeSharp.Checkpoints.Names;

/// <summary>DeepSeekMoE (<c>deepseek</c>).</summary>
internal static class DeepSeekNames
{
    public static IEnumerable<WeightSlice> Slices(ModelConfig config, TensorPresence isPresent) => NameParts.Decoder(
        config,
        layer => NameParts.Attention(config, NameParts.Ours(layer, "attention."), NameParts.Theirs(layer, "self_attn.")),
        layer => config.IsMoeLayer(layer) && config.Moe is { } moe
            ? Experts(config, moe, isPresent, NameParts.Ours(layer, "moe."), NameParts.Theirs(layer, "mlp."))
            : NameParts.FeedForward(NameParts.Ours(layer, "feed_forward."), NameParts.Theirs(layer, "mlp."), FeedForwardNames.Usual, config.HiddenSize, config.IntermediateSize));

    private static IEnumerable<WeightSlice> Experts(ModelConfig config, MoeConfig moe, TensorPresence isPresent, string ours, string theirs)
    {
        IEnumerable<WeightSlice> slices = NameParts.Experts(isPresent, ours + "experts.", theirs + "experts.", FeedForwardNames.Usual, config.HiddenSize, moe);
        if (moe.Router == RouterKind.TopK)
        {
            slices = slices.Prepend(WeightSlice.Whole(theirs + "gate.weight", ours + "router", 0, moe.NumExperts, config.HiddenSize));
        }

        long sharedWidth = (long)moe.NumSharedExperts * moe.IntermediateSize; // all shared experts are one feed-forward
        return sharedWidth == 0
            ? slices
            : slices.Concat(NameParts.FeedForward(ours + "shared_experts.", theirs + "shared_experts.", FeedForwardNames.Usual, config.HiddenSize, sharedWidth));
    }
}
