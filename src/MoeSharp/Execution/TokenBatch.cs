using MoeSharp.Kernels;

namespace MoeSharp.Execution;

/// <summary>The rows that go through the model in one forward pass: token ids with their positions, targets and sequences.</summary>
/// <remarks>Buffers are kept between fills, so that a training step allocates nothing.</remarks>
public sealed class TokenBatch
{
    private int[] _tokenIds = [];
    private int[] _targets = [];
    private int[] _positions = [];
    private AttentionSegment[] _segments = [];
    private int[] _firstTokens = []; // of the segments' documents
    private bool[] _isPadding = [];
    private int[] _sequenceEnds = []; // of unequal sequences
    private int[] _taskIds = [];
    private int _numUnequal;
    private int _numTaskIds;

    /// <summary>Number of rows.</summary>
    public int Count { get; private set; }

    /// <summary>Rows per training sequence, the unit of the sequence-wise balance loss; <see cref="Count"/> is a multiple of it.</summary>
    public int SequenceLength { get; private set; }

    /// <summary>Whether any row is padding.</summary>
    public bool HasPadding { get; private set; }

    /// <summary>Rows that only fill up a sequence, where there are any: they count in no loss, no capacity and no statistic. Empty without padding.</summary>
    public ReadOnlySpan<bool> IsPadding => HasPadding ? _isPadding.AsSpan(0, Count) : [];

    /// <summary>Number of training sequences that the rows consist of, padding included; at least 1.</summary>
    public int NumSequences => _numUnequal > 0 ? _numUnequal : SequenceLength > 0 && Count % SequenceLength == 0 ? Math.Max(1, Count / SequenceLength) : 1;

    /// <summary>Task of each of the <see cref="NumSequences"/> sequences, for routers by task; empty when nobody has said.</summary>
    public ReadOnlySpan<int> TaskIds => _taskIds.AsSpan(0, _numTaskIds);

    /// <summary>Number of attention segments in use.</summary>
    public int NumSegments { get; private set; }

    /// <summary>Token of each row.</summary>
    public Span<int> TokenIds => _tokenIds.AsSpan(0, Count);

    /// <summary>Next token of each row; -1 where none is asked for.</summary>
    public Span<int> Targets => _targets.AsSpan(0, Count);

    /// <summary>Position of each row in its document.</summary>
    public Span<int> Positions => _positions.AsSpan(0, Count);

    /// <summary>Documents: rows attend within their own segment only.</summary>
    public ReadOnlySpan<AttentionSegment> Segments => _segments.AsSpan(0, NumSegments);

    /// <summary>Token that the document of each segment begins with, which may stand in an earlier batch; -1 where nobody has said.</summary>
    public ReadOnlySpan<int> FirstTokens => _firstTokens.AsSpan(0, NumSegments);

    /// <summary>Rows of one of the <see cref="NumSequences"/> sequences.</summary>
    /// <param name="index">Which.</param>
    /// <returns>First row and number of rows.</returns>
    public (int Begin, int Count) Sequence(int index)
    {
        if (_numUnequal == 0)
        {
            int length = Count / NumSequences;
            return (index * length, length);
        }

        int begin = index == 0 ? 0 : _sequenceEnds[index - 1];
        return (begin, _sequenceEnds[index] - begin);
    }

    /// <summary>Declares sequences of unequal length.</summary>
    /// <param name="lengths">Rows of each, in order; they sum to <see cref="Count"/>.</param>
    public void SetSequences(ReadOnlySpan<int> lengths)
    {
        if (_sequenceEnds.Length < lengths.Length)
        {
            _sequenceEnds = new int[lengths.Length];
        }

        int end = 0;
        for (int index = 0; index < lengths.Length; index++)
        {
            _sequenceEnds[index] = end += lengths[index];
        }

        if (end != Count)
        {
            throw new ArgumentException($"the sequences have {end} rows together, the batch has {Count}", nameof(lengths));
        }

        (_numUnequal, SequenceLength) = (lengths.Length, 0);
    }

    /// <summary>Says which task each sequence is of.</summary>
    /// <param name="taskIds">One per sequence, from 0.</param>
    public void SetTaskIds(ReadOnlySpan<int> taskIds)
    {
        if (taskIds.Length != NumSequences)
        {
            throw new ArgumentException($"{taskIds.Length} tasks for {NumSequences} sequences", nameof(taskIds));
        }

        if (_taskIds.Length < taskIds.Length)
        {
            _taskIds = new int[taskIds.Length];
        }

        taskIds.CopyTo(_taskIds);
        _numTaskIds = taskIds.Length;
    }

