using MoeSharp.Training;
using MoeSharp.Training.Comparison;

namespace MoeSharp.Cli.Comparison;

/// <summary>A run that is being trained, for the screen.</summary>
/// <param name="Run">The run.</param>
/// <param name="Step">Steps made.</param>
/// <param name="Loss">Training loss of the last step.</param>
internal readonly record struct ActiveRun(PlannedRun Run, long Step, double Loss);

/// <summary>How far a comparison has come, and how long it will take. Fed from several threads.</summary>
internal sealed class ComparisonProgress : IComparisonView
{
    private readonly Lock _lock = new();
    private readonly IReadOnlyList<PlannedRun> _wanted;
    private readonly int _jobs;
    private readonly TimeProvider _clock;
    private readonly long _begin;
    private readonly Dictionary<PlannedRun, ActiveRun> _active = [];
    private readonly HashSet<PlannedRun> _done = [];
    private readonly List<FailedRun> _failures = [];
    private readonly List<string> _news = [];
    private readonly Dictionary<string, (double Seconds, long Steps)> _spent = []; // by architecture

    /// <summary>Starts the clock.</summary>
    /// <param name="wanted">Runs to be made.</param>
    /// <param name="finished">Runs that were finished before.</param>
    /// <param name="jobs">Runs at once.</param>
    /// <param name="clock">Clock.</param>
    public ComparisonProgress(IReadOnlyList<PlannedRun> wanted, IReadOnlyList<RunOutcome> finished, int jobs, TimeProvider clock)
    {
        (_wanted, _jobs, _clock, _begin) = (wanted, jobs, clock, clock.GetTimestamp());
        foreach (RunOutcome outcome in finished)
        {
            _done.Add(outcome.Run);
            Spend(outcome.Run, outcome.Seconds, outcome.Run.Condition.Steps);
        }

        NumKept = wanted.Count(_done.Contains);
    }

    /// <summary>Runs that were finished before.</summary>
    public int NumKept { get; }

    /// <summary>Runs to be made, finished ones included.</summary>
    public int NumWanted => _wanted.Count;

    /// <summary>Runs that cannot go on.</summary>
    public IReadOnlyList<FailedRun> Failures
    {
        get
        {
            lock (_lock)
            {
                return [.. _failures];
            }
        }
    }

    /// <summary>Runs that are finished.</summary>
    public int NumDone
    {
        get
        {
            lock (_lock)
            {
                return _wanted.Count(_done.Contains);
            }
        }
    }

    /// <summary>Seconds since the start.</summary>
    public double Elapsed => _clock.GetElapsedTime(_begin).TotalSeconds;

    /// <summary>Runs that are being trained.</summary>
    public IReadOnlyList<ActiveRun> Active
    {
        get
        {
            lock (_lock)
            {
                return [.. _active.Values.OrderBy(active => active.Run.FolderName, StringComparer.Ordinal)];
            }
        }
    }

    /// <summary>Seconds left, by the steps of each architecture so far; null before there is anything to go by.</summary>
    public double? SecondsLeft
    {
        get
        {
            lock (_lock)
            {
                long steps = _spent.Values.Sum(spent => spent.Steps);
                if (steps == 0)
                {
                    return null;
                }

                double mean = _spent.Values.Sum(spent => spent.Seconds) / steps;
                double left = 0;
                foreach (PlannedRun run in _wanted.Where(run => !_done.Contains(run)))
                {
                    double step = _spent.TryGetValue(run.Architecture.Name, out (double Seconds, long Steps) spent) ? spent.Seconds / spent.Steps : mean;
                    long made = _active.TryGetValue(run, out ActiveRun active) ? active.Step : 0;
                    left += step * (run.Condition.Steps - made);
                }

                return left / Math.Max(1, Math.Min(_jobs, _wanted.Count(run => !_done.Contains(run))));
            }
        }
    }

    /// <summary>Takes what has happened since the last call, as lines.</summary>
    public IReadOnlyList<string> TakeNews()
    {
        lock (_lock)
        {
            string[] news = [.. _news];
            _news.Clear();
            return news;
        }
    }

    /// <inheritdoc/>
    public void Started(PlannedRun run, long step)
    {
        lock (_lock)
        {
            _active[run] = new ActiveRun(run, step, double.NaN);
            if (step > 0)
            {
                _news.Add($"{run.FolderName} goes on from step {step}");
            }
        }
    }

    /// <inheritdoc/>
    public void Stepped(PlannedRun run, in StepMetrics metrics)
    {
        lock (_lock)
        {
            _active[run] = new ActiveRun(run, metrics.Step, metrics.Loss);
            Spend(run, metrics.Seconds, 1);
        }
    }

    /// <inheritdoc/>
    public void Alarmed(PlannedRun run, RoutingAlarm alarm)
    {
        lock (_lock)
        {
            _news.Add($"{run.FolderName}  {alarm.Message}");
        }
    }

    /// <inheritdoc/>
    public void Finished(RunOutcome outcome)
    {
        lock (_lock)
        {
            _active.Remove(outcome.Run);
            _done.Add(outcome.Run);
            _news.Add(ComparisonScreen.Line(outcome));
        }
    }

    /// <inheritdoc/>
    public void Failed(PlannedRun run, string reason)
    {
        lock (_lock)
        {
            _active.Remove(run);
            _done.Add(run); // nothing is left to do for it
            _failures.Add(new FailedRun(run, reason));
            _news.Add($"{run.FolderName} cannot go on: {reason}");
        }
    }

    private void Spend(PlannedRun run, double seconds, long steps)
    {
        (double before, long made) = _spent.GetValueOrDefault(run.Architecture.Name);
        _spent[run.Architecture.Name] = (before + seconds, made + steps);
    }
}
