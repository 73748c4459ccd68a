using MoeSharp.Execution;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Moe.Routing;

/// <summary>The k largest of logits with learned noise, weighed by a softmax over these (Shazeer et al., arXiv 1701.06538, equations 3 to 5).</summary>
/// <remarks>
/// H = x W_g + eps (softplus(x W_noise) + 1e-2), eps standard normal and drawn anew for every token and expert; weights = scale softmax(the k largest of H).
/// Passes without gradients have no noise. The chances of the choice are computed where the load loss asks for them. Both matrices begin at zero, so that all experts are equally likely.
/// </remarks>
/// <param name="clean">Gives x W_g.</param>
/// <param name="noiseSize">Gives x W_noise.</param>
/// <param name="noise">Gives eps.</param>
/// <param name="noiseEpsilon">Least standard deviation of the noise.</param>
/// <param name="topK">Experts per token.</param>
/// <param name="scale">Factor on the weights.</param>
public sealed class NoisyTopKRouter(IRouterProjection clean, IRouterProjection noiseSize, IRouterNoise noise, float noiseEpsilon, int topK, float scale) : IScoredRouter
{
    /// <inheritdoc/>
    public RoutingPlan Route(Tensor x, ForwardContext context)
    {
        Tensor logits = clean.Forward(x, context); // [tokens, experts]
        if (context.Tape is null)
        {
            return Choose(logits, context);
        }

        Tensor deviation = Op.Softplus(noiseSize.Forward(x, context), noiseEpsilon, context); // [tokens, experts]
        Tensor noisy = Op.AddNoise(logits, deviation, noise.Normal(logits.Shape, context), context); // [tokens, experts]
        RoutingPlan plan = Choose(noisy, context);
        return topK == plan.NumExperts || context.Balance.LoadAlpha == 0f ? plan : plan with { ChoiceChances = Op.ChoiceChances(logits, noisy, deviation, topK, context) };
    }

    /// <inheritdoc/>
    public RoutingPlan Choose(in RouterScores scores, in ExpertLimits limits, ForwardContext context) => Choose(scores, limits.TopK, limits.Penalty, context);

    private RoutingPlan Choose(Tensor logits, ForwardContext context)
    {
        Tensor probs = Op.Softmax(logits, out Tensor logSumExp, context); // [tokens, experts]
        return Choose(new RouterScores(logits, logits, probs, logSumExp), topK, null, context);
    }

    private RoutingPlan Choose(in RouterScores scores, int kept, Tensor? penalty, ForwardContext context)
    {
        int slots = scores.Logits.Rows * kept;
        int[] expertIds = context.Indices.Rent(slots);
        if (penalty is null)
        {
            Op.ChooseExperts(scores.Logits, null, new ExpertChoice(kept), expertIds.AsSpan(0, slots), context);
        }
        else
        {
            Op.ChooseExperts(scores.Logits, null, penalty, new ExpertChoice(kept), expertIds.AsSpan(0, slots), context);
        }

        Tensor weights = Op.SoftmaxChosen(scores.Logits, kept, expertIds.AsSpan(0, slots), scale, context); // [tokens, top_k]
        return new RoutingPlan(clean.NumExperts, expertIds, weights, scores);
    }
}
