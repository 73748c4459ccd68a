using MoeSharp.Execution;

namespace MoeSharp.Moe.Balance;

/// <summary>The expert-level loss with the tokens of all layers taken together: expert i of every layer counts as one expert.</summary>
/// <remarks>
/// L = alpha sum f_i P_i with f and P over layers * tokens rows. The auxiliary loss of Mixtral, Qwen-MoE and OLMoE is this times the experts per token,
/// because theirs does not divide the load by it.
/// </remarks>
public static class JointExpertLoss
{
    /// <summary>The loss without its factor; 1 when balanced.</summary>
    /// <param name="record">A pass with mean scores.</param>
    public static double Measure(RoutingRecord record)
    {
        IReadOnlyList<LayerRouting> layers = record.Layers;
        if (layers.Count == 0)
        {
            return 0;
        }

        ReadOnlySpan<double> loads = record.JointLoads();
        double loss = 0;
        for (int expert = 0; expert < layers[0].MeanScores.Length; expert++)
        {
            double score = 0;
            for (int layer = 0; layer < layers.Count; layer++)
            {
                score += layers[layer].MeanScores[expert] / layers.Count;
            }

            loss += loads[expert] * score;
        }

        return loss;
    }
}
