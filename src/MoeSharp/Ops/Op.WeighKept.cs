using MoeSharp.Execution;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

public static partial class Op
{
    /// <summary>Routing weights where some of the chosen experts were dropped: scores over the sum of the chosen, or over the sum of those kept; 0 for the dropped.</summary>
    /// <param name="scores">[tokens, experts], not negative.</param>
    /// <param name="topK">Experts per token.</param>
    /// <param name="chosenIds">Chosen columns, [tokens * topK].</param>
    /// <param name="keptIds">The same, -1 where dropped, [tokens * topK].</param>
    /// <param name="rule">What is divided by, and the factor.</param>
    /// <param name="context">Context.</param>
    /// <returns>Routing weights, [tokens, top_k].</returns>
    public static Tensor WeighKept(Tensor scores, int topK, ReadOnlySpan<int> chosenIds, ReadOnlySpan<int> keptIds, KeptWeightRule rule, ForwardContext context)
    {
        (int tokens, int experts) = (scores.Rows, scores.Columns);
        Tensor weights = context.Pool.Rent(new Shape(tokens, topK)); // [tokens, top_k]
        for (int token = 0; token < tokens; token++)
        {
            ReadOnlySpan<int> kept = keptIds.Slice(token * topK, topK);
            ReadOnlySpan<float> row = scores.Data.Slice(token * experts, experts);
            float divisor = rule.Epsilon + SumOf(row, rule.DividesByKept ? kept : chosenIds.Slice(token * topK, topK));
            for (int slot = 0; slot < topK; slot++)
            {
                weights.Data[(token * topK) + slot] = kept[slot] < 0 ? 0f : rule.Scale * row[kept[slot]] / divisor;
            }
        }

        if (context.Tape is { } tape)
        {
            WeighKeptNode node = tape.Record<WeighKeptNode>(weights, context.Timer.Current);
            (node.Scores, node.Result, node.Rule) = (scores, weights, rule);
            node.KeptIds = context.Indices.Rent(tokens * topK);
            keptIds.CopyTo(node.KeptIds);
            node.DividedIds = rule.DividesByKept ? node.KeptIds : context.Indices.Rent(tokens * topK);
            (rule.DividesByKept ? keptIds : chosenIds).CopyTo(node.DividedIds);
            node.Save(scores);
            node.Save(weights);
        }

        return weights;
    }

    private static float SumOf(ReadOnlySpan<float> row, ReadOnlySpan<int> ids)
    {
        float sum = 0f;
        foreach (int id in ids)
        {
            sum += id < 0 ? 0f : row[id];
        }

        return sum;
    }

    private sealed class WeighKeptNode : TapeNode
    {
        public Tensor Scores = null!;
        public Tensor Result = null!;
        public int[] KeptIds = [];
        public int[] DividedIds = [];
        public KeptWeightRule Rule;

        // w_j = c s_j / D for kept j, D = epsilon + sum of the s that are divided by  =>  ds_j += c dw_j / D for kept j, ds_i -= sum_j dw_j w_j / D for i in D
        public override void Backward(ForwardContext context)
        {
            Span<float> dScores = AddToGradient(Scores, context);
            (int experts, int topK) = (Scores.Columns, Result.Columns);
            for (int token = 0; token < Scores.Rows; token++)
            {
                ReadOnlySpan<int> kept = KeptIds.AsSpan(token * topK, topK);
                ReadOnlySpan<int> divided = DividedIds.AsSpan(token * topK, topK);
                Span<float> gradient = dScores.Slice(token * experts, experts);
                float divisor = Rule.Epsilon + SumOf(Scores.Data.Slice(token * experts, experts), divided);
                float dot = 0f;
                for (int slot = 0; slot < topK; slot++)
                {
                    float dWeight = kept[slot] < 0 ? 0f : Result.Gradient[(token * topK) + slot];
                    dot += dWeight * Result.Data[(token * topK) + slot];
                    if (kept[slot] >= 0)
                    {
                        gradient[kept[slot]] += Rule.Scale * dWeight / divisor;
                    }
                }

                foreach (int id in divided)
                {
                    if (id >= 0)
                    {
                        gradient[id] -= dot / divisor;
                    }
                }
            }
        }
    }
}

/// <summary>How scores become weights where some of the chosen experts were dropped.</summary>
/// <param name="DividesByKept">Whether scores are divided by the sum of those kept, so that what is left weighs one together; otherwise by the sum of all chosen.</param>
/// <param name="Epsilon">Added to the sum.</param>
/// <param name="Scale">Factor on the weights.</param>
public readonly record struct KeptWeightRule(bool DividesByKept, float Epsilon, float Scale);
