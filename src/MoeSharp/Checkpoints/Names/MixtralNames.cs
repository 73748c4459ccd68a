using MoeSharp.Model;

namespace MoeSharp.Checkpoints.Names;

/// <summary>Mixtral and its relatives (<c>mixtral</c>, <c>minimax</c>, <c>arctic</c>): experts under block_sparse_moe, matrices with numbers.</summary>
internal static class MixtralNames
{
    public static IEnumerable<WeightSlice> Slices(ModelConfig config, TensorPresence isPresent) => NameParts.Decoder(
        config,
        layer => Attention(config, layer),
        layer => FeedForward(config, layer, isPresent));

    private static IEnumerable<WeightSlice> Attention(ModelConfig config, int layer) => config.AttentionOf(layer) == AttentionKind.Linear
        ? LinearAttention(config, NameParts.Ours(layer, "attention."), NameParts.Theirs(layer, "self_attn."))
        : NameParts.Attention(config, NameParts.Ours(layer, "attention."), NameParts.Theirs(layer, "self_attn."));

    // MiniMax-Text-01's lightning attention.
    private static IEnumerable<WeightSlice> LinearAttention(ModelConfig config, string ours, string theirs)
    {
        long width = (long)config.NumAttentionHeads * config.HeadDim;
        yield return WeightSlice.Whole(theirs + "qkv_proj.weight", ours + "qkv_projection", 0, 3 * width, config.HiddenSize);
        yield return WeightSlice.Whole(theirs + "output_gate.weight", ours + "output_gate_projection", 0, width, config.HiddenSize);
        yield return WeightSlice.Whole(theirs + "norm.weight", ours + "output_norm", 0, width);
        yield return WeightSlice.Whole(theirs + "out_proj.weight", ours + "output_projection", 0, config.HiddenSize, width);
    }

    private static IEnumerable<WeightSlice> FeedForward(ModelConfig config, int layer, TensorPresence isPresent)
    {
        if (!config.IsMoeLayer(layer) || config.Moe is not { } moe)
        {
            return NameParts.FeedForward(NameParts.Ours(layer, "feed_forward."), NameParts.Theirs(layer, "block_sparse_moe.mlp."), FeedForwardNames.Numbered, config.HiddenSize, config.IntermediateSize);
        }

        IEnumerable<WeightSlice> experts = NameParts.Either(
            isPresent,
            Experts(config, moe, isPresent, NameParts.Ours(layer, "moe."), NameParts.Theirs(layer, "block_sparse_moe.")),
            Experts(config, moe, isPresent, NameParts.Ours(layer, "moe."), NameParts.Theirs(layer, "mlp."))); // the second since transformers 5
        return config.BlockLayout == BlockLayout.ParallelExperts ? NameParts.Residual(config, layer, FeedForwardNames.Numbered).Concat(experts) : experts;
    }

    private static IEnumerable<WeightSlice> Experts(ModelConfig config, MoeConfig moe, TensorPresence isPresent, string ours, string theirs) => NameParts
        .Experts(isPresent, ours + "experts.", theirs + "experts.", FeedForwardNames.Numbered, config.HiddenSize, moe)
        .Prepend(WeightSlice.Whole(theirs + "gate.weight", ours + "router", 0, moe.NumExperts, config.HiddenSize));
}