    /// <summary>Declares a row padding.</summary>
    public void MarkPadding(int row)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)row, (uint)Count, nameof(row));
        if (!HasPadding)
        {
            if (_isPadding.Length < Count)
            {
                _isPadding = new bool[Count];
            }

            _isPadding.AsSpan(0, Count).Clear();
            HasPadding = true;
        }

        _isPadding[row] = true;
    }

    /// <summary>The next rows in a row that are not padding.</summary>
    /// <param name="begin">Row to look from.</param>
    /// <param name="end">Row after the last to look at.</param>
    /// <returns>First row and row after the last; the same where none is left.</returns>
    public (int Begin, int End) RealRun(int begin, int end)
    {
        ReadOnlySpan<bool> isPadding = IsPadding;
        if (isPadding.Length == 0)
        {
            return (begin, end);
        }

        while (begin < end && isPadding[begin])
        {
            begin++;
        }

        int last = begin;
        while (last < end && !isPadding[last])
        {
            last++;
        }

        return (begin, last);
    }

    /// <summary>Number of rows that are not padding.</summary>
    public int CountReal()
    {
        int count = Count;
        foreach (bool isPadding in IsPadding)
        {
            count -= isPadding ? 1 : 0;
        }

        return count;
    }

    /// <summary>Number of rows that have a target.</summary>
    public int CountTargets()
    {
        int count = 0;
        foreach (int target in Targets)
        {
            count += target >= 0 ? 1 : 0;
        }

        return count;
    }

    /// <summary>Pairs of a query and a key that it sees: what attention computes.</summary>
    public long CountAttentionPairs()
    {
        long pairs = 0;
        foreach (AttentionSegment segment in Segments)
        {
            long queries = segment.QueryCount;
            pairs += (queries * (segment.KeyCount - segment.QueryCount)) + (queries * (queries + 1) / 2);
        }

        return pairs;
    }

    /// <summary>Sets the size; contents are undefined, targets -1, no segments.</summary>
    public void Resize(int count, int sequenceLength)
    {
        if (_tokenIds.Length < count)
        {
            _tokenIds = new int[count];
            _targets = new int[count];
            _positions = new int[count];
        }

        Count = count;
        SequenceLength = sequenceLength;
        NumSegments = 0;
        (HasPadding, _numUnequal, _numTaskIds) = (false, 0, 0);
        Targets.Fill(-1);
    }

    /// <summary>Adds a segment and numbers its rows' positions.</summary>
    /// <param name="segment">Rows of one document.</param>
    /// <param name="firstPosition">Position of the first.</param>
    /// <param name="firstToken">Token that the document begins with, for routers that go by it; -1 if that is not known.</param>
    public void AddSegment(AttentionSegment segment, int firstPosition, int firstToken = -1)
    {
        if (NumSegments == _segments.Length)
        {
            Array.Resize(ref _segments, Math.Max(16, 2 * NumSegments));
            Array.Resize(ref _firstTokens, _segments.Length);
        }

        _firstTokens[NumSegments] = firstToken;
        _segments[NumSegments++] = segment;
        for (int i = 0; i < segment.QueryCount; i++)
        {
            _positions[segment.QueryBegin + i] = firstPosition + i;
        }
    }

    /// <summary>Empties the batch, keeping its memory.</summary>
    public void Clear() => Resize(0, 0);

    /// <summary>Adds rows that continue a cached sequence, as a segment of their own.</summary>
    /// <param name="sequence">The sequence; its pages are reserved.</param>
    /// <param name="ids">Its next tokens.</param>
    public void AddContinuation(CachedSequence sequence, ReadOnlySpan<int> ids)
    {
        int begin = Count;
        Grow(begin + ids.Length);
        AddSegment(new AttentionSegment(begin, ids.Length, 0, sequence.Length + ids.Length), sequence.Length);
        ids.CopyTo(TokenIds[begin..]);
    }

    /// <summary>A batch of whole sequences, each its own segment, whose targets are the next tokens (-1 at the end of each).</summary>
    public static TokenBatch FromSequences(IReadOnlyList<int[]> sequences)
    {
        TokenBatch batch = new();
        int length = sequences[0].Length;
        batch.Resize(sequences.Count * length, length);
        for (int s = 0; s < sequences.Count; s++)
        {
            if (sequences[s].Length != length)
            {
                throw new ConfigurationException($"sequence {s} has {sequences[s].Length} tokens, sequence 0 has {length}; a batch takes equal lengths");
            }

            int begin = s * length;
            batch.AddSegment(new AttentionSegment(begin, length, begin, length), 0);
            sequences[s].CopyTo(batch.TokenIds[begin..]);
            sequences[s].AsSpan(1).CopyTo(batch.Targets[begin..]);
        }

        return batch;
    }

    private void Grow(int count)
    {
        if (_tokenIds.Length < count)
        {
            int length = Math.Max(count, 2 * _tokenIds.Length);
            Array.Resize(ref _tokenIds, length);
            Array.Resize(ref _targets, length);
            Array.Resize(ref _positions, length);
        }

        _targets.AsSpan(Count, count - Count).Fill(-1);
        (Count, SequenceLength, HasPadding, _numUnequal, _numTaskIds) = (count, count, false, 0, 0);
    }
}
