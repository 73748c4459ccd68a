using MoeSharp.Execution;

namespace MoeSharp.Inference;

/// <summary>A request as the scheduler sees it: tokens so far, sampler, and the cached sequence while it runs.</summary>
/// <remarks>Until <see cref="Prepare"/> it costs next to nothing: many requests may wait.</remarks>
internal sealed class SequenceRun
{
    private int[] _tokens = []; // prompt and room for all that is written
    private int _numTokens;
    private TextAssembler? _stopSearch; // only where a stop string can end the text

    public SequenceRun(Generation generation, int vocabSize, long arrival)
    {
        (Generation, Arrival) = (generation, arrival);
        Sampler = new Sampler(generation.Request.Options.Sampling, vocabSize);
    }

    public Generation Generation { get; }

    public Sampler Sampler { get; }

    /// <summary>Order of arrival; it stays when a text is set aside.</summary>
    public long Arrival { get; }

    /// <summary>Null while waiting.</summary>
    public CachedSequence? Sequence { get; set; }

    /// <summary>Rows in the pass being prepared or run.</summary>
    public int PlannedRows { get; set; }

    /// <summary>Whether a pass with it has failed, so that its next one is without others.</summary>
    public bool IsSuspect { get; set; }

    /// <summary>Whether its turn has come once; a text that is set aside waits again.</summary>
    public bool HasLeftQueue { get; set; }

    /// <summary>Prompt and what was written; empty before <see cref="Prepare"/>.</summary>
    public ReadOnlySpan<int> Tokens => _tokens.AsSpan(0, _numTokens);

    /// <summary>Tokens that the model has not seen.</summary>
    public int Pending => _numTokens - (Sequence?.Length ?? 0);

    public int NumWritten => _numTokens - Generation.Request.Prompt.Count;

    /// <summary>Puts a run in its place among others, by arrival.</summary>
    public static void Insert(List<SequenceRun> runs, SequenceRun run)
    {
        int place = runs.Count;
        while (place > 0 && runs[place - 1].Arrival > run.Arrival)
        {
            place--;
        }

        runs.Insert(place, run);
    }

    /// <summary>Takes the prompt in and makes room for the text; nothing the second time.</summary>
    public void Prepare()
    {
        if (_numTokens > 0)
        {
            return;
        }

        _tokens = new int[Generation.Request.Prompt.Count + Generation.MaxTokens];
        foreach (int id in Generation.Request.Prompt)
        {
            _tokens[_numTokens++] = id;
            Sampler.Observe(id);
        }

        if (Generation.Request.Options.Stop.Count > 0)
        {
            _stopSearch = Generation.NewText();
        }
    }

    /// <summary>Adds the token that the model has drawn.</summary>
    /// <returns>Why the text ends with it, or null.</returns>
    public FinishReason? Accept(int id)
    {
        Generation.NoteFirstToken();
        foreach (int end in Generation.EndTokens)
        {
            if (id == end)
            {
                return FinishReason.Stop;
            }
        }

        _tokens[_numTokens++] = id;
        Sampler.Observe(id);
        Generation.Write(id);
        if (_stopSearch is { } text)
        {
            text.Push(id);
            if (text.IsStopped)
            {
                return FinishReason.Stop;
            }
        }

        return NumWritten == Generation.MaxTokens ? FinishReason.Length : null;
    }

    /// <summary>Gives the pages back.</summary>
    public void LetGo()
    {
        Sequence?.Dispose();
        (Sequence, PlannedRows) = (null, 0);
    }
}
