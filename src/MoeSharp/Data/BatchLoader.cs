using MoeSharp.Execution;
using MoeSharp.Kernels;

namespace MoeSharp.Data;

/// <summary>Hands out training batches: every token of the split once per epoch, in an order that depends only on seed and epoch.</summary>
/// <remarks>
/// Documents are cut into stretches of at most a sequence (the first of a long document at a random place, so that the cuts differ between epochs),
/// the stretches are shuffled and laid end to end, and sequences are cut from that. Each stretch is an attention segment with positions from 0;
/// one that does not fit goes on in the next sequence as a new segment. A row's target is the next token of its own document. A batch may
/// reach into the next epoch. A row is an input token with its target, so the last token of a document is only ever a target.
/// </remarks>
public sealed class BatchLoader : ITrainingBatches
{
    private const ulong CutStream = 0xC07; // arbitrary: keeps the cuts' random numbers apart from the shuffle's

    private readonly TokenSplit _split;
    private readonly TokenReader _reader;
    private readonly int _sequenceLength;
    private readonly int _sequencesPerBatch;
    private readonly ulong _seed;
    private readonly Stretch[] _stretches;
    private readonly int[] _tokens; // input rows of one segment and the target of the last
    private long _epoch;
    private long _row;
    private int _numStretches;
    private int _stretch; // the one being handed out
    private int _stretchRow; // rows of it already handed out

    /// <summary>Prepares the first epoch.</summary>
    /// <param name="split">Training text.</param>
    /// <param name="sequenceLength">Rows per sequence.</param>
    /// <param name="sequencesPerBatch">Sequences per batch.</param>
    /// <param name="seed">Chooses the order.</param>
    /// <exception cref="ConfigurationException">A size is not positive, or the split has nothing to predict.</exception>
    public BatchLoader(TokenSplit split, int sequenceLength, int sequencesPerBatch, ulong seed)
    {
        if (sequenceLength < 1 || sequencesPerBatch < 1)
        {
            throw new ConfigurationException($"a batch of {sequencesPerBatch} sequences of {sequenceLength} tokens is empty; both must be at least 1");
        }

        if (split.NumTargets < 1)
        {
            throw new ConfigurationException("the training text has nothing to predict; give more text");
        }

        _split = split;
        _reader = new TokenReader(split);
        _sequenceLength = sequenceLength;
        _sequencesPerBatch = sequencesPerBatch;
        _seed = seed;
        _tokens = new int[sequenceLength + 1];
        _stretches = new Stretch[MaximumStretches(split, sequenceLength)];
        StartEpoch(0);
    }

    /// <summary>Prepares the first epoch of a dataset's training split.</summary>
    /// <exception cref="ConfigurationException">A size is not positive, or the split has nothing to predict.</exception>
    public BatchLoader(TokenDataset dataset, int sequenceLength, int sequencesPerBatch, ulong seed)
        : this(dataset.Train, sequenceLength, sequencesPerBatch, seed)
    {
    }

    /// <summary>Rows in one pass over the text.</summary>
    public long RowsPerEpoch => _split.NumTargets;

    /// <inheritdoc/>
    public int RowsPerBatch => _sequenceLength * _sequencesPerBatch;

    /// <inheritdoc/>
    public int TargetsPerBatch => RowsPerBatch;

    /// <inheritdoc/>
    public LoaderPosition Position
    {
        get => new(_epoch, _row);
        set
        {
            if (value.Epoch < 0 || value.Row < 0 || value.Row > RowsPerEpoch)
            {
                throw new ConfigurationException($"data position epoch {value.Epoch}, row {value.Row} is outside a text of {RowsPerEpoch} rows; the checkpoint belongs to other data");
            }

            StartEpoch(value.Epoch);
            Skip(value.Row);
        }
    }

    /// <inheritdoc/>
    public void Next(TokenBatch batch)
    {
        batch.Resize(RowsPerBatch, _sequenceLength);
        for (int sequence = 0; sequence < _sequencesPerBatch; sequence++)
        {
            FillSequence(batch, sequence * _sequenceLength);
        }
    }

    private static long MaximumStretches(TokenSplit split, int sequenceLength)
    {
        long count = 0;
        for (int passage = 0; passage < split.NumPassages; passage = split.EndOfDocument(passage))
        {
            long rows = split.PassageEnd(split.EndOfDocument(passage) - 1) - split.PassageBegin(passage) - 1;
            count += (rows / sequenceLength) + 2; // one more than without a random first cut
        }

        return count;
    }

    private void FillSequence(TokenBatch batch, int begin)
    {
        int filled = 0;
        while (filled < _sequenceLength)
        {
            if (_stretch == _numStretches)
            {
                StartEpoch(_epoch + 1);
            }

            Stretch stretch = _stretches[_stretch];
            int count = Math.Min(_sequenceLength - filled, stretch.Rows - _stretchRow);
            Span<int> tokens = _tokens.AsSpan(0, count + 1);
            _reader.Read(stretch.Begin + _stretchRow, tokens);
            int at = begin + filled;
            tokens[..count].CopyTo(batch.TokenIds[at..]);
            tokens[1..].CopyTo(batch.Targets[at..]);
            batch.AddSegment(new AttentionSegment(at, count, at, count), 0, stretch.FirstToken);
            filled += count;
            Advance(count);
        }
    }

    private void Advance(int rows)
    {
        _row += rows;
        _stretchRow += rows;
        if (_stretchRow == _stretches[_stretch].Rows)
        {
            _stretch++;
            _stretchRow = 0;
        }
    }

    private void Skip(long rows)
    {
        while (rows > 0)
        {
            int step = (int)Math.Min(rows, _stretches[_stretch].Rows - _stretchRow);
            Advance(step);
            rows -= step;
        }
    }

    private void StartEpoch(long epoch)
    {
        _epoch = epoch;
        _row = 0;
        _stretch = 0;
        _stretchRow = 0;
        _numStretches = 0;
        SplitMix64 cuts = new(_seed ^ CutStream, (ulong)epoch);
        for (int passage = 0; passage < _split.NumPassages;)
        {
            int end = _split.EndOfDocument(passage);
            CutDocument(_split.PassageBegin(passage), _split.PassageEnd(end - 1) - 1, ref cuts);
            passage = end;
        }

        SplitMix64 order = new(_seed, (ulong)epoch);
        order.Shuffle(_stretches.AsSpan(0, _numStretches));
    }

    /// <summary>Adds the stretches of the rows from <paramref name="begin"/> to <paramref name="end"/> (exclusive).</summary>
    private void CutDocument(long begin, long end, ref SplitMix64 cuts)
    {
        int length = end - begin > _sequenceLength ? cuts.Between(1, _sequenceLength) : _sequenceLength;
        Span<int> firstToken = _tokens.AsSpan(0, 1);
        _reader.Read(begin, firstToken);
        while (begin < end)
        {
            int rows = (int)Math.Min(length, end - begin);
            _stretches[_numStretches++] = new Stretch(begin, rows, firstToken[0]);
            begin += rows;
            length = _sequenceLength;
        }
    }

    /// <summary>Consecutive rows of one document, and the token that it begins with.</summary>
    private readonly record struct Stretch(long Begin, int Rows, int FirstToken);
}
