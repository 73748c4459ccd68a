namespace MoeSharp.Model.Families;

/// <summary>Keys of the section <c>moesharp</c> that stand for numbers of other keys: experts cut finer, and a dense feed-forward beside the experts.</summary>
internal static class ExpertShapeKeys
{
    /// <summary>Key of the dense feed-forward beside the experts.</summary>
    public const string DenseResidualKey = "dense_residual";

    private const string Parallel = "parallel";
    private const string Arctic = "arctic";

    /// <summary>Reads them over the experts that the family's keys describe.</summary>
    /// <param name="section">The section.</param>
    /// <param name="decoder">The rest of the model.</param>
    /// <param name="moe">The experts.</param>
    /// <returns>The model with its experts.</returns>
    public static ModelConfig Read(ConfigReader section, ModelConfig decoder, MoeConfig moe)
    {
        moe = section.Int("segmentation") is { } pieces ? Cut(section, moe, pieces) : moe;
        switch (section.OneOf(DenseResidualKey, "none", "none", Parallel, Arctic))
        {
            case Arctic:
                return decoder with { Moe = moe, BlockLayout = BlockLayout.ParallelExperts };
            case Parallel:
                if (moe.NumSharedExperts > 0)
                {
                    section.Problems.Add($"{section.Place(DenseResidualKey)} 'parallel' is a shared feed-forward of intermediate_size {decoder.IntermediateSize} beside the experts; with n_shared_experts {moe.NumSharedExperts} there is one already, so leave one of them out");
                }

                return decoder with { Moe = moe with { SharedIntermediateSize = decoder.IntermediateSize } };
            default:
                return decoder with { Moe = moe };
        }
    }

    /// <summary>How the dense feed-forward beside the experts is written, or null where there is none.</summary>
    public static string? DenseResidual(ModelConfig config) =>
        config.BlockLayout == BlockLayout.ParallelExperts ? Arctic
        : config.Moe is { NumSharedExperts: 0 } moe && moe.SharedIntermediateSize == config.IntermediateSize && moe.SharedIntermediateSize > 0 ? Parallel
        : null;

    // N experts become m N of a width divided by m; of these, n_shared_experts are taken by every token, so that m N - s are routed and m K - s chosen
    // (DeepSeekMoE, arXiv 2401.06066, equations 6 to 11). Parameters and activated parameters stay what they were, but for the router.
    private static MoeConfig Cut(ConfigReader section, MoeConfig moe, int pieces)
    {
        string place = section.Place("segmentation");
        if (pieces < 1 || moe.IntermediateSize % Math.Max(pieces, 1) != 0)
        {
            section.Problems.Add($"{place} {pieces} does not divide moe_intermediate_size {moe.IntermediateSize}; every expert is cut into that many equal ones");
            return moe;
        }

        (long experts, long chosen) = (((long)pieces * moe.NumExperts) - moe.NumSharedExperts, ((long)pieces * moe.TopK) - moe.NumSharedExperts);
        if (chosen < 1)
        {
            section.Problems.Add($"{place} {pieces} times num_experts_per_tok {moe.TopK} leaves no routed expert beside n_shared_experts {moe.NumSharedExperts}; cut finer or share fewer");
            return moe;
        }

        if (experts > ModelConfigRules.LargestSize)
        {
            section.Problems.Add($"{place} {pieces} times n_routed_experts {moe.NumExperts} is above {ModelConfigRules.LargestSize}; cut less fine");
            return moe;
        }

        return moe with { NumExperts = (int)experts, TopK = (int)chosen, IntermediateSize = moe.IntermediateSize / pieces };
    }
}
