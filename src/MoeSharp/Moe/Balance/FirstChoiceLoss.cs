namespace MoeSharp.Moe.Balance;

/// <summary>Keeps the first choices of tokens equally spread.</summary>
/// <remarks>
/// L = alpha N sum over experts f_i P_i, f_i = share of tokens whose first choice is i, before any capacity (Switch, arXiv 2101.03961, equations 4 to 6; GShard,
/// arXiv 2006.16668, algorithm 1, as its authors' code has it). Balanced routing gives exactly alpha, a collapsed router alpha N. f carries no gradient.
/// </remarks>
public static class FirstChoiceLoss
{
    /// <summary>Adds the loss's slope with respect to each P_i.</summary>
    /// <param name="use">The group.</param>
    /// <param name="alpha">alpha.</param>
    /// <param name="slopes">+= dL/dP, [experts].</param>
    /// <returns>N sum f_i P_i, without alpha.</returns>
    public static double Measure(in GroupUse use, double alpha, Span<double> slopes) => ExpertLevelLoss.Measure(use.FirstLoads, use.MeanScores, alpha, slopes);
}
