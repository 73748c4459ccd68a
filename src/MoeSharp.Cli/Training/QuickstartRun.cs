using System.Diagnostics;
using MoeSharp.Model;
using MoeSharp.Training;

namespace MoeSharp.Cli.Training;

/// <summary>A point at which both models were measured.</summary>
/// <param name="Moe">DeepSeekMoE on held-out text.</param>
/// <param name="MoeSeconds">Seconds of its training steps so far.</param>
/// <param name="Dense">Dense model on the same text.</param>
/// <param name="DenseSeconds">Seconds of its training steps so far.</param>
internal readonly record struct PairedMeasurement(ValidationResult Moe, double MoeSeconds, ValidationResult Dense, double DenseSeconds);

/// <summary>A DeepSeekMoE and a dense model of the same activated FLOPs, trained step by step in turn on the same tokens in the same order.</summary>
/// <remarks>One clock decides for both: after each pair of steps the share of the time that is gone sets both learning rates, so both end at the same step.</remarks>
internal sealed class QuickstartRun : IDisposable
{
    private const int NumMeasurements = 16; // points of the validation curves
    private const int MeasuredTokens = 4096; // per point, so that a slow machine spends its time on training; the last one reads everything

    private const double ForwardSpeedup = 2.5; // of a pass without gradients over a training step (measured 2.5 to 3)
    private const double ShareOfLastMeasurement = 0.05; // of the training time

    private readonly List<PairedMeasurement> _curve = [];
    private readonly Stopwatch _clock = new();
    private readonly double _seconds;
    private readonly long? _steps;
    private double _progress;

    private QuickstartRun(TrainingSession moe, TrainingSession dense, double seconds, long? steps) => (Moe, Dense, _seconds, _steps) = (moe, dense, seconds, steps);

    /// <summary>The model with experts.</summary>
    public TrainingSession Moe { get; }

    /// <summary>The dense model.</summary>
    public TrainingSession Dense { get; }

    /// <summary>Both validation curves.</summary>
    public IReadOnlyList<PairedMeasurement> Curve => _curve;

    /// <summary>Share of the training that is done.</summary>
    public double Progress => _progress;

    /// <summary>Prepares both models.</summary>
    /// <param name="run">Folder of the run; the dense model lives in its folder <c>dense</c>.</param>
    /// <param name="config">Configuration of the model with experts.</param>
    /// <param name="text">Text of both.</param>
    /// <param name="screen">Workers and measured peak.</param>
    /// <param name="views">Views of the two.</param>
    /// <param name="seconds">Seconds that both may train in all.</param>
    /// <param name="steps">Steps instead of seconds, or null.</param>
    public static QuickstartRun Begin(RunFolder run, TrainingConfig config, TrainingText text, RunScreen screen, (ITrainingView Moe, ITrainingView Dense) views, double seconds, long? steps)
    {
        QuickstartRun? quickstart = null;
        double Progress(TrainingState state) => quickstart?.Progress ?? 0;
        RunFolder denseRun = RunFolder.Create(Path.Combine(run.Path, "dense"), RunOptions.QuickstartCommand, TimeProvider.System);
        TrainingSession moe = TrainingSession.Begin(run, config, text, screen.Options(views.Moe) with { Progress = Progress });
        try
        {
            TrainingSession dense = TrainingSession.Begin(denseRun, config with { Model = DenseOf(config.Model!) }, text, screen.Options(views.Dense) with { Progress = Progress }); // the experiment names a model
            quickstart = new QuickstartRun(moe, dense, seconds, steps);
            return quickstart;
        }
        catch
        {
            moe.Dispose();
            throw;
        }
    }

    /// <summary>The dense model whose feed-forward is as wide as all experts that a token uses, shared and routed.</summary>
    public static ModelConfig DenseOf(ModelConfig config) => config.Moe is { } moe
        ? config with { Moe = null, IntermediateSize = (moe.TopK + moe.NumSharedExperts) * moe.IntermediateSize }
        : config;

    /// <summary>Trains both until the time or the steps are used, then measures all held-out text and saves.</summary>
    /// <returns>Whether it was not interrupted.</returns>
    public bool Train(CancellationToken stop)
    {
        _clock.Restart();
        while (_progress < 1 && !stop.IsCancellationRequested)
        {
            Moe.Trainer.Advance();
            Dense.Trainer.Advance();
            double before = _progress;
            _progress = Math.Min(1, _steps is { } steps ? (double)Moe.Trainer.State.Step / steps : _clock.Elapsed.TotalSeconds / _seconds);
            if (_progress < 1 && (int)(before * NumMeasurements) != (int)(_progress * NumMeasurements))
            {
                Measure(MeasuredTokens);
            }
        }

        if (stop.IsCancellationRequested && _progress < 1)
        {
            Moe.Trainer.Save();
            Dense.Trainer.Save();
            return false;
        }

        Measure(LastMeasuredTokens());
        Moe.Trainer.Save();
        Dense.Trainer.Save();
        return true;
    }

    // All held-out text, unless the machine is so slow that this would break the promise on time.
    private int LastMeasuredTokens()
    {
        TrainingState moe = Moe.Trainer.State;
        double tokensPerSecond = ForwardSpeedup * moe.Tokens / Math.Max(1e-9, moe.Seconds + Dense.Trainer.State.Seconds);
        double affordable = tokensPerSecond * ShareOfLastMeasurement * _seconds;
        return _steps is not null || affordable > int.MaxValue ? 0 : Math.Max(MeasuredTokens, (int)affordable);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Moe.Dispose();
        Dense.Dispose();
    }

    private void Measure(int maxTokens) => _curve.Add(new PairedMeasurement(
        Moe.Trainer.Validate(maxTokens),
        Moe.Trainer.State.Seconds,
        Dense.Trainer.Validate(maxTokens),
        Dense.Trainer.State.Seconds));
}
