using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Tensors;

namespace MoeSharp.Moe.Balance;

/// <summary>The expert-level loss over the choices that a router would make without its selection bias, per sequence or over the batch.</summary>
/// <remarks>
/// L = alpha sum f_i P_i, f_i = N / (K T) * tokens whose K largest unbiased scores include i, P_i = mean of s_i / sum_j s_j (DeepSeek-V3, arXiv 2412.19437,
/// equations 17 to 20). Balanced routing gives exactly alpha.
/// </remarks>
public static class UnbiasedChoiceLoss
{
    /// <summary>The experts with the largest scores, whatever groups and biases say.</summary>
    /// <param name="scores">[tokens, experts].</param>
    /// <param name="topK">Experts per token.</param>
    /// <param name="context">Context.</param>
    /// <returns>[tokens * topK], perhaps longer; valid until the pass ends.</returns>
    public static int[] Choose(Tensor scores, int topK, ForwardContext context)
    {
        int[] expertIds = context.Indices.Rent(scores.Rows * topK);
        TopK.Select(context.Workers, scores.Rows, scores.Columns, topK, scores.Data, expertIds.AsSpan(0, scores.Rows * topK));
        return expertIds;
    }

    /// <summary>Adds the loss's slope with respect to each P_i.</summary>
    /// <param name="use">The group, with unbiased choices.</param>
    /// <param name="alpha">alpha.</param>
    /// <param name="slopes">+= dL/dP, [experts].</param>
    /// <returns>sum f_i P_i, without alpha.</returns>
    public static double Measure(in GroupUse use, double alpha, Span<double> slopes) => ExpertLevelLoss.Measure(use.Loads, use.MeanScores, alpha, slopes);
}
