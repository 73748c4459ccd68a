using MoeSharp.Execution;

namespace MoeSharp.Training;

/// <summary>The files that a run's numbers go to: metrics.jsonl, loads.jsonl and a TensorBoard event file.</summary>
public sealed class TrainingLog : IDisposable
{
    private static readonly string[] s_routingSeries = [.. Enumerable.Range(0, RoutingBrief.Count).Select(series => "moe/" + RoutingBrief.NameOf(series))];
    private static readonly string[] s_lossSeries = [.. Enum.GetValues<AuxiliaryLoss>().Select(kind => "balance/" + AuxiliaryLossNames.Of(kind))];

    private readonly MetricsLog _metrics;
    private readonly LoadLog _loads;
    private readonly TensorBoardWriter _events;
    private readonly double _peakGflops;

    /// <summary>Opens the files.</summary>
    /// <param name="folder">Run folder.</param>
    /// <param name="stepsDone">Step that the run continues from; later lines are cut off.</param>
    /// <param name="peakGflops">Measured FMA peak of the workers, or 0 when it was not measured.</param>
    /// <param name="clock">Wall clock for the events.</param>
    public TrainingLog(string folder, long stepsDone, double peakGflops, TimeProvider clock)
    {
        _metrics = new MetricsLog(folder, stepsDone);
        _peakGflops = peakGflops;
        LoadLog? loads = null;
        try
        {
            _loads = loads = new LoadLog(folder, stepsDone);
            _events = new TensorBoardWriter(folder, stepsDone == 0 ? 0 : stepsDone + 1, clock);
        }
        catch
        {
            loads?.Dispose();
            _metrics.Dispose();
            throw;
        }
    }

    /// <summary>Writes a step and the loads since the one before.</summary>
    /// <param name="metrics">The step.</param>
    /// <param name="window">Loads since the step that was written before.</param>
    public void Step(in StepMetrics metrics, LoadTable window)
    {
        _metrics.Step(metrics, _peakGflops);
        if (window.NumLayers > 0)
        {
            _loads.Write(metrics.Step, metrics.Tokens, window);
        }

        _events.Scalar("train/loss", metrics.Step, metrics.Loss);
        _events.Scalar("train/grad_norm", metrics.Step, metrics.GradientNorm);
        _events.Scalar("train/learning_rate", metrics.Step, metrics.LearningRate);
        for (AuxiliaryLoss kind = 0; (int)kind < AuxiliaryLosses.Count; kind++)
        {
            if (kind == AuxiliaryLoss.ExpertLevel || metrics.Losses[kind] != 0)
            {
                _events.Scalar(s_lossSeries[(int)kind], metrics.Step, metrics.Losses[kind]);
            }
        }

        for (int series = 0; series < RoutingBrief.Count; series++)
        {
            if (double.IsFinite(metrics.Routing[series]))
            {
                _events.Scalar(s_routingSeries[series], metrics.Step, metrics.Routing[series]);
            }
        }

        _events.Scalar("speed/tokens_per_second", metrics.Step, metrics.TokensPerSecond);
        _events.Scalar("speed/gflops", metrics.Step, metrics.Gflops);
        _events.Flush();
    }

    /// <summary>Writes a validation.</summary>
    public void Validation(in ValidationResult result)
    {
        _metrics.Validation(result);
        _events.Scalar("validation/loss", result.Step, result.Loss);
        _events.Scalar("validation/bits_per_byte", result.Step, result.BitsPerByte);
        _events.Flush();
    }

    /// <summary>Writes an alarm.</summary>
    public void Alarm(RoutingAlarm alarm) => _metrics.Alarm(alarm);

    /// <inheritdoc/>
    public void Dispose()
    {
        _metrics.Dispose();
        _loads.Dispose();
        _events.Dispose();
    }
}
