using MoeSharp.Model;

namespace MoeSharp.Checkpoints.Names;

/// <summary>Grok-1 as its ports to this format name it (<c>grok-1</c>); norms are called scale in some of them.</summary>
internal static class GrokNames
{
    private static readonly FeedForwardNames s_expert = new("linear.weight", "linear_v.weight", "linear_1.weight");

    public static IEnumerable<WeightSlice> Slices(ModelConfig config, TensorPresence isPresent)
    {
        yield return WeightSlice.Whole("model.embed_tokens.weight", "embedding", 0, config.VocabSize, config.HiddenSize);
        for (int layer = 0; layer < config.NumHiddenLayers; layer++)
        {
            foreach (WeightSlice slice in Layer(config, config.Moe!, isPresent, NameParts.Ours(layer, ""), NameParts.Theirs(layer, ""))) // the family always has experts
            {
                yield return slice;
            }
        }

        yield return Norm(config, isPresent, "model.norm", "final_norm");
        if (!config.TieWordEmbeddings)
        {
            yield return WeightSlice.Whole("lm_head.weight", "head", 0, config.VocabSize, config.HiddenSize);
        }
    }

    private static IEnumerable<WeightSlice> Layer(ModelConfig config, MoeConfig moe, TensorPresence isPresent, string ours, string theirs)
    {
        yield return Norm(config, isPresent, theirs + "pre_attn_norm", ours + "attention_norm");
        foreach (WeightSlice slice in NameParts.Attention(config, ours + "attention.", theirs + "attn."))
        {
            yield return slice;
        }

        yield return Norm(config, isPresent, theirs + "post_attn_norm", ours + "attention_output_norm");
        yield return Norm(config, isPresent, theirs + "pre_moe_norm", ours + "feed_forward_norm");
        yield return WeightSlice.Whole(theirs + "moe_block.gate.weight", ours + "moe.router", 0, moe.NumExperts, config.HiddenSize);
        foreach (WeightSlice slice in NameParts.SeparateExperts(ours + "moe.experts.", expert => $"{theirs}moe_block.experts.{expert}.", s_expert, config.HiddenSize, moe))
        {
            yield return slice;
        }

        yield return Norm(config, isPresent, theirs + "post_moe_norm", ours + "feed_forward_output_norm");
    }

    private static WeightSlice Norm(ModelConfig config, TensorPresence isPresent, string theirs, string ours) =>
        WeightSlice.Whole(theirs + (isPresent(theirs + ".scale") ? ".scale" : ".weight"), ours, 0, config.HiddenSize);
}
