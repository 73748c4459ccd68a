using MoeSharp.Execution;
using MoeSharp.Moe.Routing.Assignment;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Moe.Routing;

/// <summary>How many tokens each expert takes, and among which.</summary>
/// <param name="Factor">c: experts per token on average.</param>
/// <param name="RoundsUp">Whether tokens * c / experts is rounded up.</param>
/// <param name="LeastTokens">Tokens that an expert takes at least, where there are so many.</param>
/// <param name="IsPerSequence">Whether experts choose within each sequence instead of within the whole pass.</param>
public readonly record struct ExpertChoiceRule(double Factor, bool RoundsUp, int LeastTokens, bool IsPerSequence)
{
    private const double Slack = 1e-9; // products such as 1.1 * 10 are not whole numbers in binary

    /// <summary>Tokens that each expert takes of so many real ones.</summary>
    public int Capacity(int tokens, int experts)
    {
        double exact = Factor * tokens / experts;
        double rounded = RoundsUp ? Math.Ceiling(exact - Slack) : Math.Floor(exact + Slack);
        return (int)Math.Min(tokens, Math.Max(LeastTokens, rounded));
    }
}

/// <summary>Experts choose tokens: each takes the same number of those that score it highest (Expert Choice, arXiv 2202.09368).</summary>
/// <remarks>
/// Scores are the softmax over experts; of equal ones the first tokens are taken. A token may have any number of experts, so the plan has a slot for each:
/// slot e of a token is expert e, or not used. Padding is never taken and does not count. Whether a token is taken depends on the tokens beside and after it.
/// </remarks>
/// <param name="projection">Gives the logits.</param>
/// <param name="rule">How many tokens, among which.</param>
/// <param name="scale">Factor on the weights.</param>
public sealed class ExpertChoiceRouter(IRouterProjection projection, ExpertChoiceRule rule, float scale) : IRouter
{
    private float[] _column = []; // scores of one expert in a group
    private int[] _rows = []; // real rows of a group

    /// <inheritdoc/>
    public RoutingPlan Route(Tensor x, ForwardContext context)
    {
        Tensor logits = projection.Forward(x, context); // [tokens, experts]
        Tensor probs = Op.Softmax(logits, out _, context); // [tokens, experts]
        int[] expertIds = context.Indices.Rent(probs.Data.Length);
        Span<int> chosen = expertIds.AsSpan(0, probs.Data.Length);
        Choose(probs, context.Batch, chosen);
        Tensor weights = Op.WeighChosen(probs, probs.Columns, chosen, new WeightRule(0f, scale), context); // [tokens, experts]
        return new RoutingPlan(probs.Columns, expertIds, weights, null); // loads are equal by definition: no balance loss has anything to act on
    }

    private void Choose(Tensor probs, TokenBatch batch, Span<int> expertIds)
    {
        Array.Resize(ref _column, Math.Max(_column.Length, probs.Rows));
        Array.Resize(ref _rows, Math.Max(_rows.Length, probs.Rows));
        expertIds.Fill(-1);
        int groups = rule.IsPerSequence ? batch.NumSequences : 1;
        for (int group = 0; group < groups; group++)
        {
            (int begin, int count) = rule.IsPerSequence ? batch.Sequence(group) : (0, probs.Rows);
            Take(probs, RealRows(batch, begin, count), expertIds);
        }
    }

    private ReadOnlySpan<int> RealRows(TokenBatch batch, int begin, int count)
    {
        int real = 0;
        for (int row = begin; row < begin + count; row++)
        {
            if (!batch.HasPadding || !batch.IsPadding[row])
            {
                _rows[real++] = row;
            }
        }

        return _rows.AsSpan(0, real);
    }

    // Everything above the last score that still has a place, then the first of those equal to it.
    private void Take(Tensor probs, ReadOnlySpan<int> rows, Span<int> expertIds)
    {
        int experts = probs.Columns;
        int capacity = rule.Capacity(rows.Length, experts);
        if (capacity == 0)
        {
            return;
        }

        ReadOnlySpan<float> scores = probs.Data;
        Span<float> column = _column.AsSpan(0, rows.Length);
        for (int expert = 0; expert < experts; expert++)
        {
            for (int index = 0; index < rows.Length; index++)
            {
                column[index] = scores[(rows[index] * experts) + expert];
            }

            float last = RankSelection.Largest(column, capacity);
            int equal = capacity; // places for scores equal to the last
            foreach (float score in column)
            {
                equal -= score > last ? 1 : 0;
            }

            for (int index = 0; index < rows.Length; index++)
            {
                if (column[index] > last || (column[index] == last && equal-- > 0))
                {
                    expertIds[(rows[index] * experts) + expert] = expert;
                }
            }
        }
    }
}
