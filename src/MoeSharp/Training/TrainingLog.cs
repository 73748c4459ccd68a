using MoeSharp.Execution;

namespace MoeSharp.Training;

/// <summary>The files that a run's numbers go to: metrics.jsonl and a TensorBoard event file.</summary>
public sealed class TrainingLog : IDisposable
{
    private static readonly string[] s_lossSeries = [.. Enum.GetValues<AuxiliaryLoss>().Select(kind => "balance/" + AuxiliaryLossNames.Of(kind))];

    private readonly MetricsLog _metrics;
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
        try
        {
            _events = new TensorBoardWriter(folder, stepsDone == 0 ? 0 : stepsDone + 1, clock);
        }
        catch
        {
            _metrics.Dispose();
            throw;
        }
    }

    /// <summary>Writes a step.</summary>
    public void Step(in StepMetrics metrics)
    {
        _metrics.Step(metrics, _peakGflops);
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

        _events.Scalar("balance/load_max_over_mean", metrics.Step, metrics.LoadMaxOverMean);
        _events.Scalar("balance/dead_experts", metrics.Step, metrics.NumDeadExperts);
        _events.Scalar("speed/tokens_per_second", metrics.Step, metrics.TokensPerSecond);
        _events.Scalar("speed/gflops", metrics.Step, metrics.Gflops);
        _events.Flush();
    }

    /// <summary>Writes a validation and the loads of the step before it.</summary>
    public void Validation(in ValidationResult result, LoadTable load)
    {
        _metrics.Validation(result);
        if (load.NumLayers > 0)
        {
            _metrics.Load(result.Step, result.Tokens, load);
        }

        _events.Scalar("validation/loss", result.Step, result.Loss);
        _events.Scalar("validation/bits_per_byte", result.Step, result.BitsPerByte);
        _events.Flush();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _metrics.Dispose();
        _events.Dispose();
    }
}
