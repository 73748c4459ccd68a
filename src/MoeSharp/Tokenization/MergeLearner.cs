namespace MoeSharp.Tokenization;

/// <summary>A pair of ids that became one.</summary>
/// <param name="Left">Left id.</param>
/// <param name="Right">Right id.</param>
internal readonly record struct LearnedMerge(int Left, int Right);

/// <summary>
/// Finds the merges of byte-pair encoding over counted pieces. Pair counts are kept up to date merge by merge, and each pair knows the
/// pieces it may be in, so a merge costs the pieces it changes and not the text.
/// </summary>
internal sealed class MergeLearner
{
    private readonly int[][] _symbols;
    private readonly int[] _lengths;
    private readonly List<long> _counts;
    private readonly int _firstByteId;
    private readonly List<byte[]> _tokens = [];
    private readonly Dictionary<byte[], int> _idOfToken = new(new ByteStringComparer());
    private readonly HashSet<byte[]> _forbidden;
    private readonly Dictionary<LearnedMerge, PairUse> _pairs = [];
    private readonly PriorityQueue<LearnedMerge, Candidate> _queue = new();

    /// <summary>Spells every piece in bytes and counts all pairs.</summary>
    /// <param name="counts">Pieces and their counts.</param>
    /// <param name="firstByteId">Id of byte 0; merges take ids from 256 above on.</param>
    /// <param name="forbidden">Bytes that no token may spell: those of the special tokens.</param>
    public MergeLearner(PieceCounts counts, int firstByteId, IEnumerable<byte[]> forbidden)
    {
        _counts = counts.Counts;
        _firstByteId = firstByteId;
        _forbidden = new HashSet<byte[]>(forbidden, new ByteStringComparer());
        for (int value = 0; value < 256; value++)
        {
            _tokens.Add([(byte)value]);
            _idOfToken.Add(_tokens[value], firstByteId + value);
        }

        _symbols = new int[counts.Pieces.Count][];
        _lengths = new int[_symbols.Length];
        for (int piece = 0; piece < _symbols.Length; piece++)
        {
            byte[] bytes = counts.Pieces[piece];
            int[] symbols = new int[bytes.Length];
            for (int index = 0; index < symbols.Length; index++)
            {
                symbols[index] = firstByteId + bytes[index];
            }

            _symbols[piece] = symbols;
            _lengths[piece] = symbols.Length;
            for (int index = 0; index + 1 < symbols.Length; index++)
            {
                Increase(new LearnedMerge(symbols[index], symbols[index + 1]), piece);
            }
        }

        foreach ((LearnedMerge pair, PairUse use) in _pairs)
        {
            _queue.Enqueue(pair, new Candidate(use.Count, pair));
        }
    }

    /// <summary>The bytes of every token: the 256 bytes, then what was learned.</summary>
    public IReadOnlyList<byte[]> Tokens => _tokens;

    /// <summary>Learns up to a number of tokens, the most frequent pair first.</summary>
    /// <returns>The merges in order. Two merges may spell the same token, which then has one id.</returns>
    public List<LearnedMerge> Learn(int numTokens, int minPairCount)
    {
        List<LearnedMerge> merges = [];
        HashSet<LearnedMerge> listed = [];
        while (_tokens.Count - 256 < numTokens && _queue.TryDequeue(out LearnedMerge pair, out Candidate candidate))
        {
            // Counts fall while a pair waits; it then waits again with its true count.
            if (!_pairs.TryGetValue(pair, out PairUse? use) || use.Count < minPairCount)
            {
                continue;
            }

            if (use.Count != candidate.Count)
            {
                _queue.Enqueue(pair, new Candidate(use.Count, pair));
                continue;
            }

            byte[] spelling = [.. _tokens[pair.Left - _firstByteId], .. _tokens[pair.Right - _firstByteId]];
            if (_forbidden.Contains(spelling))
            {
                continue;
            }

            Apply(pair, use, IdOf(spelling));
            if (listed.Add(pair))
            {
                merges.Add(pair);
            }
        }

        return merges;
    }

    private int IdOf(byte[] spelling)
    {
        if (!_idOfToken.TryGetValue(spelling, out int id))
        {
            id = _firstByteId + _tokens.Count;
            _tokens.Add(spelling);
            _idOfToken.Add(spelling, id);
        }

        return id;
    }

    private void Apply(LearnedMerge pair, PairUse use, int merged)
    {
        _pairs.Remove(pair);
        HashSet<LearnedMerge> created = [];
        foreach (int piece in use.Pieces)
        {
            MergeInPiece(pair, merged, piece, created);
        }

        foreach (LearnedMerge newPair in created)
        {
            // A pair made by one replacement may be gone after the next (the merged token twice in a row).
            if (_pairs.TryGetValue(newPair, out PairUse? newUse) && newUse.Count > 0)
            {
                _queue.Enqueue(newPair, new Candidate(newUse.Count, newPair));
            }
        }
    }

    private void MergeInPiece(LearnedMerge pair, int merged, int piece, HashSet<LearnedMerge> created)
    {
        int[] symbols = _symbols[piece];
        int length = _lengths[piece];
        int written = 0;
        for (int read = 0; read < length; read++)
        {
            if (read + 1 >= length || symbols[read] != pair.Left || symbols[read + 1] != pair.Right)
            {
                symbols[written++] = symbols[read];
                continue;
            }

            if (written > 0)
            {
                Decrease(new LearnedMerge(symbols[written - 1], pair.Left), piece);
                Create(new LearnedMerge(symbols[written - 1], merged), piece, created);
            }

            if (read + 2 < length)
            {
                Decrease(new LearnedMerge(pair.Right, symbols[read + 2]), piece);
                Create(new LearnedMerge(merged, symbols[read + 2]), piece, created);
            }

            symbols[written++] = merged;
            read++;
        }

        _lengths[piece] = written;
    }

    private void Create(LearnedMerge pair, int piece, HashSet<LearnedMerge> created)
    {
        Increase(pair, piece);
        created.Add(pair);
    }

    private void Increase(LearnedMerge pair, int piece)
    {
        if (!_pairs.TryGetValue(pair, out PairUse? use))
        {
            use = new PairUse();
            _pairs.Add(pair, use);
        }

        use.Count += _counts[piece];
        if (use.Pieces.Count == 0 || use.Pieces[^1] != piece)
        {
            use.Pieces.Add(piece);
        }
    }

    private void Decrease(LearnedMerge pair, int piece)
    {
        // The pair being merged was removed as a whole.
        if (_pairs.TryGetValue(pair, out PairUse? use))
        {
            use.Count -= _counts[piece];
        }
    }

    private sealed class PairUse
    {
        public long Count { get; set; }

        public List<int> Pieces { get; } = [];
    }

    private readonly record struct Candidate(long Count, LearnedMerge Pair) : IComparable<Candidate>
    {
        // The queue takes the smallest first: higher counts, then smaller left ids, then smaller right ids.
        public int CompareTo(Candidate other)
        {
            int order = other.Count.CompareTo(Count);
            order = order != 0 ? order : Pair.Left.CompareTo(other.Pair.Left);
            return order != 0 ? order : Pair.Right.CompareTo(other.Pair.Right);
        }
    }
}
