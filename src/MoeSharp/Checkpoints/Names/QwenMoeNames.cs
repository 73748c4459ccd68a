using MoeSharp.Model;

namespace MoeSharp.Checkpoints.Names;

/// <summary>Qwen's mixtures and OLMoE (<c>qwen2_moe</c>, <c>qwen3_moe</c>, <c>olmoe</c>).</summary>
internal static class QwenMoeNames
{
    public static IEnumerable<WeightSlice> Slices(ModelConfig config, TensorPresence isPresent) => NameParts.Decoder(
        config,
        layer => NameParts.Attention(config, NameParts.Ours(layer, "attention."), NameParts.Theirs(layer, "self_attn.")),
        layer => config.IsMoeLayer(layer) && config.Moe is { } moe
            ? Experts(config, moe, isPresent, NameParts.Ours(layer, "moe."), NameParts.Theirs(layer, "mlp."))
            : NameParts.FeedForward(NameParts.Ours(layer, "feed_forward."), NameParts.Theirs(layer, "mlp."), FeedForwardNames.Usual, config.HiddenSize, config.IntermediateSize));

    private static IEnumerable<WeightSlice> Experts(ModelConfig config, MoeConfig moe, TensorPresence isPresent, string ours, string theirs)
    {
        yield return WeightSlice.Whole(theirs + "gate.weight", ours + "router", 0, moe.NumExperts, config.HiddenSize);
        foreach (WeightSlice slice in NameParts.Experts(isPresent, ours + "experts.", theirs + "experts.", FeedForwardNames.Usual, config.HiddenSize, moe))
        {
            yield return slice;
        }

        if (moe.SharedWidth > 0)
        {
            foreach (WeightSlice slice in NameParts.FeedForward(ours + "shared_experts.", theirs + "shared_expert.", FeedForwardNames.Usual, config.HiddenSize, moe.SharedWidth))
            {
                yield return slice;
            }
        }

        if (moe.HasSharedExpertGate)
        {
            yield return WeightSlice.Whole(theirs + "shared_expert_gate.weight", ours + "shared_expert_gate", 0, 1, config.HiddenSize);
        }
    }
}
