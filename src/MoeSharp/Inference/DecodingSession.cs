using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;

namespace MoeSharp.Inference;

/// <summary>One sequence being read and continued: its cache, and the logits of the token that comes next.</summary>
/// <remarks>
/// The logits after a token are the same bits whether the tokens before it came one by one, in chunks, or in one pass without a cache.
/// Appending one token allocates nothing on the garbage-collected heap once the buffers have grown.
/// </remarks>
public sealed class DecodingSession : IDisposable
{
    private readonly LanguageModel _model;
    private readonly KeyValuePages _pages;
    private readonly CachedSequence _sequence;
    private readonly ForwardContext _context;
    private readonly TokenBatch _batch = new();
    private readonly float[] _logits; // [vocab]
    private readonly int _chunkSize;
    private CancellationToken _cancellation;

    /// <summary>Makes an empty session; the cache grows with the sequence.</summary>
    /// <param name="model">Model; not owned.</param>
    /// <param name="capacity">Most tokens of the sequence.</param>
    /// <param name="chunkSize">Most tokens that go through the model at once while reading; bounds the memory of a pass.</param>
    /// <param name="workers">Workers; not owned.</param>
    /// <exception cref="ConfigurationException">The model cannot continue a text; see <see cref="DecodingLimits"/>.</exception>
    public DecodingSession(LanguageModel model, int capacity, int chunkSize, WorkerPool workers)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(capacity, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(chunkSize, 1);
        DecodingLimits.Require(model.Config);
        _model = model;
        _chunkSize = chunkSize;
        Capacity = capacity;
        _pages = KeyValuePages.ForOneSequence(ModelCacheLayout.Of(model), capacity);
        _sequence = new CachedSequence(_pages);
        _context = new ForwardContext(workers) { Sequences = [_sequence], IsGivenUp = () => _cancellation.IsCancellationRequested };
        _logits = new float[model.Config.VocabSize];
    }

    /// <summary>Tokens read so far.</summary>
    public int Length => _sequence.Length;

    /// <summary>Most tokens of the sequence.</summary>
    public int Capacity { get; }

    /// <summary>Logits of the token after the last one read, [vocab]; valid until the next append.</summary>
    public ReadOnlySpan<float> Logits => _logits;

    /// <summary>Reads tokens and computes the logits of the one that comes next.</summary>
    /// <param name="ids">Tokens; at least one.</param>
    /// <param name="cancellation">Checked between layers; the chunk in progress is then not part of the sequence.</param>
    /// <exception cref="ConfigurationException">They do not fit, or one is outside the vocabulary.</exception>
    public void Append(ReadOnlySpan<int> ids, CancellationToken cancellation = default)
    {
        ArgumentOutOfRangeException.ThrowIfZero(ids.Length);
        CheckRoom(ids.Length);
        _cancellation = cancellation;
        for (int done = 0; done < ids.Length; done += _chunkSize)
        {
            ReadOnlySpan<int> chunk = ids.Slice(done, Math.Min(_chunkSize, ids.Length - done));
            bool isLast = done + chunk.Length == ids.Length;
            Pass(chunk, isLast ? 1 : 0, isLast ? _logits : []);
        }
    }

    /// <summary>Reads one token.</summary>
    public void Append(int id) => Append(new ReadOnlySpan<int>(in id));

    /// <summary>Reads tokens in one pass and computes the logits after each of them.</summary>
    /// <param name="ids">Tokens; at least one.</param>
    /// <param name="logits">= logits, [ids, vocab].</param>
    /// <param name="cancellation">Checked between layers.</param>
    /// <exception cref="ConfigurationException">They do not fit, or one is outside the vocabulary.</exception>
    public void AppendAll(ReadOnlySpan<int> ids, Span<float> logits, CancellationToken cancellation = default)
    {
        ArgumentOutOfRangeException.ThrowIfZero(ids.Length);
        CheckRoom(ids.Length);
        _cancellation = cancellation;
        Pass(ids, ids.Length, logits);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _context.Dispose();
        _sequence.Dispose();
        _pages.Dispose();
    }

    private void CheckRoom(int count)
    {
        if (count > Capacity - Length)
        {
            throw new ConfigurationException($"{Length} + {count} tokens do not fit the {Capacity} that this text has room for");
        }
    }

    private void Pass(ReadOnlySpan<int> ids, int lastRows, Span<float> logits)
    {
        _sequence.Reserve(ids.Length);
        _batch.Clear();
        _batch.AddContinuation(_sequence, ids);
        _model.Logits(_batch, lastRows, logits, _context);
        _sequence.Advance(ids);
    }
}
