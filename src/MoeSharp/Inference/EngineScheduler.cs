using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;

namespace MoeSharp.Inference;

/// <summary>Writes many texts with one model: every step is one pass through the model with rows of several texts. For one thread.</summary>
/// <remarks>
/// A step takes one row of every text that is being written and fills the rest of the pass with parts of prompts, oldest first. Who waits, and
/// whose turn comes, is the queue's affair (<see cref="RequestQueue"/>). When pages run out in the middle of texts, the text that came last is set
/// aside: it gives its pages back, waits in its old place, and is computed again, which gives the same bits. The oldest text is never set aside,
/// and a request that could not even run alone is refused at the door, so the engine always gets on.
/// </remarks>
internal sealed class EngineScheduler : IDisposable
{
    private readonly LanguageModel _model;
    private readonly EngineOptions _options;
    private readonly KeyValuePages _pages;
    private readonly ForwardContext _context;
    private readonly TokenBatch _batch = new();
    private readonly RequestQueue _queue;
    private readonly List<SequenceRun> _running = []; // by arrival
    private readonly List<SequenceRun> _inPass = [];
    private readonly List<CachedSequence> _sequences = []; // of the pass, by segment
    private readonly SamplerScratch _scratch; // texts draw one after the other
    private readonly int[] _logitRows;
    private readonly int _vocab;
    private float[] _logits = []; // [rows wanted, vocab]
    private int _numLogitRows;
    private volatile bool _isGivenUp; // by another thread, for good
    private (int Running, int Waiting) _reported;
    private long _arrivals;
    private long _passes;
    private long _givenUpPasses;
    private long _rows;
    private long _writtenTokens;
    private long _cachedTokens;
    private long _preemptions;

    /// <exception cref="ConfigurationException">A limit is out of range.</exception>
    public EngineScheduler(LanguageModel model, WorkerPool workers, EngineOptions options)
    {
        options.Validate();
        DecodingLimits.Require(model.Config);
        (_model, _options, _vocab) = (model, options, model.Config.VocabSize);
        if ((long)options.MaxSequences * _vocab > Array.MaxLength)
        {
            throw new ConfigurationException($"max-sequences {options.MaxSequences} with a vocabulary of {_vocab} tokens is more logits than fit one pass. Write at most {Array.MaxLength / _vocab} texts at a time.");
        }

        _pages = new KeyValuePages(ModelCacheLayout.Of(model), options.CacheBytes);
        _queue = new RequestQueue(_pages, options.SharesPrefixes);
        _context = new ForwardContext(workers) { IsGivenUp = IsPassUnwanted };
        _scratch = new SamplerScratch(_vocab);
        _logitRows = new int[options.MaxSequences];
    }

    /// <summary>Told when a request leaves the queue for the first time: begun, refused, or cancelled before.</summary>
    public Action<Generation>? OnLeftQueue { init => _queue.OnLeft = value; }

    /// <summary>Sees the logits from which each token is drawn.</summary>
    public Action<Generation, ReadOnlySpan<float>>? OnLogits { get; init; }

    /// <summary>Called between the operations of a pass at which it may be given up.</summary>
    public Action? OnOperation { get; init; }

    public bool HasWork => _queue.Count + _running.Count > 0;

    /// <summary>Most tokens that a text can have, with all pages for itself.</summary>
    public long MostTokens => _pages.MostTokens;

    public EngineStatistics Statistics => new()
    {
        Running = _running.Count,
        Waiting = _queue.Count,
        UsedPages = _pages.UsedPages,
        RememberedPages = _pages.RememberedPages,
        MaxPages = _pages.MaxPages,
        CacheBytes = _pages.HeldBytes,
        Passes = _passes,
        GivenUpPasses = _givenUpPasses,
        Rows = _rows,
        WrittenTokens = _writtenTokens,
        CachedTokens = _cachedTokens,
        Preemptions = _preemptions,
    };

    /// <summary>Whether texts came, went or were set aside since this was last asked.</summary>
    public bool TakeNews()
    {
        (int Running, int Waiting) before = _reported;
        _reported = (_running.Count, _queue.Count);
        return _reported != before;
    }

    /// <summary>Queues a request; its limits were checked.</summary>
    public void Add(Generation generation) => _queue.Add(new SequenceRun(generation, _vocab, _arrivals++));

    /// <summary>Ends all texts with an error.</summary>
    public void FailAll(Exception exception)
    {
        _queue.FailAll(exception);
        while (_running.Count > 0)
        {
            Fail(_running[^1], exception);
        }
    }

    /// <summary>One pass through the model. Nothing happens when there is nothing to do.</summary>
    public void Step()
    {
        DropCancelled();
        Admit();
        PlanRows();
        ReservePages();
        if (!FillBatch())
        {
            return;
        }

        try
        {
            _model.LogitsOf(_batch, _logitRows.AsSpan(0, _numLogitRows), _logits, _context);
        }
        catch (OperationCanceledException)
        {
            _givenUpPasses++;
            return; // no sequence has advanced; whoever is still wanted runs again
        }
        catch (Exception exception)
        {
            Suspect(exception);
            return;
        }

        _passes++;
        _rows += _batch.Count;
        TakeTokens();
    }

    /// <summary>Gives up the pass in progress, and all later ones. May be called from any thread.</summary>
    public void GiveUpPass() => _isGivenUp = true;

