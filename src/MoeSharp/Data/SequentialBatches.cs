using MoeSharp.Execution;
using MoeSharp.Kernels;

namespace MoeSharp.Data;

/// <summary>Enumerates a split for evaluation: fixed order, every target once, or a fixed sample of passages where the whole is too long.</summary>
/// <remarks>
/// Segments and positions are as in <see cref="BatchLoader"/>. The last batch is filled up with rows without a target. Bits per byte are the summed
/// loss of all targets in bits, divided by <see cref="NumBytes"/>: the cost of ending documents counts, as in <see cref="NGramBaselines"/>.
/// </remarks>
public sealed class SequentialBatches
{
    private readonly TokenSplit _split;
    private readonly TokenReader _reader;
    private readonly int _sequenceLength;
    private readonly int _sequencesPerBatch;
    private readonly int[] _passages;
    private readonly int[] _firstTokens; // of the passages' documents
    private readonly int[] _tokens;
    private int _at; // index into _passages
    private long _rowInPassage;

    /// <summary>Prepares the whole split.</summary>
    /// <exception cref="ConfigurationException">A size is not positive.</exception>
    public SequentialBatches(TokenSplit split, int sequenceLength, int sequencesPerBatch)
        : this(split, sequenceLength, sequencesPerBatch, long.MaxValue)
    {
    }

    /// <summary>Prepares a sample of whole passages with at most <paramref name="maximumTargets"/> targets in all, always the same ones.</summary>
    /// <param name="split">Text.</param>
    /// <param name="sequenceLength">Rows per sequence.</param>
    /// <param name="sequencesPerBatch">Sequences per batch.</param>
    /// <param name="maximumTargets">Most targets; but at least one passage is taken.</param>
    /// <exception cref="ConfigurationException">A size is not positive.</exception>
    public SequentialBatches(TokenSplit split, int sequenceLength, int sequencesPerBatch, long maximumTargets)
    {
        if (sequenceLength < 1 || sequencesPerBatch < 1 || maximumTargets < 1)
        {
            throw new ConfigurationException($"evaluation of {sequencesPerBatch} sequences of {sequenceLength} tokens, {maximumTargets} in all, is empty; all must be at least 1");
        }

        _split = split;
        _reader = new TokenReader(split);
        _sequenceLength = sequenceLength;
        _sequencesPerBatch = sequencesPerBatch;
        _tokens = new int[sequenceLength + 1];
        _passages = Choose(split, maximumTargets);
        _firstTokens = ReadFirstTokens();
        foreach (int passage in _passages)
        {
            NumTargets += Rows(passage);
            NumBytes += split.PassageTextBytes(passage);
        }
    }

    /// <summary>Targets in all batches together.</summary>
    public long NumTargets { get; }

    /// <summary>Bytes of the text that the targets spell.</summary>
    public long NumBytes { get; }

    /// <summary>Batches of one enumeration.</summary>
    public long NumBatches
    {
        get
        {
            long rows = (long)_sequenceLength * _sequencesPerBatch;
            return (NumTargets + rows - 1) / rows;
        }
    }

    /// <summary>Starts again.</summary>
    public void Reset()
    {
        _at = 0;
        _rowInPassage = 0;
    }

    /// <summary>Fills the next batch. Allocates nothing once the batch has had its size.</summary>
    /// <returns>False when all targets have been handed out; the batch is then left alone.</returns>
    public bool Next(TokenBatch batch)
    {
        SkipExhausted();
        if (_at == _passages.Length)
        {
            return false;
        }

        batch.Resize(_sequenceLength * _sequencesPerBatch, _sequenceLength);
        for (int sequence = 0; sequence < _sequencesPerBatch; sequence++)
        {
            FillSequence(batch, sequence * _sequenceLength);
        }

        return true;
    }

    private static int[] Choose(TokenSplit split, long maximumTargets)
    {
        if (split.NumTargets <= maximumTargets)
        {
            return Enumerable.Range(0, split.NumPassages).ToArray();
        }

        int[] order = Enumerable.Range(0, split.NumPassages).ToArray();
        Array.Sort(Array.ConvertAll(order, passage => SplitMix64.Mix((ulong)passage)), order); // a fixed sample from everywhere
        List<int> chosen = [];
        long targets = 0;
        foreach (int passage in order)
        {
            long more = split.PassageEnd(passage) - split.PassageBegin(passage);
            if (targets + more <= maximumTargets)
            {
                chosen.Add(passage);
                targets += more;
            }
        }

        if (chosen.Count == 0)
        {
            chosen.Add(order[0]);
        }

        chosen.Sort();
        return [.. chosen];
    }

    private int[] ReadFirstTokens()
    {
        int[] tokens = new int[_passages.Length];
        int begin = 0; // passage that begins the document
        int at = 0;
        for (int passage = 0; at < _passages.Length; passage++)
        {
            begin = _split.BeginsDocument(passage) ? passage : begin;
            if (passage == _passages[at])
            {
                _reader.Read(_split.PassageBegin(begin), tokens.AsSpan(at++, 1));
            }
        }

        return tokens;
    }

    /// <summary>Rows whose targets are the passage's tokens; the first token of a document is no target.</summary>
    private long Rows(int passage) => _split.PassageEnd(passage) - FirstRow(passage) - 1;

    /// <summary>The input token of the passage's first target.</summary>
    private long FirstRow(int passage) => _split.PassageBegin(passage) - (_split.BeginsDocument(passage) ? 0 : 1);

    private void SkipExhausted()
    {
        while (_at < _passages.Length && _rowInPassage == Rows(_passages[_at]))
        {
            _at++;
            _rowInPassage = 0;
        }
    }

    private void FillSequence(TokenBatch batch, int begin)
    {
        int filled = 0;
        for (SkipExhausted(); filled < _sequenceLength && _at < _passages.Length; SkipExhausted())
        {
            int passage = _passages[_at];
            int count = (int)Math.Min(_sequenceLength - filled, Rows(passage) - _rowInPassage);
            Span<int> tokens = _tokens.AsSpan(0, count + 1);
            _reader.Read(FirstRow(passage) + _rowInPassage, tokens);
            int at = begin + filled;
            tokens[..count].CopyTo(batch.TokenIds[at..]);
            tokens[1..].CopyTo(batch.Targets[at..]);
            batch.AddSegment(new AttentionSegment(at, count, at, count), 0, _firstTokens[_at]);
            filled += count;
            _rowInPassage += count;
        }

        if (filled < _sequenceLength)
        {
            int at = begin + filled;
            int count = _sequenceLength - filled;
            batch.TokenIds.Slice(at, count).Clear();
            batch.AddSegment(new AttentionSegment(at, count, at, count), 0); // rows without targets, apart from all text
        }
    }
}
