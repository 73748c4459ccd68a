using MoeSharp.Model;

namespace MoeSharp.Checkpoints.Names;

/// <summary>DBRX (<c>dbrx</c>): one joint projection, and the matrices of all experts one below the other, the last of them not transposed.</summary>
internal static class DbrxNames
{
    public static IEnumerable<WeightSlice> Slices(ModelConfig config, TensorPresence isPresent)
    {
        yield return WeightSlice.Whole("transformer.wte.weight", "embedding", 0, config.VocabSize, config.HiddenSize);
        for (int layer = 0; layer < config.NumHiddenLayers; layer++)
        {
            foreach (WeightSlice slice in Layer(config, config.Moe!, NameParts.Ours(layer, ""), $"transformer.blocks.{layer}.")) // the family always has experts
            {
                yield return slice;
            }
        }

        yield return WeightSlice.Whole("transformer.norm_f.weight", "final_norm", 0, config.HiddenSize);
        if (!config.TieWordEmbeddings)
        {
            yield return WeightSlice.Whole("lm_head.weight", "head", 0, config.VocabSize, config.HiddenSize);
        }
    }

    private static IEnumerable<WeightSlice> Layer(ModelConfig config, MoeConfig moe, string ours, string theirs)
    {
        long hidden = config.HiddenSize;
        long queryRows = (long)config.NumAttentionHeads * config.HeadDim;
        long keyRows = (long)config.NumKeyValueHeads * config.HeadDim;
        string attention = theirs + "norm_attn_norm.";
        yield return WeightSlice.Whole(attention + "norm_1.weight", ours + "attention_norm", 0, hidden);
        yield return WeightSlice.Whole(attention + "attn.Wqkv.weight", ours + "attention.qkv_projection", 0, queryRows + (2 * keyRows), hidden);
        yield return WeightSlice.Whole(attention + "attn.out_proj.weight", ours + "attention.output_projection", 0, hidden, queryRows);
        yield return WeightSlice.Whole(attention + "norm_2.weight", ours + "feed_forward_norm", 0, hidden);
        yield return WeightSlice.Whole(theirs + "ffn.router.layer.weight", ours + "moe.router", 0, moe.NumExperts, hidden);
        foreach (WeightSlice slice in Experts(config, moe, ours + "moe.experts.", theirs + "ffn.experts.mlp."))
        {
            yield return slice;
        }
    }

    private static IEnumerable<WeightSlice> Experts(ModelConfig config, MoeConfig moe, string ours, string theirs)
    {
        (long width, int hidden) = (moe.IntermediateSize, config.HiddenSize);
        long[] shape = [moe.NumExperts * width, hidden];
        for (long expert = 0; expert < moe.NumExperts; expert++)
        {
            long matrix = expert * width * hidden;
            yield return new WeightSlice(theirs + "w1", shape, ours + "gate_up_projection", 2 * expert * width, width, hidden) { SourceOffset = matrix };
            yield return new WeightSlice(theirs + "v1", shape, ours + "gate_up_projection", ((2 * expert) + 1) * width, width, hidden) { SourceOffset = matrix };
        }

        for (long expert = 0; expert < moe.NumExperts; expert++)
        {
            yield return new WeightSlice(theirs + "w2", shape, ours + "down_projection", expert * hidden, hidden, moe.IntermediateSize)
            {
                SourceOffset = expert * width * hidden,
                SourceRowStep = 1,
                SourceColumnStep = hidden,
            };
        }
    }
}
