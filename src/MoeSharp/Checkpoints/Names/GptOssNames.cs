using MoeSharp.Model;

namespace MoeSharp.Checkpoints.Names;

/// <summary>gpt-oss (<c>gpt_oss</c>): experts stacked, gate and up in turn; stored [in, out], in 4-bit blocks however [out, in].</summary>
internal static class GptOssNames
{
    public static IEnumerable<WeightSlice> Slices(ModelConfig config, TensorPresence isPresent) => NameParts.Decoder(
        config,
        layer => NameParts.Attention(config, NameParts.Ours(layer, "attention."), NameParts.Theirs(layer, "self_attn.")),
        layer => Experts(config, config.Moe!, isPresent, NameParts.Ours(layer, "moe."), NameParts.Theirs(layer, "mlp."))); // the family always has experts

    private static IEnumerable<WeightSlice> Experts(ModelConfig config, MoeConfig moe, TensorPresence isPresent, string ours, string theirs)
    {
        (long experts, long width, long hidden) = (moe.NumExperts, moe.IntermediateSize, config.HiddenSize);
        yield return WeightSlice.Whole(theirs + "router.weight", ours + "router", 0, experts, hidden);
        yield return WeightSlice.Whole(theirs + "router.bias", ours + "router_bias", 0, experts);
        bool isInBlocks = isPresent(theirs + "experts.gate_up_proj_blocks");
        for (long part = 0; part < 2 * experts; part++)
        {
            // Even parts are gates, odd ones ups.
            (long expert, long odd) = (part / 2, part % 2);
            long[] shape = isInBlocks ? [experts, 2 * width, hidden] : [experts, hidden, 2 * width];
            yield return new WeightSlice(theirs + "experts.gate_up_proj", shape, ours + "experts.gate_up_projection", part * width, width, config.HiddenSize)
            {
                SourceOffset = (expert * hidden * 2 * width) + (isInBlocks ? odd * hidden : odd),
                SourceRowStep = isInBlocks ? 2 * hidden : 2,
                SourceColumnStep = isInBlocks ? 1 : 2 * width,
            };
            yield return new WeightSlice(theirs + "experts.gate_up_proj_bias", [experts, 2 * width], ours + "experts.gate_up_bias", part * width, width, 1)
            {
                SourceOffset = (expert * 2 * width) + odd,
                SourceRowStep = 2,
            };
        }

        foreach (WeightSlice slice in Down(config, moe, isInBlocks, ours, theirs))
        {
            yield return slice;
        }

        yield return new WeightSlice(theirs + "experts.down_proj_bias", [experts, hidden], ours + "experts.down_bias", 0, experts * hidden, 1);
    }

    private static IEnumerable<WeightSlice> Down(ModelConfig config, MoeConfig moe, bool isInBlocks, string ours, string theirs)
    {
        (long experts, long width, long hidden) = (moe.NumExperts, moe.IntermediateSize, config.HiddenSize);
        if (isInBlocks)
        {
            yield return WeightSlice.Whole(theirs + "experts.down_proj", ours + "experts.down_projection", 0, experts, hidden, width);
            yield break;
        }

        for (long expert = 0; expert < experts; expert++)
        {
            yield return new WeightSlice(theirs + "experts.down_proj", [experts, width, hidden], ours + "experts.down_projection", expert * hidden, hidden, moe.IntermediateSize)
            {
                SourceOffset = expert * width * hidden,
                SourceRowStep = 1,
                SourceColumnStep = hidden,
            };
        }
    }
}
