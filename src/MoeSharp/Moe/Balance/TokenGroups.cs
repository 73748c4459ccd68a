using MoeSharp.Execution;

namespace MoeSharp.Moe.Balance;

/// <summary>The runs of tokens that a loss is taken over.</summary>
/// <param name="Ends">Row after the last of each group, at least <paramref name="Count"/> entries; valid until the pass ends.</param>
/// <param name="Count">Groups.</param>
/// <param name="NumMeasured">Groups that have a real token.</param>
internal readonly record struct TokenGroups(int[] Ends, int Count, int NumMeasured)
{
    /// <summary>The groups of a pass.</summary>
    public static TokenGroups Of(BalanceScope scope, ForwardContext context)
    {
        TokenBatch batch = context.Batch;
        int size = scope switch
        {
            BalanceScope.Group when context.Balance.GroupTokens > 0 && context.Balance.GroupTokens < batch.Count => context.Balance.GroupTokens,
            _ => Math.Max(1, batch.Count), // also for groups that are larger than the batch
        };
        int count = scope == BalanceScope.Sequence ? batch.NumSequences : (batch.Count + size - 1) / size;
        int[] ends = context.Indices.Rent(Math.Max(1, count));
        int measured = 0;
        for (int group = 0, begin = 0; group < count; group++)
        {
            ends[group] = scope == BalanceScope.Sequence ? EndOf(batch.Sequence(group)) : Math.Min(batch.Count, begin + size);
            measured += HasRealToken(batch.IsPadding, begin, ends[group]) ? 1 : 0;
            begin = ends[group];
        }

        return new TokenGroups(ends, count, measured);
    }

    /// <summary>First row and row after the last of a group.</summary>
    public (int Begin, int End) Range(int group) => (group == 0 ? 0 : Ends[group - 1], Ends[group]);

    private static int EndOf((int Begin, int Count) rows) => rows.Begin + rows.Count;

    private static bool HasRealToken(ReadOnlySpan<bool> isPadding, int begin, int end) =>
        end > begin && (isPadding.Length == 0 || isPadding[begin..end].Contains(false));
}
