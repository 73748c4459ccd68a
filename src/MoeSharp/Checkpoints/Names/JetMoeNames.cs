using MoeSharp.Model;

namespace MoeSharp.Checkpoints.Names;

/// <summary>JetMoE (<c>jetmoe</c>): the experts of attention and of the feed-forward are stacked matrices, with one bias after their sum.</summary>
internal static class JetMoeNames
{
    public static IEnumerable<WeightSlice> Slices(ModelConfig config, TensorPresence isPresent) => NameParts.Decoder(
        config,
        layer => config.AttentionExperts is { } experts ? Attention(config, experts, NameParts.Ours(layer, "attention."), NameParts.Theirs(layer, "self_attention.")) : [],
        layer => config.Moe is { } moe ? Experts(config, moe, NameParts.Ours(layer, "moe."), NameParts.Theirs(layer, "mlp.")) : []);

    private static IEnumerable<WeightSlice> Attention(ModelConfig config, AttentionExpertsConfig experts, string ours, string theirs)
    {
        long width = (long)config.NumAttentionHeads * config.HeadDim;
        yield return WeightSlice.Whole(theirs + "experts.router.layer.weight", ours + "router", 0, experts.NumExperts, config.HiddenSize);
        yield return WeightSlice.Whole(theirs + "experts.input_linear.weight", ours + "query_projection", 0, experts.NumExperts, width, config.HiddenSize);
        yield return WeightSlice.Whole(theirs + "kv_proj.weight", ours + "key_value_projection", 0, 2L * config.NumKeyValueHeads * config.HeadDim, config.HiddenSize);
        yield return WeightSlice.Whole(theirs + "experts.output_linear.weight", ours + "output_projection", 0, experts.NumExperts, config.HiddenSize, width);
        yield return WeightSlice.Whole(theirs + "experts.bias", ours + "output_bias", 0, config.HiddenSize);
    }

    private static IEnumerable<WeightSlice> Experts(ModelConfig config, MoeConfig moe, string ours, string theirs)
    {
        yield return WeightSlice.Whole(theirs + "router.layer.weight", ours + "router", 0, moe.NumExperts, config.HiddenSize);
        yield return WeightSlice.Whole(theirs + "input_linear.weight", ours + "experts.gate_up_projection", 0, moe.NumExperts, 2L * moe.IntermediateSize, config.HiddenSize);
        yield return WeightSlice.Whole(theirs + "output_linear.weight", ours + "experts.down_projection", 0, moe.NumExperts, config.HiddenSize, moe.IntermediateSize);
        yield return WeightSlice.Whole(theirs + "bias", ours + "output_bias", 0, config.HiddenSize);
    }
}
