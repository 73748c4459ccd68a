using System.Diagnostics;

namespace MoeSharp.Execution;

/// <summary>The parts of a training step that reports tell apart.</summary>
public enum StepPart
{
    /// <summary>Embedding, norms, residual sums and whatever has no name of its own.</summary>
    Other,

    /// <summary>Router logits, softmax, selection, balance losses.</summary>
    Router,

    /// <summary>Sorting slots by expert and moving rows, combine included.</summary>
    Dispatch,

    /// <summary>Routed experts.</summary>
    Experts,

    /// <summary>Shared experts and dense feed-forwards.</summary>
    FeedForward,

    /// <summary>Attention with its projections and rotary embedding.</summary>
    Attention,

    /// <summary>Output head and cross-entropy.</summary>
    HeadAndLoss,

    /// <summary>Gradient norm, clipping and AdamW.</summary>
    Optimizer,

    /// <summary>Between steps: not part of any.</summary>
    Idle,
}

/// <summary>Seconds spent per part of a step; a switch costs one clock read.</summary>
public sealed class PartTimer
{
    private readonly long[] _ticks = new long[Enum.GetValues<StepPart>().Length];
    private StepPart _current = StepPart.Other;
    private long _since = Stopwatch.GetTimestamp();

    /// <summary>The part that time is charged to now.</summary>
    public StepPart Current => _current;

    /// <summary>Charges the time since the last switch to the part that was running, and starts <paramref name="part"/>.</summary>
    /// <returns>The part that was running.</returns>
    public StepPart Switch(StepPart part)
    {
        long now = Stopwatch.GetTimestamp();
        _ticks[(int)_current] += now - _since;
        StepPart before = _current;
        (_current, _since) = (part, now);
        return before;
    }

    /// <summary>Seconds charged to a part so far.</summary>
    public double Seconds(StepPart part) => (double)_ticks[(int)part] / Stopwatch.Frequency;

    /// <summary>Forgets everything.</summary>
    public void Reset()
    {
        Array.Clear(_ticks);
        _since = Stopwatch.GetTimestamp();
    }
}
