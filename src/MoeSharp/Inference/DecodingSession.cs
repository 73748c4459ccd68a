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
    private readonly KeyValueCache _cache;
    private readonly ForwardContext _context;
    private readonly TokenBatch _batch = new();
    private readonly float[] _logits; // [vocab]
    private readonly int _chunkSize;

    /// <summary>Allocates the cache.</summary>
    /// <param name="model">Model; not owned.</param>
    /// <param name="capacity">Most tokens of the sequence.</param>
    /// <param name="chunkSize">Most tokens that go through the model at once while reading; bounds the memory of a pass.</param>
    /// <param name="workers">Workers; not owned.</param>
    public DecodingSession(LanguageModel model, int capacity, int chunkSize, WorkerPool workers)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(capacity, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(chunkSize, 1);
        _model = model;
        _chunkSize = chunkSize;
        _cache = new KeyValueCache(model.Config.NumHiddenLayers, capacity);
        _context = new ForwardContext(workers) { Cache = _cache };
        _logits = new float[model.Config.VocabSize];
    }

    /// <summary>Tokens read so far.</summary>
    public int Length => _cache.Length;

    /// <summary>Most tokens of the sequence.</summary>
    public int Capacity => _cache.Capacity;

    /// <summary>Logits of the token after the last one read, [vocab]; valid until the next append.</summary>
    public ReadOnlySpan<float> Logits => _logits;

    /// <summary>Reads tokens and computes the logits of the one that comes next.</summary>
    /// <param name="ids">Tokens; at least one.</param>
    /// <param name="cancellation">Checked between chunks.</param>
    /// <exception cref="ConfigurationException">They do not fit, or one is outside the vocabulary.</exception>
    public void Append(ReadOnlySpan<int> ids, CancellationToken cancellation = default)
    {
        ArgumentOutOfRangeException.ThrowIfZero(ids.Length);
        if (ids.Length > Capacity - Length)
        {
            throw new ConfigurationException($"{Length} + {ids.Length} tokens do not fit the {Capacity} that this text has room for");
        }

        for (int done = 0; done < ids.Length; done += _chunkSize)
        {
            cancellation.ThrowIfCancellationRequested();
            ReadOnlySpan<int> chunk = ids.Slice(done, Math.Min(_chunkSize, ids.Length - done));
            bool isLast = done + chunk.Length == ids.Length;
            _batch.Resize(chunk.Length, chunk.Length);
            _batch.AddSegment(new AttentionSegment(0, chunk.Length, 0, Length + chunk.Length), Length);
            chunk.CopyTo(_batch.TokenIds);
            _model.Logits(_batch, isLast ? 1 : 0, isLast ? _logits : [], _context);
            _cache.Length += chunk.Length;
        }
    }

    /// <summary>Reads one token.</summary>
    public void Append(int id) => Append(new ReadOnlySpan<int>(in id));

    /// <inheritdoc/>
    public void Dispose()
    {
        _context.Dispose();
        _cache.Dispose();
    }
}
