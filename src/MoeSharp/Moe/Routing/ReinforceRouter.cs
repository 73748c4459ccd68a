using MoeSharp.Execution;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Moe.Routing;

/// <summary>One expert per token, drawn from the softmax of the logits and learned by reward (REINFORCE, Williams 1992; RL-R of Clark et al., arXiv 2202.01169).</summary>
/// <remarks>
/// A token's reward is minus the loss of its own target. Training passes draw the expert; its weight is a constant, so the router learns from rewards alone and the
/// experts as usual. Other passes take the likeliest expert.
/// </remarks>
/// <param name="projection">Gives the logits.</param>
/// <param name="noise">Gives the draws.</param>
/// <param name="baseline">What is subtracted from rewards.</param>
/// <param name="rule">What the loss of the policy is made of.</param>
/// <param name="scale">The weight.</param>
public sealed class ReinforceRouter(IRouterProjection projection, IRouterNoise noise, IRewardBaseline baseline, PolicyRule rule, float scale) : IScoredRouter
{
    /// <inheritdoc/>
    public RoutingPlan Route(Tensor x, ForwardContext context)
    {
        Tensor logits = projection.Forward(x, context); // [tokens, experts]
        Tensor probs = Op.Softmax(logits, out Tensor logSumExp, context); // [tokens, experts]
        RouterScores scores = new(logits, probs, probs, logSumExp);
        int[] expertIds = context.Indices.Rent(logits.Rows);
        Span<int> chosen = expertIds.AsSpan(0, logits.Rows);
        if (context.Tape is null)
        {
            Op.ChooseExperts(logits, null, new ExpertChoice(1), chosen, context);
        }
        else
        {
            Draw(probs, noise.Uniform(new Shape(logits.Rows), context).Data, chosen);
            Tensor expected = context.Pool.Rent(new Shape(logits.Rows));
            baseline.Fill(expected.Data);
            Op.AddPolicyLoss(logits, probs, logSumExp, expertIds, expected, rule, context);
        }

        return new RoutingPlan(projection.NumExperts, expertIds, Constant(chosen, 1, context), scores);
    }

    /// <inheritdoc/>
    public RoutingPlan Choose(in RouterScores scores, in ExpertLimits limits, ForwardContext context)
    {
        int slots = scores.Logits.Rows * limits.TopK;
        int[] expertIds = context.Indices.Rent(slots);
        Op.ChooseExperts(scores.Logits, null, limits.Penalty, new ExpertChoice(limits.TopK), expertIds.AsSpan(0, slots), context);
        return new RoutingPlan(projection.NumExperts, expertIds, Constant(expertIds.AsSpan(0, slots), limits.TopK, context), scores);
    }

    // The expert at which the probabilities, added up from the first, pass the number. What rounding leaves of 1 goes to the last that has a chance.
    private static void Draw(Tensor probs, ReadOnlySpan<float> numbers, Span<int> chosen)
    {
        int experts = probs.Columns;
        for (int token = 0; token < chosen.Length; token++)
        {
            ReadOnlySpan<float> row = probs.Data.Slice(token * experts, experts);
            float sum = 0f;
            int last = 0;
            for (int expert = 0; expert < experts && sum <= numbers[token]; expert++)
            {
                sum += row[expert];
                last = row[expert] > 0f ? expert : last;
            }

            chosen[token] = last;
        }
    }

    private Tensor Constant(ReadOnlySpan<int> expertIds, int topK, ForwardContext context)
    {
        Tensor weights = context.Pool.Rent(new Shape(expertIds.Length / topK, topK)); // [tokens, top_k]
        for (int slot = 0; slot < expertIds.Length; slot++)
        {
            weights.Data[slot] = expertIds[slot] < 0 ? 0f : scale / topK;
        }

        return weights;
    }
}