    public void Dispose()
    {
        FailAll(new OperationCanceledException("the engine was closed"));
        _context.Dispose();
        _pages.Dispose();
    }

    private void DropCancelled()
    {
        _queue.DropCancelled();
        for (int index = _running.Count - 1; index >= 0; index--)
        {
            if (_running[index].Generation.IsCancelled)
            {
                Fail(_running[index], new OperationCanceledException());
            }
        }
    }

    private void Admit()
    {
        while (_running.Count < _options.MaxSequences && _queue.TryTake(_running.Count) is { } run)
        {
            int cached = run.Sequence!.Length; // who is taken has a sequence
            run.Generation.NoteStart(cached);
            _cachedTokens += cached;
            SequenceRun.Insert(_running, run);
        }

        _queue.RefuseLate(_running.Count);
    }

    private void PlanRows()
    {
        int left = _options.ChunkTokens;
        SequenceRun? suspect = null;
        foreach (SequenceRun run in _running)
        {
            run.PlannedRows = run.Pending == 1 ? 1 : 0;
            left -= run.PlannedRows;
            suspect ??= run.IsSuspect ? run : null;
        }

        left = Math.Max(left, 1); // prompts get on whatever is being written
        foreach (SequenceRun run in _running)
        {
            if (run.Pending > 1)
            {
                run.PlannedRows = Math.Min(run.Pending, left);
                left -= run.PlannedRows;
            }
        }

        if (suspect is not null)
        {
            foreach (SequenceRun run in _running)
            {
                run.PlannedRows = run == suspect ? Math.Min(run.Pending, _options.ChunkTokens) : 0;
            }
        }
    }

    // Oldest first: whoever is set aside for want of pages has not been given any in this step.
    private void ReservePages()
    {
        for (int index = 0; index < _running.Count; index++)
        {
            SequenceRun run = _running[index];
            while (run.PlannedRows > 0 && !run.Sequence!.TryReserve(run.PlannedRows)) // running texts have a sequence
            {
                if (_running.Count == 1)
                {
                    Fail(run, new ConfigurationException($"there is no memory for the keys and values of a text of {run.Tokens.Length + 1} tokens. Shorten the text or free memory."));
                    return;
                }

                SequenceRun last = _running[^1];
                _running.RemoveAt(_running.Count - 1);
                last.LetGo();
                _queue.Add(last);
                _preemptions++;
            }
        }
    }

    private bool FillBatch()
    {
        _batch.Clear();
        _inPass.Clear();
        _sequences.Clear();
        _numLogitRows = 0;
        foreach (SequenceRun run in _running)
        {
            if (run.PlannedRows == 0)
            {
                continue;
            }

            CachedSequence sequence = run.Sequence!; // running texts have one
            _batch.AddContinuation(sequence, run.Tokens.Slice(sequence.Length, run.PlannedRows));
            _inPass.Add(run);
            _sequences.Add(sequence);
            if (run.PlannedRows == run.Pending)
            {
                _logitRows[_numLogitRows++] = _batch.Count - 1;
            }
        }

        if (_logits.Length < _numLogitRows * _vocab)
        {
            // Doubled, so that texts that come one by one do not each leave an array behind.
            _logits = new float[Math.Min(Math.Max(_numLogitRows, 2L * _logits.Length / _vocab), _options.MaxSequences) * _vocab];
        }

        _context.Sequences = _sequences;
        return _inPass.Count > 0;
    }

    private void TakeTokens()
    {
        int row = 0;
        foreach (SequenceRun run in _inPass)
        {
            bool wantsToken = run.PlannedRows == run.Pending;
            run.IsSuspect = false;
            run.Sequence!.Advance(run.Tokens.Slice(run.Sequence.Length, run.PlannedRows)); // running texts have one
            if (wantsToken)
            {
                TakeToken(run, _logits.AsSpan(row * _vocab, _vocab));
                row++;
            }
        }
    }

    private void TakeToken(SequenceRun run, ReadOnlySpan<float> logits)
    {
        OnLogits?.Invoke(run.Generation, logits);
        try
        {
            FinishReason? reason = run.Accept(run.Sampler.Sample(logits, _scratch));
            _writtenTokens++;
            if (reason is { } ended)
            {
                _running.Remove(run);
                run.LetGo();
                run.Generation.Finish(ended);
            }
        }
        catch (ConfigurationException exception)
        {
            Fail(run, exception); // logits that are not numbers are this text's own trouble
        }
    }

    // Nobody knows whose rows made the pass fail: each goes alone once, and who fails alone has failed.
    private void Suspect(Exception exception)
    {
        if (_inPass.Count == 1)
        {
            Fail(_inPass[0], exception);
            return;
        }

        foreach (SequenceRun run in _inPass)
        {
            run.IsSuspect = true;
        }
    }

    private void Fail(SequenceRun run, Exception exception)
    {
        _running.Remove(run);
        run.LetGo();
        run.Generation.Fail(exception);
    }

    // Asked several times per layer. A pass goes on as long as half of its rows are wanted.
    private bool IsPassUnwanted()
    {
        OnOperation?.Invoke();
        int unwanted = 0;
        foreach (SequenceRun run in _inPass)
        {
            unwanted += run.Generation.IsCancelled ? run.PlannedRows : 0;
        }

        return _isGivenUp || 2 * unwanted > _batch.Count;
    }
}
