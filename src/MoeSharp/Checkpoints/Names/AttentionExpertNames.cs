using MoeSharp.Model;

namespace MoeSharp.Checkpoints.Names;

/// <summary>Attention experts of MoeSharp's own models: every expert has tensors of its own, as the experts of feed-forwards have.</summary>
internal static class AttentionExpertNames
{
    /// <summary>Slices of one layer.</summary>
    /// <param name="config">Architecture.</param>
    /// <param name="experts">Its attention experts.</param>
    /// <param name="ours">Path of the attention layer in the model, with its dot.</param>
    /// <param name="theirs">Path in the file, with its dot.</param>
    public static IEnumerable<WeightSlice> Attention(ModelConfig config, AttentionExpertsConfig experts, string ours, string theirs)
    {
        IEnumerable<WeightSlice> slices = experts.Kind == AttentionExpertsKind.Mixture ? Mixture(config, experts, ours, theirs) : SwitchHead(config, experts, ours, theirs);
        return config.AttentionOutputBias ? slices.Append(WeightSlice.Whole(theirs + "o_proj.bias", ours + "output_bias", 0, config.HiddenSize)) : slices;
    }

    private static IEnumerable<WeightSlice> Mixture(ModelConfig config, AttentionExpertsConfig experts, string ours, string theirs)
    {
        long hidden = config.HiddenSize;
        long width = (long)config.NumAttentionHeads * config.HeadDim;
        long keyWidth = (long)config.NumKeyValueHeads * config.HeadDim;
        yield return WeightSlice.Whole(theirs + "router.weight", ours + "router", 0, experts.NumExperts, hidden);
        yield return WeightSlice.Whole(theirs + "k_proj.weight", ours + "key_value_projection", 0, keyWidth, hidden);
        yield return WeightSlice.Whole(theirs + "v_proj.weight", ours + "key_value_projection", keyWidth, keyWidth, hidden);
        for (int expert = 0; expert < experts.NumExperts; expert++)
        {
            yield return WeightSlice.Whole($"{theirs}experts.{expert}.q_proj.weight", ours + "query_projection", expert * width, width, hidden);
            yield return WeightSlice.Whole($"{theirs}experts.{expert}.o_proj.weight", ours + "output_projection", expert * hidden, hidden, width);
        }
    }

    private static IEnumerable<WeightSlice> SwitchHead(ModelConfig config, AttentionExpertsConfig experts, string ours, string theirs)
    {
        (long hidden, long dim, int number) = (config.HiddenSize, config.HeadDim, experts.NumExperts);
        long width = config.NumAttentionHeads * dim;
        yield return WeightSlice.Whole(theirs + "q_proj.weight", ours + "query_key_projection", 0, width, hidden);
        yield return WeightSlice.Whole(theirs + "k_proj.weight", ours + "query_key_projection", width, config.NumKeyValueHeads * dim, hidden);
        yield return WeightSlice.Whole(theirs + "v_router.weight", ours + "value_router", 0, (long)config.NumKeyValueHeads * number, hidden);
        yield return WeightSlice.Whole(theirs + "o_router.weight", ours + "output_router", 0, (long)config.NumAttentionHeads * number, hidden);
        for (int matrix = 0; matrix < config.NumKeyValueHeads * number; matrix++)
        {
            yield return WeightSlice.Whole($"{theirs}v_heads.{matrix / number}.experts.{matrix % number}.weight", ours + "value_projection", matrix * dim, dim, hidden);
        }

        for (int matrix = 0; matrix < config.NumAttentionHeads * number; matrix++)
        {
            yield return WeightSlice.Whole($"{theirs}o_heads.{matrix / number}.experts.{matrix % number}.weight", ours + "output_projection", matrix * hidden, hidden, dim);
        }
    }
}
