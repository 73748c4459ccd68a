using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Moe.Dispatch;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Moe.Routing;

/// <summary>When the second of a token's two experts is used.</summary>
public enum SecondExpertPolicy
{
    /// <summary>Always.</summary>
    All,

    /// <summary>Never; the first keeps its share of the two.</summary>
    None,

    /// <summary>When its share of the two is above the threshold.</summary>
    Threshold,

    /// <summary>With probability share / threshold, at most 1.</summary>
    Random,

    /// <summary>Always, but it is drawn from the softmax over all experts except the first, instead of being the best of them.</summary>
    Sampling,
}

/// <summary>Settings of <see cref="GShardRouter"/>.</summary>
/// <param name="Policy">When the second expert is used.</param>
/// <param name="Threshold">Of the policies that have one.</param>
/// <param name="RenormalizesAfterDrop">Whether weights are shares of the experts that are left, instead of the two chosen.</param>
/// <param name="Capacity">Places per expert and group while training; 0 for no limit.</param>
/// <param name="GroupSize">Consecutive tokens that share places; 0 for all of the batch.</param>
/// <param name="Scale">Factor on the weights.</param>
public readonly record struct GShardRule(SecondExpertPolicy Policy, float Threshold, bool RenormalizesAfterDrop, int Capacity, int GroupSize, float Scale);

/// <summary>Two experts per token, the second one perhaps left out (GShard, arXiv 2006.16668, algorithm 1, with the variants of Mesh TensorFlow and Lingvo).</summary>
/// <remarks>
/// g1, g2 = the two largest softmax scores over their sum. Randomness and places exist in training passes alone: in others the policies random and
/// sampling use the second best expert always, and no expert is ever full, so that a token's experts do not depend on its neighbours.
/// </remarks>
/// <param name="projection">Gives the logits.</param>
/// <param name="rule">Settings.</param>
/// <param name="noise">Gives the random numbers.</param>
public sealed class GShardRouter(IRouterProjection projection, GShardRule rule, IRouterNoise noise) : IScoredRouter
{
    private const float NormEpsilon = 1e-9f; // of Mesh TensorFlow
    private const int NumChoices = 2;

    /// <inheritdoc/>
    public RoutingPlan Route(Tensor x, ForwardContext context)
    {
        Tensor logits = projection.Forward(x, context); // [tokens, experts]
        Tensor probs = Op.Softmax(logits, out Tensor logSumExp, context); // [tokens, experts]
        int slots = logits.Rows * NumChoices;
        int[] chosenIds = context.Indices.Rent(slots);
        Op.ChooseExperts(probs, null, new ExpertChoice(NumChoices), chosenIds.AsSpan(0, slots), context);
        if (rule.Policy == SecondExpertPolicy.Sampling && context.Tape is not null)
        {
            DrawSecond(logits, noise.Gumbel(logits.Shape, context), chosenIds);
        }

        return Weigh(new RouterScores(logits, probs, probs, logSumExp), chosenIds.AsSpan(0, slots), NumChoices, context);
    }

    /// <inheritdoc/>
    public RoutingPlan Choose(in RouterScores scores, in ExpertLimits limits, ForwardContext context)
    {
        int slots = scores.Logits.Rows * limits.TopK;
        int[] chosenIds = context.Indices.Rent(slots);
        Op.ChooseExperts(scores.Scores, null, limits.Penalty, new ExpertChoice(limits.TopK), chosenIds.AsSpan(0, slots), context);
        return Weigh(scores, chosenIds.AsSpan(0, slots), limits.TopK, context);
    }

