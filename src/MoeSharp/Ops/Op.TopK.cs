using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

/// <summary>How many experts of a token are chosen, and from which groups.</summary>
/// <param name="TopK">Experts kept.</param>
/// <param name="NumGroups">Groups of consecutive experts; 1 for none. Divides the number of experts.</param>
/// <param name="TopKGroups">Groups that a token may choose from.</param>
/// <param name="GroupBest">A group's score is the sum of this many of its best scores.</param>
public readonly record struct ExpertChoice(int TopK, int NumGroups = 1, int TopKGroups = 1, int GroupBest = 1);

/// <summary>How scores of chosen experts become routing weights.</summary>
/// <param name="NormOrder">p of the p-norm that the scores are divided by; 0 for no division. One expert alone is never divided: it would always weigh 1 and learn nothing.</param>
/// <param name="Scale">Factor on the weights.</param>
public readonly record struct WeightRule(float NormOrder, float Scale);

public static partial class Op
{
    private const float NormEpsilon = 1e-20f; // of the released DeepSeekMoE gate

    /// <summary>Chooses the experts with the largest scores of each row; ties go to the lowest index. The choice has no gradient.</summary>
    /// <remarks>Only the best groups take part when there are several: experts of the others count as minus infinity.</remarks>
    /// <param name="scores">[tokens, experts].</param>
    /// <param name="bias">Added to the scores for the choice alone, [experts]; null for none.</param>
    /// <param name="choice">How many, and from which groups.</param>
    /// <param name="expertIds">= chosen columns, [tokens * topK], descending score.</param>
    /// <param name="context">Context.</param>
    public static void ChooseExperts(Tensor scores, Parameter? bias, ExpertChoice choice, Span<int> expertIds, ForwardContext context)
    {
        (int tokens, int experts) = (scores.Rows, scores.Columns);
        if (bias is null && choice.NumGroups == 1)
        {
            TopK.Select(context.Workers, tokens, experts, choice.TopK, scores.Data, expertIds);
            return;
        }

        Tensor candidates = Candidates(scores, bias, context); // [tokens, experts]
        if (choice.NumGroups > 1)
        {
            KeepBestGroups(candidates, choice, context);
        }

        TopK.Select(context.Workers, tokens, experts, choice.TopK, candidates.Data, expertIds);
    }

    /// <summary>Chooses experts as the rule does, but none that a penalty of minus infinity bars while others remain.</summary>
    /// <param name="scores">[tokens, experts].</param>
    /// <param name="bias">Added to the scores for the choice alone, [experts]; null for none.</param>
    /// <param name="penalty">Added to the scores for the choice alone, [tokens, experts].</param>
    /// <param name="choice">How many, and from which groups.</param>
    /// <param name="expertIds">= chosen columns, [tokens * topK], descending score; -1 where no permitted expert remained.</param>
    /// <param name="context">Context.</param>
    public static void ChooseExperts(Tensor scores, Parameter? bias, Tensor penalty, ExpertChoice choice, Span<int> expertIds, ForwardContext context)
    {
        (int tokens, int experts) = (scores.Rows, scores.Columns);
        Tensor candidates = context.Pool.Rent(scores.Shape); // [tokens, experts]
        Elementwise.Add(context.Workers, scores.Data, penalty.Data, candidates.Data);
        if (bias is not null)
        {
            Elementwise.AddBias(context.Workers, tokens, experts, bias.Value, candidates.Data);
        }

        if (choice.NumGroups > 1)
        {
            KeepBestGroups(candidates, choice, context);
        }

        TopK.Select(context.Workers, tokens, experts, choice.TopK, candidates.Data, expertIds);
        for (int slot = 0; slot < expertIds.Length; slot++)
        {
            bool isBarred = float.IsNegativeInfinity(candidates.Data[(slot / choice.TopK * experts) + expertIds[slot]]);
            expertIds[slot] = isBarred ? -1 : expertIds[slot];
        }
    }

    /// <summary>The routing weights of chosen experts: their scores, divided by their norm where asked, times the scale.</summary>
    /// <param name="scores">[tokens, experts], not negative.</param>
    /// <param name="topK">Experts per token.</param>
    /// <param name="expertIds">Chosen columns, [tokens * topK]; a negative one weighs 0.</param>
    /// <param name="rule">Norm and scale.</param>
    /// <param name="context">Context.</param>
    /// <returns>Routing weights, [tokens, top_k].</returns>
    public static Tensor WeighChosen(Tensor scores, int topK, ReadOnlySpan<int> expertIds, WeightRule rule, ForwardContext context)
    {
        (int tokens, int experts) = (scores.Rows, scores.Columns);
        rule = topK > 1 ? rule : rule with { NormOrder = 0 };
        Tensor weights = context.Pool.Rent(new Shape(tokens, topK)); // [tokens, top_k]
        if (IsPlain(rule))
        {
            ChosenWeights.Forward(context.Workers, tokens, experts, topK, scores.Data, expertIds, Plain(rule), weights.Data);
        }

        Span<float> values = scores.Data;
        for (int token = 0; token < tokens && !IsPlain(rule); token++)
        {
            Span<float> row = weights.Data.Slice(token * topK, topK);
            for (int slot = 0; slot < topK; slot++)
            {
                int expert = expertIds[(token * topK) + slot];
                row[slot] = expert < 0 ? 0f : values[(token * experts) + expert];
            }

            float factor = rule.Scale / Norm(row, rule.NormOrder);
            for (int slot = 0; slot < topK; slot++)
            {
                row[slot] *= factor;
            }
        }

        if (context.Tape is { } tape)
        {
            WeighNode node = tape.Record<WeighNode>(weights, context.Timer.Current);
            (node.Scores, node.Result, node.Rule) = (scores, weights, rule);
            node.ExpertIds = context.Indices.Rent(tokens * topK);
            expertIds.CopyTo(node.ExpertIds);
            node.Save(scores);
        }

        return weights;
    }

