using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Tensors;

namespace MoeSharp.Moe.Routing;

/// <summary>A router whose choice follows from scores, so that it can be made again under other limits.</summary>
public interface IScoredRouter : IRouter
{
    /// <summary>Chooses and weighs by the router's own rule, but within limits.</summary>
    /// <param name="scores">What the router computed for these tokens.</param>
    /// <param name="limits">The limits.</param>
    /// <param name="context">Context.</param>
    /// <returns>The plan; its tensors live until the pass ends.</returns>
    RoutingPlan Choose(in RouterScores scores, in ExpertLimits limits, ForwardContext context);
}

/// <summary>Within what a router may choose when a <see cref="RoutingIntervention"/> changes its choice.</summary>
/// <param name="TopK">Experts per token.</param>
/// <param name="Penalty">Added to the scores for the choice alone: 0, or minus infinity for an expert that a token may not choose, [tokens, experts].</param>
public readonly record struct ExpertLimits(int TopK, Tensor Penalty)
{
    /// <summary>Makes a layer's choice again as an intervention wants it.</summary>
    /// <param name="router">Router of the layer.</param>
    /// <param name="plan">Its own choice.</param>
    /// <param name="layer">Decoder layer.</param>
    /// <param name="intervention">What is changed.</param>
    /// <param name="context">Context.</param>
    /// <exception cref="InterventionException">The router makes no choice from scores, or too few experts remain.</exception>
    public static RoutingPlan Apply(IRouter router, in RoutingPlan plan, int layer, RoutingIntervention intervention, ForwardContext context)
    {
        if (router is not IScoredRouter scored || plan.Scores is not { } scores)
        {
            throw new InterventionException($"experts of layer {layer} cannot be switched off or masked: its router does not choose by scores. Statistics of such a model can be studied, interventions cannot.");
        }

        int topK = intervention.TopK ?? plan.TopK;
        bool[] off = SwitchedOff(intervention, layer, plan.NumExperts);
        int left = plan.NumExperts - off.Count(isOff => isOff) - intervention.MaskedBest;
        if (topK < 1 || intervention.MaskedBest < 0 || left < topK)
        {
            throw new InterventionException($"layer {layer} has {plan.NumExperts} experts; with {plan.NumExperts - left} of them switched off or masked, {topK} per token cannot be chosen. Mask fewer.");
        }

        Tensor penalty = context.Pool.Rent(scores.Scores.Shape); // [tokens, experts]
        Fill(scores.Logits, off, intervention.MaskedBest, penalty, context);
        return scored.Choose(scores, new ExpertLimits(topK, penalty), context);
    }

    private static bool[] SwitchedOff(RoutingIntervention intervention, int layer, int numExperts)
    {
        bool[] off = new bool[numExperts];
        foreach (ExpertPlace place in intervention.SwitchedOff)
        {
            if (place.Layer == layer)
            {
                off[place.Expert < numExperts && place.Expert >= 0 ? place.Expert : throw new InterventionException($"layer {layer} has {numExperts} experts and no expert {place.Expert}")] = true;
            }
        }

        return off;
    }

    /// <summary>Gives an expert that is alone all the weight, where a router was trained to weigh chosen experts against each other.</summary>
    /// <param name="routingWeights">= the scale where there is an expert, [tokens, 1].</param>
    /// <param name="expertIds">Expert of each token; negative for none.</param>
    /// <param name="scale">Factor on the weights.</param>
    internal static void GiveAllWeight(Tensor routingWeights, ReadOnlySpan<int> expertIds, float scale)
    {
        Span<float> weights = routingWeights.Data;
        for (int token = 0; token < weights.Length; token++)
        {
            weights[token] = expertIds[token] < 0 ? 0f : scale;
        }
    }

    // Masked by the logits that the choice is made from (scores rise with them; only those of StableMoE are another router's), without a selection bias: that corrects
    // the choice, it is not the router's opinion. Experts switched off do not count among the best.
    private static void Fill(Tensor scores, ReadOnlySpan<bool> off, int maskedBest, Tensor penalty, ForwardContext context)
    {
        (int tokens, int experts) = (scores.Rows, scores.Columns);
        Span<float> values = penalty.Data;
        scores.Data.CopyTo(values);
        for (int expert = 0; expert < experts; expert++)
        {
            for (int token = 0; off[expert] && token < tokens; token++)
            {
                values[(token * experts) + expert] = float.NegativeInfinity;
            }
        }

        int[] best = context.Indices.Rent(Math.Max(1, tokens * maskedBest));
        Kernels.TopK.Select(context.Workers, tokens, experts, maskedBest, values, best);
        for (int token = 0; token < tokens; token++)
        {
            Span<float> row = values.Slice(token * experts, experts);
            for (int expert = 0; expert < experts; expert++)
            {
                row[expert] = off[expert] ? float.NegativeInfinity : 0f;
            }

            foreach (int expert in best.AsSpan(token * maskedBest, maskedBest))
            {
                row[expert] = float.NegativeInfinity;
            }
        }
    }
}
