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
    private const int Gap = 17; // floats between columns: without it columns of 2^n tokens would share few cache lines

    private float[] _columns = []; // scores of a group by expert, [experts, tokens and gap]
    private float[] _lasts = []; // lowest score that each expert takes
    private int[] _taken = []; // tokens that each expert has taken
    private int[] _rows = []; // real rows of a group

    /// <inheritdoc/>
    public RoutingPlan Route(Tensor x, ForwardContext context)
    {
        Tensor logits = projection.Forward(x, context); // [tokens, experts]
        Tensor probs = Op.Softmax(logits, out _, context); // [tokens, experts]
        int[] expertIds = context.Indices.Rent(probs.Data.Length);
        Choose(probs, context.Batch, expertIds.AsSpan(0, probs.Data.Length));
        Tensor weights = Op.KeepScores(probs, expertIds, scale, context); // [tokens, experts]
        return new RoutingPlan(probs.Columns, expertIds, weights, null); // loads are equal by definition: no balance loss has anything to act on
    }

    private void Choose(Tensor probs, TokenBatch batch, Span<int> expertIds)
    {
        Array.Resize(ref _rows, Math.Max(_rows.Length, probs.Rows));
        Array.Resize(ref _columns, Math.Max(_columns.Length, probs.Columns * (probs.Rows + Gap)));
        Array.Resize(ref _lasts, Math.Max(_lasts.Length, probs.Columns));
        Array.Resize(ref _taken, Math.Max(_taken.Length, probs.Columns));
        expertIds.Fill(-1);
        int groups = rule.IsPerSequence ? batch.NumSequences : 1;
        for (int group = 0; group < groups; group++)
        {
            (int begin, int count) = rule.IsPerSequence ? batch.Sequence(group) : (0, probs.Rows);
            ReadOnlySpan<int> rows = RealRows(batch, begin, count);
            int capacity = rule.Capacity(rows.Length, probs.Columns);
            if (capacity > 0)
            {
                FindLast(probs, rows, capacity);
                Take(probs, rows, expertIds);
                ReturnTies(probs, rows, capacity, expertIds);
            }
        }
    }

    private ReadOnlySpan<int> RealRows(TokenBatch batch, int begin, int count)
    {
        ReadOnlySpan<bool> isPadding = batch.IsPadding;
        int real = 0;
        for (int row = begin; row < begin + count; row++)
        {
            _rows[real] = row;
            real += isPadding.Length > 0 && isPadding[row] ? 0 : 1;
        }

        return _rows.AsSpan(0, real);
    }

    // The score of the last token for which each expert has room.
    private void FindLast(Tensor probs, ReadOnlySpan<int> rows, int capacity)
    {
        int experts = probs.Columns;
        ReadOnlySpan<float> scores = probs.Data;
        Span<float> columns = _columns;
        int stride = rows.Length + Gap;
        for (int index = 0; index < rows.Length; index++)
        {
            ReadOnlySpan<float> row = scores.Slice(rows[index] * experts, experts);
            for (int expert = 0, at = index; expert < row.Length; expert++, at += stride)
            {
                columns[at] = row[expert];
            }
        }

        for (int expert = 0; expert < experts; expert++)
        {
            _lasts[expert] = RankSelection.Largest(columns.Slice(expert * stride, rows.Length), capacity);
        }
    }

    private void Take(Tensor probs, ReadOnlySpan<int> rows, Span<int> expertIds)
    {
        int experts = probs.Columns;
        ReadOnlySpan<float> scores = probs.Data;
        ReadOnlySpan<float> lasts = _lasts.AsSpan(0, experts);
        Span<int> taken = _taken.AsSpan(0, experts);
        taken.Clear();
        foreach (int row in rows)
        {
            ReadOnlySpan<float> values = scores.Slice(row * experts, experts);
            Span<int> chosen = expertIds.Slice(row * experts, experts);
            for (int expert = 0; expert < values.Length; expert++)
            {
                int isTaken = values[expert] >= lasts[expert] ? -1 : 0; // all bits: no branch, because half of them would be guessed wrong
                chosen[expert] = (expert & isTaken) | ~isTaken;
                taken[expert] -= isTaken;
            }
        }
    }

    // Where several tokens have the last score, the later ones find no room.
    private void ReturnTies(Tensor probs, ReadOnlySpan<int> rows, int capacity, Span<int> expertIds)
    {
        int experts = probs.Columns;
        for (int expert = 0; expert < experts; expert++)
        {
            for (int index = rows.Length - 1; index >= 0 && _taken[expert] > capacity; index--)
            {
                int slot = (rows[index] * experts) + expert;
                if (probs.Data[slot] == _lasts[expert])
                {
                    expertIds[slot] = -1;
                    _taken[expert]--;
                }
            }
        }
    }
}
