using MoeSharp.Model;

namespace MoeSharp.Checkpoints.Names;

/// <summary>Latent attention of DeepSeek-V2 and V3. The file's kv_b_proj holds, head by head, rows that make keys and rows that make values; the absorbed form wants the first transposed.</summary>
internal static class LatentNames
{
    /// <summary>Slices of one layer.</summary>
    /// <param name="config">Architecture.</param>
    /// <param name="latent">Its latent attention.</param>
    /// <param name="ours">Path of the attention layer in the model, with its dot.</param>
    /// <param name="theirs">Path in the file, with its dot.</param>
    public static IEnumerable<WeightSlice> Attention(ModelConfig config, LatentAttentionConfig latent, string ours, string theirs)
    {
        long heads = config.NumAttentionHeads;
        long queryRows = heads * config.HeadDim;
        if (latent.QueryRank > 0)
        {
            yield return WeightSlice.Whole(theirs + "q_a_proj.weight", ours + "query_latent_projection", 0, latent.QueryRank, config.HiddenSize);
            if (config.AttentionBias)
            {
                yield return WeightSlice.Whole(theirs + "q_a_proj.bias", ours + "query_latent_bias", 0, latent.QueryRank);
            }

            yield return WeightSlice.Whole(theirs + "q_a_layernorm.weight", ours + "query_latent_norm", 0, latent.QueryRank);
            yield return WeightSlice.Whole(theirs + "q_b_proj.weight", ours + "query_projection", 0, queryRows, latent.QueryRank);
        }
        else
        {
            yield return WeightSlice.Whole(theirs + "q_proj.weight", ours + "query_projection", 0, queryRows, config.HiddenSize);
        }

        long latentRows = (long)latent.LatentRank + latent.RopeHeadDim;
        yield return WeightSlice.Whole(theirs + "kv_a_proj_with_mqa.weight", ours + "latent_projection", 0, latentRows, config.HiddenSize);
        if (config.AttentionBias)
        {
            yield return WeightSlice.Whole(theirs + "kv_a_proj_with_mqa.bias", ours + "latent_bias", 0, latentRows);
        }

        yield return WeightSlice.Whole(theirs + "kv_a_layernorm.weight", ours + "latent_norm", 0, latent.LatentRank);
        foreach (WeightSlice slice in KeysAndValues(config, latent, ours, theirs + "kv_b_proj.weight"))
        {
            yield return slice;
        }

        yield return WeightSlice.Whole(theirs + "o_proj.weight", ours + "output_projection", 0, config.HiddenSize, heads * latent.ValueHeadDim);
        if (config.AttentionOutputBias)
        {
            yield return WeightSlice.Whole(theirs + "o_proj.bias", ours + "output_bias", 0, config.HiddenSize);
        }
    }

    private static IEnumerable<WeightSlice> KeysAndValues(ModelConfig config, LatentAttentionConfig latent, string ours, string name)
    {
        (long nope, long value, int rank) = (latent.NopeHeadDim, latent.ValueHeadDim, latent.LatentRank);
        long[] shape = [config.NumAttentionHeads * (nope + value), rank];
        for (long head = 0; head < config.NumAttentionHeads; head++)
        {
            // Row l of the head's key projection is column l of its first nope rows.
            yield return new WeightSlice(name, shape, ours + "key_projection", head * rank, rank, latent.NopeHeadDim)
            {
                SourceOffset = head * (nope + value) * rank,
                SourceRowStep = 1,
                SourceColumnStep = rank,
            };
        }

        for (long head = 0; head < config.NumAttentionHeads; head++)
        {
            yield return new WeightSlice(name, shape, ours + "value_projection", head * value, value, rank) { SourceOffset = ((head * (nope + value)) + nope) * rank };
        }
    }
}
