using MoeSharp.Model;

namespace MoeSharp.Checkpoints.Names;

/// <summary>Dense decoders (<c>llama</c>, <c>qwen2</c>).</summary>
internal static class LlamaNames
{
    public static IEnumerable<WeightSlice> Slices(ModelConfig config, TensorPresence isPresent) => NameParts.Decoder(
        config,
        layer => NameParts.Attention(config, NameParts.Ours(layer, "attention."), NameParts.Theirs(layer, "self_attn.")),
        layer => NameParts.FeedForward(NameParts.Ours(layer, "feed_forward."), NameParts.Theirs(layer, "mlp."), FeedForwardNames.Usual, config.HiddenSize, config.IntermediateSize));
}
