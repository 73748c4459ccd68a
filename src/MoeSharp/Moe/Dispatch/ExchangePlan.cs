namespace MoeSharp.Moe.Dispatch;

/// <summary>What every rank sends to every other when experts are spread over ranks: the counts of an all-to-all, and the order in which rows leave.</summary>
/// <remarks>Rows leave sorted by destination, expert, token, slot: each receiver gets rows of one sender that are already grouped by its experts.</remarks>
public sealed class ExchangePlan
{
    private readonly int[,] _sendCounts; // [from, to] rows
    private readonly int[,] _tokenSendCounts; // [from, to] tokens, each once per destination
    private readonly int[,] _expertCounts; // [from, expert]
    private readonly int[][] _sendOrder; // [from] slots
    private readonly int[] _ranksPerToken;

    /// <summary>Plans an exchange.</summary>
    /// <param name="expertIds">Expert of each slot of all ranks' tokens, rank by rank; negative for none, [tokens * topK].</param>
    /// <param name="topK">Slots per token.</param>
    /// <param name="tokensPerRank">Tokens of each rank; they sum to the tokens.</param>
    /// <param name="expertRank">Rank of each expert.</param>
    public ExchangePlan(ReadOnlySpan<int> expertIds, int topK, ReadOnlySpan<int> tokensPerRank, ReadOnlySpan<int> expertRank)
    {
        NumRanks = tokensPerRank.Length;
        (_sendCounts, _tokenSendCounts, _expertCounts) = (new int[NumRanks, NumRanks], new int[NumRanks, NumRanks], new int[NumRanks, expertRank.Length]);
        (_sendOrder, _ranksPerToken) = (new int[NumRanks][], new int[expertIds.Length / topK]);
        int[] ranks = expertRank.ToArray();
        int[] ids = expertIds.ToArray();
        int first = 0;
        for (int from = 0; from < NumRanks; from++)
        {
            int end = first + tokensPerRank[from];
            for (int token = first; token < end; token++)
            {
                CountToken(from, token, expertIds.Slice(token * topK, topK), expertRank);
            }

            _sendOrder[from] = [.. Enumerable.Range(first * topK, (end - first) * topK).Where(slot => ids[slot] >= 0).OrderBy(slot => ranks[ids[slot]]).ThenBy(slot => ids[slot])]; // stable: then by slot
            first = end;
        }
    }

    /// <summary>Ranks.</summary>
    public int NumRanks { get; }

    /// <summary>Destinations of each token.</summary>
    public IReadOnlyList<int> RanksPerToken => _ranksPerToken;

    /// <summary>Rows that one rank sends to another.</summary>
    public int SendCount(int from, int to) => _sendCounts[from, to];

    /// <summary>First row for a destination among those that a rank sends.</summary>
    public int SendDisplacement(int from, int to) => Enumerable.Range(0, to).Sum(earlier => _sendCounts[from, earlier]);

    /// <summary>First row from a sender among those that a rank receives.</summary>
    public int ReceiveDisplacement(int to, int from) => Enumerable.Range(0, from).Sum(earlier => _sendCounts[earlier, to]);

    /// <summary>Tokens that one rank sends to another when each crosses once, however many of its experts are there.</summary>
    public int TokenSendCount(int from, int to) => _tokenSendCounts[from, to];

    /// <summary>Rows of one rank for an expert.</summary>
    public int ExpertCount(int from, int expert) => _expertCounts[from, expert];

    /// <summary>Slots that a rank sends, in order; numbered over all ranks.</summary>
    public IReadOnlyList<int> SendOrder(int from) => _sendOrder[from];

    /// <summary>Rows whose expert is on another rank than their token.</summary>
    public int NumRowsLeaving
    {
        get
        {
            int rows = 0;
            for (int from = 0; from < NumRanks; from++)
            {
                for (int to = 0; to < NumRanks; to++)
                {
                    rows += from == to ? 0 : _sendCounts[from, to];
                }
            }

            return rows;
        }
    }

    private void CountToken(int from, int token, ReadOnlySpan<int> chosen, ReadOnlySpan<int> expertRank)
    {
        for (int slot = 0; slot < chosen.Length; slot++)
        {
            if (chosen[slot] < 0)
            {
                continue;
            }

            int to = expertRank[chosen[slot]];
            _sendCounts[from, to]++;
            _expertCounts[from, chosen[slot]]++;
            bool isNew = true;
            foreach (int earlier in chosen[..slot])
            {
                isNew &= earlier < 0 || expertRank[earlier] != to;
            }

            if (isNew)
            {
                _tokenSendCounts[from, to]++;
                _ranksPerToken[token]++;
            }
        }
    }
}
