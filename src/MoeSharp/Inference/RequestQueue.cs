using MoeSharp.Execution;

namespace MoeSharp.Inference;

/// <summary>Requests that wait for their turn, and texts that were set aside and wait for it again. For the scheduler's thread.</summary>
/// <remarks>First come, first served: a request that does not fit yet is not overtaken, or long ones would wait for ever.</remarks>
/// <param name="pages">Where the pages of those whose turn comes are from.</param>
/// <param name="sharesPrefixes">Whether they begin with pages of texts that begin alike.</param>
internal sealed class RequestQueue(KeyValuePages pages, bool sharesPrefixes)
{
    private readonly List<SequenceRun> _waiting = []; // by arrival
    private (SequenceRun? Run, long Gains) _refused; // who did not fit when the pages were as they may still be

    /// <summary>Told when a request leaves for the first time: begun, refused, or cancelled before.</summary>
    public Action<Generation>? OnLeft { get; set; }

    /// <summary>How many wait.</summary>
    public int Count => _waiting.Count;

    /// <summary>Puts a run in its place by arrival.</summary>
    public void Add(SequenceRun run) => SequenceRun.Insert(_waiting, run);

    /// <summary>Ends the texts that nobody wants any more.</summary>
    public void DropCancelled()
    {
        for (int index = _waiting.Count - 1; index >= 0; index--)
        {
            if (_waiting[index].Generation.IsCancelled)
            {
                FailAt(index, new OperationCanceledException());
            }
        }
    }

    /// <summary>Takes the first one out if there are pages for all of its tokens and one more for every text already running.</summary>
    /// <param name="running">Texts already running.</param>
    /// <returns>The run with its sequence; null when nobody waits or the first one does not fit.</returns>
    public SequenceRun? TryTake(int running)
    {
        while (_waiting.Count > 0)
        {
            SequenceRun run = _waiting[0];
            if (running > 0 && _refused == (run, pages.Gains))
            {
                return null; // nothing has changed for the better
            }

            // A half page that is shared needs a page for its copy while it is held; alone, a text may need all there are for itself.
            run.Prepare();
            run.Sequence = Open(run, sharesPrefixes, running) ?? (running == 0 ? Open(run, shares: false, running) : null);
            if (run.Sequence is not null)
            {
                _waiting.RemoveAt(0);
                Leave(run);
                return run;
            }

            if (running > 0)
            {
                _refused = (run, pages.Gains);
                return null;
            }

            // The system has less memory than the pool was promised.
            FailAt(0, new ConfigurationException($"there is no memory for the keys and values of a text of {run.Tokens.Length} tokens: the system gave {pages.MaxPages} pages of {KeyValuePages.PageTokens} tokens. Shorten the prompt or free memory."));
        }

        return null;
    }

    /// <summary>Ends the requests whose turn has not come in time. What was begun once is never refused: it only waits for its pages.</summary>
    /// <param name="running">Texts running, for the message.</param>
    public void RefuseLate(int running)
    {
        for (int index = _waiting.Count - 1; index >= 0; index--)
        {
            SequenceRun run = _waiting[index];
            TimeSpan age = run.Generation.Age;
            if (!run.HasLeftQueue && age >= run.Generation.Request.MaxWait)
            {
                FailAt(index, new EngineBusyException($"the request has waited {age.TotalSeconds:F1} s for its turn and was to wait {run.Generation.Request.MaxWait.Value.TotalSeconds:F1} s at most; {running} texts are being written. Try again later, or let it wait longer."));
            }
        }
    }

    /// <summary>Ends all with an error.</summary>
    public void FailAll(Exception exception)
    {
        for (int index = _waiting.Count - 1; index >= 0; index--)
        {
            FailAt(index, exception);
        }
    }

    private CachedSequence? Open(SequenceRun run, bool shares, int running)
    {
        // What a sequence with states needs is known before it is there: it shares nothing.
        CacheLayout layout = pages.Layout;
        if (layout.HasStates && pages.AvailablePages - layout.StatePages - KeyValuePages.PagesFor(run.Tokens.Length) < running)
        {
            return null;
        }

        CachedSequence sequence;
        try
        {
            sequence = new CachedSequence(pages);
        }
        catch (OutOfMemoryException)
        {
            return null; // the state of linear attention does not fit; others run on
        }

        int left = run.Tokens.Length - (shares ? sequence.Adopt(run.Tokens) : 0);
        if (pages.AvailablePages - sequence.MissingPages(left) >= running && sequence.TryReserve(left))
        {
            return sequence;
        }

        sequence.Dispose();
        return null;
    }

    private void FailAt(int index, Exception exception)
    {
        SequenceRun run = _waiting[index];
        _waiting.RemoveAt(index);
        Leave(run);
        run.Generation.Fail(exception);
    }

    private void Leave(SequenceRun run)
    {
        if (!run.HasLeftQueue)
        {
            run.HasLeftQueue = true;
            OnLeft?.Invoke(run.Generation);
        }
    }
}