    // No division, or one by the sum: what nearly every model has. Other norms take powers.
    private static bool IsPlain(WeightRule rule) => rule.NormOrder is 0f or 1f;

    private static ChosenWeightRule Plain(WeightRule rule) => new(rule.NormOrder > 0, NormEpsilon, rule.Scale);

    /// <summary>Softmax over the logits of the chosen experts alone, times a scale.</summary>
    /// <param name="logits">[tokens, experts].</param>
    /// <param name="topK">Experts per token.</param>
    /// <param name="expertIds">Chosen columns, [tokens * topK].</param>
    /// <param name="scale">Factor on the weights.</param>
    /// <param name="context">Context.</param>
    /// <returns>Routing weights, [tokens, top_k].</returns>
    public static Tensor SoftmaxChosen(Tensor logits, int topK, ReadOnlySpan<int> expertIds, float scale, ForwardContext context)
    {
        (int tokens, int experts) = (logits.Rows, logits.Columns);
        Tensor weights = context.Pool.Rent(new Shape(tokens, topK)); // [tokens, top_k]
        Tensor logSumExp = context.Pool.Rent(new Shape(tokens));
        ReadOnlySpan<float> values = logits.Data;
        Span<float> chosen = weights.Data;
        for (int slot = 0, row = 0; row < values.Length; row += experts)
        {
            for (int end = slot + topK; slot < end; slot++)
            {
                chosen[slot] = values[row + expertIds[slot]];
            }
        }

        Kernels.Softmax.Forward(context.Workers, tokens, topK, weights.Data, weights.Data, logSumExp.Data);
        Elementwise.Scale(context.Workers, weights.Data, scale);
        if (context.Tape is { } tape)
        {
            SoftmaxChosenNode node = tape.Record<SoftmaxChosenNode>(weights, context.Timer.Current);
            (node.Logits, node.Result, node.Scale) = (logits, weights, scale);
            node.ExpertIds = context.Indices.Rent(tokens * topK);
            expertIds.CopyTo(node.ExpertIds);
            node.Save(weights);
        }

        return weights;
    }

    /// <summary>The best groups of each row, by the same rule as experts: largest first, ties to the lowest.</summary>
    /// <param name="scores">[tokens, experts].</param>
    /// <param name="bias">Added to the scores, [experts]; null for none.</param>
    /// <param name="choice">How many groups there are, how many are kept, how they are scored.</param>
    /// <param name="groupIds">= groups kept, [tokens * TopKGroups], descending score.</param>
    /// <param name="context">Context.</param>
    /// <returns>Scores of the groups, [tokens, groups].</returns>
    public static Tensor ChooseGroups(Tensor scores, Parameter? bias, ExpertChoice choice, Span<int> groupIds, ForwardContext context) =>
        BestGroups(Candidates(scores, bias, context), choice, groupIds, context);

    private static Tensor Candidates(Tensor scores, Parameter? bias, ForwardContext context)
    {
        Tensor candidates = context.Pool.Rent(scores.Shape); // [tokens, experts]
        scores.Data.CopyTo(candidates.Data);
        if (bias is not null)
        {
            Elementwise.AddBias(context.Workers, scores.Rows, scores.Columns, bias.Value, candidates.Data);
        }

        return candidates;
    }

    private static Tensor BestGroups(Tensor candidates, ExpertChoice choice, Span<int> groupIds, ForwardContext context)
    {
        (int tokens, int groups) = (candidates.Rows, choice.NumGroups);
        int size = candidates.Columns / groups;
        Tensor groupScores = context.Pool.Rent(new Shape(tokens, groups)); // [tokens, groups]
        int best = Math.Min(choice.GroupBest, size);
        int[] places = context.Indices.Rent(best);
        for (int group = 0; group < tokens * groups; group++)
        {
            Span<float> scores = candidates.Data.Slice(group * size, size);
            groupScores.Data[group] = SumOfLargest(scores, places.AsSpan(0, best));
        }

        TopK.Select(context.Workers, tokens, groups, choice.TopKGroups, groupScores.Data, groupIds);
        return groupScores;
    }

