using System.Globalization;

namespace MoeSharp.Training;

/// <summary>The training loop: steps until the budget is used, with a log line, a validation and a checkpoint now and then.</summary>
public sealed class Trainer
{
    private readonly TrainingConfig _config;
    private readonly TrainingStep _step;
    private readonly IHeldOut _heldOut;
    private readonly TrainingLog _log;
    private readonly RunCheckpoints _checkpoints;
    private readonly CollapseWatch _watch;
    private readonly RoutingHistory _history;
    private readonly ITrainingView _view;
    private readonly Func<TrainingState, double> _progress;

    /// <summary>Puts the loop together.</summary>
    /// <param name="config">Configuration.</param>
    /// <param name="step">The optimiser step.</param>
    /// <param name="heldOut">Validation text.</param>
    /// <param name="log">Files that the numbers go to.</param>
    /// <param name="checkpoints">Where the run is saved.</param>
    /// <param name="watch">Who looks at the loads.</param>
    /// <param name="history">What is kept of the routers' choices.</param>
    /// <param name="view">Who watches.</param>
    /// <param name="state">How far the run has come; the start for a new run.</param>
    /// <param name="progress">Share of the run that is done, 0 to 1; see <see cref="BudgetProgress"/>.</param>
    public Trainer(TrainingConfig config, TrainingStep step, IHeldOut heldOut, TrainingLog log, RunCheckpoints checkpoints, CollapseWatch watch, RoutingHistory history, ITrainingView view, TrainingState state, Func<TrainingState, double> progress)
    {
        (_config, _step, _heldOut, _log, _checkpoints, _watch, _history, _view, _progress) = (config, step, heldOut, log, checkpoints, watch, history, view, progress);
        State = state;
    }

    /// <summary>How far the run has come.</summary>
    public TrainingState State { get; private set; }

    /// <summary>Trains until the budget is used or a stop is asked for; saves in either case.</summary>
    /// <param name="stop">Cancelled by Ctrl-C: the step that is running is finished and saved.</param>
    /// <returns>Whether the run is complete.</returns>
    /// <exception cref="TrainingException">The loss or the gradient is not finite, or a file cannot be written.</exception>
    public bool Run(CancellationToken stop)
    {
        if (Progress() >= 1 && State.Validation is { } last && last.Step == State.Step)
        {
            return true; // a finished run was resumed: all is measured and saved
        }

        if (State.Step == 0)
        {
            _history.Pass(-1, 0, State);
        }

        while (Progress() < 1)
        {
            double before = Progress();
            Advance();
            _history.Pass(before, Progress(), State);
            if (stop.IsCancellationRequested && Progress() < 1)
            {
                Save();
                return false;
            }
        }

        Finish();
        return true;
    }

    /// <summary>One turn of the loop.</summary>
    public void Advance()
    {
        StepMetrics metrics = _step.Run(Progress(), State.Tokens);
        if (!metrics.IsFinite)
        {
            throw NotFinite(metrics);
        }

        State = State with { Step = metrics.Step, Tokens = metrics.Tokens, Seconds = State.Seconds + metrics.Seconds, LastLoss = metrics.Loss };
        metrics = metrics with { Progress = Progress() };
        _view.Stepped(metrics, _step.Load);
        if (_config.IsLogged(metrics.Step))
        {
            _log.Step(metrics, _step.Window);
            Watch(metrics);
        }

        if (IsDue(_config.Validation.EverySteps))
        {
            Validate(_config.Validation.Tokens);
        }

        if (IsDue(_config.Checkpoint.EverySteps))
        {
            Save();
        }
    }

    /// <summary>Measures all held-out text and saves.</summary>
    public void Finish()
    {
        Validate(0);
        _history.Finish(State);
        Save();
        _history.Forget();
    }

    /// <summary>Measures held-out text now.</summary>
    /// <param name="maxTokens">Most tokens to read; 0 for all.</param>
    public ValidationResult Validate(int maxTokens)
    {
        ValidationResult result = _heldOut.Measure(maxTokens, State.Step, State.Tokens);
        State = State with { Validation = result };
        _log.Validation(result);
        _view.Validated(result);
        return result;
    }

    /// <summary>Saves now.</summary>
    public void Save() => _view.Saved(_checkpoints.Save(_step.Optimizer, State));

    /// <summary>Progress by a configuration's own budget.</summary>
    public static Func<TrainingState, double> BudgetProgress(TrainingConfig config) =>
        state => LearningRateSchedule.Progress(config.TotalSteps, 60 * config.Budget.Minutes, state.Step, state.Seconds);

    private void Watch(in StepMetrics metrics)
    {
        foreach (RoutingAlarm alarm in _watch.Add(metrics.Step, metrics.Tokens, _step.Window))
        {
            _log.Alarm(alarm);
            _view.Alarmed(alarm);
        }
    }

    private double Progress() => _progress(State);

    private bool IsDue(int everySteps) => everySteps > 0 && State.Step % everySteps == 0 && Progress() < 1;

    private TrainingException NotFinite(in StepMetrics metrics)
    {
        string what = double.IsFinite(metrics.Loss) ? "the gradient" : "the loss";
        NamedNorm largest = _step.LargestGradient();
        string last = double.IsNaN(State.LastLoss) ? "there was none" : string.Create(CultureInfo.InvariantCulture, $"it was {State.LastLoss:0.####} in step {State.Step}");
        string newest = _checkpoints.Newest is { } folder ? $"The newest checkpoint is {folder}." : "There is no checkpoint yet.";
        return new TrainingException(string.Create(CultureInfo.InvariantCulture,
            $"{what} is not finite in step {metrics.Step} (last finite loss: {last}); the largest gradient is that of {largest.Name} (norm {largest.Norm:0.###e+0}). ") +
            "Resuming repeats this step: start a new run with a lower schedule.learning_rate or a longer schedule.warmup_steps. " + newest);
    }
}

/// <summary>How far a run has come.</summary>
/// <param name="Step">Optimiser steps made.</param>
/// <param name="Tokens">Training tokens seen.</param>
/// <param name="Seconds">Seconds spent in steps.</param>
/// <param name="LastLoss">Loss of the last step; not a number before the first.</param>
/// <param name="Validation">Last measurement on held-out text, or null.</param>
public readonly record struct TrainingState(long Step, long Tokens, double Seconds, double LastLoss, ValidationResult? Validation)
{
    /// <summary>A run that has not begun.</summary>
    public static TrainingState Start { get; } = new(0, 0, 0, double.NaN, null);
}

/// <summary>Who watches a run: a live picture, plain lines, or a test.</summary>
public interface ITrainingView
{
    /// <summary>A step is done.</summary>
    /// <param name="metrics">Its numbers.</param>
    /// <param name="load">Its loads; valid until the next step.</param>
    void Stepped(in StepMetrics metrics, LoadTable load);

    /// <summary>Held-out text was measured.</summary>
    void Validated(in ValidationResult result);

    /// <summary>Experts have collapsed, or are in use again.</summary>
    /// <param name="alarm">What to tell.</param>
    void Alarmed(RoutingAlarm alarm);

    /// <summary>A checkpoint was written.</summary>
    /// <param name="path">Its folder.</param>
    void Saved(string path);
}