    private RoutingPlan Weigh(in RouterScores scores, ReadOnlySpan<int> chosenIds, int topK, ForwardContext context)
    {
        int[] requestedIds = context.Indices.Rent(chosenIds.Length); // -1 where the policy leaves the second out
        int[] keptIds = context.Indices.Rent(chosenIds.Length); // -1 also where the expert is full
        chosenIds.CopyTo(requestedIds);
        if (topK == NumChoices)
        {
            LeaveOut(scores.Scores, requestedIds, context);
        }

        Span<int> kept = keptIds.AsSpan(0, chosenIds.Length);
        requestedIds.AsSpan(0, chosenIds.Length).CopyTo(kept);
        if (rule.Capacity > 0 && context.Tape is not null)
        {
            Place(kept, context);
        }

        Tensor shares = Op.WeighChosen(scores.Scores, topK, chosenIds, new WeightRule(1f, 1f), context); // [tokens, top_k]
        Tensor routingWeights = Op.KeepSlots(shares, kept, rule.RenormalizesAfterDrop || topK == 1, context); // [tokens, top_k]; an expert alone has all the weight
        if (rule.Scale != 1f)
        {
            Op.ScaleInPlace(routingWeights, rule.Scale, context);
        }

        return new RoutingPlan(scores.Logits.Columns, keptIds, routingWeights, scores) { Requests = requestedIds };
    }

    // The largest of logit plus noise among all but the first; the lowest index where equal.
    private static void DrawSecond(Tensor logits, Tensor gumbel, Span<int> chosenIds)
    {
        int experts = logits.Columns;
        for (int token = 0; token < logits.Rows; token++)
        {
            ReadOnlySpan<float> row = logits.Data.Slice(token * experts, experts);
            ReadOnlySpan<float> draws = gumbel.Data.Slice(token * experts, experts);
            (int first, int second) = (chosenIds[token * NumChoices], -1);
            for (int expert = 0; expert < experts; expert++)
            {
                if (expert != first && (second < 0 || row[expert] + draws[expert] > row[second] + draws[second]))
                {
                    second = expert;
                }
            }

            chosenIds[(token * NumChoices) + 1] = second;
        }
    }

    private void LeaveOut(Tensor probs, Span<int> expertIds, ForwardContext context)
    {
        bool isRandom = rule.Policy == SecondExpertPolicy.Random && context.Tape is not null;
        Tensor? uniform = isRandom ? noise.Uniform(new Shape(probs.Rows), context) : null;
        for (int token = 0; token < probs.Rows; token++)
        {
            (int first, int second) = (expertIds[token * NumChoices], expertIds[(token * NumChoices) + 1]);
            ReadOnlySpan<float> row = probs.Data.Slice(token * probs.Columns, probs.Columns);
            float share = row[second] / (row[first] + row[second] + NormEpsilon);
            bool isUsed = rule.Policy switch
            {
                SecondExpertPolicy.None => false,
                SecondExpertPolicy.Threshold => share > rule.Threshold,
                SecondExpertPolicy.Random => uniform is null || uniform.Data[token] < share / rule.Threshold,
                _ => true,
            };
            expertIds[(token * NumChoices) + 1] = isUsed ? second : -1;
        }
    }

    private void Place(Span<int> keptIds, ForwardContext context)
    {
        int tokens = keptIds.Length / NumChoices;
        int groupSize = rule.GroupSize > 0 ? rule.GroupSize : tokens;
        Span<int> taken = context.Indices.Rent(projection.NumExperts).AsSpan(0, projection.NumExperts);
        Span<int> order = context.Indices.Rent(keptIds.Length).AsSpan(0, keptIds.Length);
        Span<int> positions = context.Indices.Rent(keptIds.Length).AsSpan(0, keptIds.Length);
        ReadOnlySpan<bool> isPadding = context.Batch.IsPadding;
        for (int token = 0; token < isPadding.Length; token++)
        {
            if (isPadding[token])
            {
                keptIds.Slice(token * NumChoices, NumChoices).Fill(-1);
            }
        }

        for (int begin = 0; begin < tokens; begin += groupSize)
        {
            int slots = Math.Min(groupSize, tokens - begin) * NumChoices;
            Span<int> ids = keptIds.Slice(begin * NumChoices, slots);
            SlotPlacement.OrderByChoice(slots, NumChoices, order);
            SlotPlacement.Serve(order[..slots], ids, rule.Capacity, taken, positions[..slots]);
            for (int slot = 0; slot < slots; slot++)
            {
                ids[slot] = positions[slot] < 0 ? -1 : ids[slot];
            }
        }
    }
}