    private static void KeepBestGroups(Tensor candidates, ExpertChoice choice, ForwardContext context)
    {
        (int tokens, int groups) = (candidates.Rows, choice.NumGroups);
        int size = candidates.Columns / groups;
        int[] kept = context.Indices.Rent(tokens * choice.TopKGroups);
        BestGroups(candidates, choice, kept.AsSpan(0, tokens * choice.TopKGroups), context);
        for (int token = 0; token < tokens; token++)
        {
            ReadOnlySpan<int> keptGroups = kept.AsSpan(token * choice.TopKGroups, choice.TopKGroups);
            for (int group = 0; group < groups; group++)
            {
                if (!keptGroups.Contains(group))
                {
                    candidates.Data.Slice(((token * groups) + group) * size, size).Fill(float.NegativeInfinity);
                }
            }
        }
    }

    // Adds up in falling order. `places` is scratch for the columns already taken.
    private static float SumOfLargest(ReadOnlySpan<float> values, Span<int> places)
    {
        float sum = 0f;
        for (int taken = 0; taken < places.Length; taken++)
        {
            int largest = -1;
            for (int column = 0; column < values.Length; column++)
            {
                if (!places[..taken].Contains(column) && (largest < 0 || values[column] > values[largest]))
                {
                    largest = column;
                }
            }

            places[taken] = largest;
            sum += values[largest];
        }

        return sum;
    }

    // The p-norm of values that are not negative.
    private static float Norm(ReadOnlySpan<float> values, float order)
    {
        float sum = 0f;
        foreach (float value in values)
        {
            sum += MathF.Pow(value, order);
        }

        return MathF.Pow(sum, 1f / order) + NormEpsilon;
    }

    private sealed class WeighNode : TapeNode
    {
        public Tensor Scores = null!;
        public Tensor Result = null!;
        public int[] ExpertIds = [];
        public WeightRule Rule;

        public override void Backward(ForwardContext context)
        {
            Span<float> dScores = GradientOf(Scores, context);
            (int experts, int topK) = (Scores.Columns, Result.Columns);
            if (IsPlain(Rule))
            {
                ChosenWeights.Backward(context.Workers, Scores.Rows, experts, topK, Scores.Data, ExpertIds, Plain(Rule), Result.Gradient, dScores);
                return;
            }

            for (int token = 0; token < Scores.Rows; token++)
            {
                Span<float> scores = Scores.Data.Slice(token * experts, experts);
                Span<float> gradient = dScores.Slice(token * experts, experts);
                ReadOnlySpan<int> ids = ExpertIds.AsSpan(token * topK, topK);
                AddRow(ids, scores, Result.Gradient.Slice(token * topK, topK), gradient);
            }
        }

        // w_j = c s_j / N, N = (sum s^p)^(1/p)  =>  ds_j = c (dw_j - (s_j / N)^(p - 1) sum_i dw_i s_i / N) / N
        private void AddRow(ReadOnlySpan<int> ids, ReadOnlySpan<float> scores, ReadOnlySpan<float> dWeights, Span<float> dScores)
        {
            (float sum, float dot) = (0f, 0f);
            for (int slot = 0; slot < ids.Length; slot++)
            {
                float score = ids[slot] < 0 ? 0f : scores[ids[slot]];
                sum += MathF.Pow(score, Rule.NormOrder);
                dot += dWeights[slot] * score;
            }

            float norm = MathF.Pow(sum, 1f / Rule.NormOrder) + NormEpsilon;
            for (int slot = 0; slot < ids.Length; slot++)
            {
                if (ids[slot] < 0)
                {
                    continue;
                }

                float share = MathF.Pow(scores[ids[slot]] / norm, Rule.NormOrder - 1f);
                dScores[ids[slot]] += Rule.Scale * (dWeights[slot] - (share * dot / norm)) / norm;
            }
        }
    }

    private sealed class SoftmaxChosenNode : TapeNode
    {
        public Tensor Logits = null!;
        public Tensor Result = null!;
        public int[] ExpertIds = [];
        public float Scale;

        // w = c p: dlogit_j = c p_j (dw_j - sum_i dw_i p_i) = w_j (dw_j - sum_i dw_i w_i / c)
        public override void Backward(ForwardContext context)
        {
            Span<float> dLogits = GradientOf(Logits, context);

            (int experts, int topK) = (Logits.Columns, Result.Columns);
            Span<float> weights = Result.Data;
            Span<float> dWeights = Result.Gradient;
            for (int token = 0; token < Logits.Rows; token++)
            {
                float dot = 0f;
                for (int slot = token * topK; slot < (token + 1) * topK; slot++)
                {
                    dot += dWeights[slot] * weights[slot] / Scale;
                }

                for (int slot = token * topK; slot < (token + 1) * topK; slot++)
                {
                    dLogits[(token * experts) + ExpertIds[slot]] += weights[slot] * (dWeights[slot] - dot);
                }
            }
        }
    }
}
