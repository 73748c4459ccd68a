using MoeSharp.Checkpoints;
using MoeSharp.Data;
using MoeSharp.Kernels;
using MoeSharp.Model;

namespace MoeSharp.Training;

/// <summary>What a session takes from outside besides its text.</summary>
public sealed record SessionOptions
{
    /// <summary>Workers; not owned.</summary>
    public required WorkerPool Workers { get; init; }

    /// <summary>Who watches.</summary>
    public required ITrainingView View { get; init; }

    /// <summary>Measured FMA peak of the workers in GFLOP/s; 0 when it was not measured.</summary>
    public double PeakGflops { get; init; }

    /// <summary>Share of the run that is done, when something else than the configuration's budget decides; null for the budget.</summary>
    public Func<TrainingState, double>? Progress { get; init; }

    /// <summary>Clock for rates, budgets and logs.</summary>
    public TimeProvider Clock { get; init; } = TimeProvider.System;
}

/// <summary>A run that is being trained: model, optimiser, logs and checkpoints, put together in a run folder.</summary>
public sealed class TrainingSession : IDisposable
{
    private readonly Stack<IDisposable> _owned = new();

    private TrainingSession(RunFolder run, TrainingConfig config, ITrainingSource source, SessionOptions options, bool resumes)
    {
        try
        {
            CheckpointStore store = Own(CheckpointStore.Open(run.Path, config.Checkpoint.Keep)); // first: it keeps other processes out, and mends what one that died left
            CheckpointSearch found = resumes ? CheckpointStore.LatestValid(run.Path) : new CheckpointSearch(null, []);
            (Resumed, Damaged) = (found.Latest, found.Damaged);
            Model = Own(new LanguageModel(config.Model!)); // Begin and Resume see to it that there is one
            ITrainingBatches batches = source.OpenBatches(config);
            TrainingStep step = Own(new TrainingStep(config, Model, batches, options.Workers, options.Clock));
            RunCheckpoints checkpoints = new(store, Model, batches, source.TokenizerFolder);
            TrainingState state = TrainingState.Start;
            if (found.Latest is { } checkpoint)
            {
                state = checkpoints.Restore(checkpoint, step.Optimizer);
            }
            else
            {
                WeightInit.Initialize(Model, config.Seed, config.InitScheme, options.Workers);
            }

            TrainingLog log = Own(new TrainingLog(run.Path, state.Step, options.PeakGflops, options.Clock));
            CollapseWatch watch = new(config);
            watch.Restore(LoadLog.Read(run.Path)); // the log has cut off what comes again
            IHeldOut heldOut = source.OpenHeldOut(Model, config.Batch, step.Context);
            Trainer = new Trainer(config, step, heldOut, log, checkpoints, watch, new RoutingHistory(run.Path, config.Validation.SaturationAt, heldOut, step.Context), options.View, state, options.Progress ?? Trainer.BudgetProgress(config));
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The loop.</summary>
    public Trainer Trainer { get; }

    /// <summary>The model that is trained.</summary>
    public LanguageModel Model { get; }

    /// <summary>The checkpoint that the session started from, or null.</summary>
    public Checkpoint? Resumed { get; }

    /// <summary>Newer checkpoints that could not be used.</summary>
    public IReadOnlyList<DamagedCheckpoint> Damaged { get; }

    /// <summary>Starts a run: writes run.json and draws the first weights.</summary>
    /// <param name="run">A new run folder.</param>
    /// <param name="config">Configuration; its model takes the source's vocabulary.</param>
    /// <param name="source">What is learned; not owned.</param>
    /// <param name="options">Workers, view, clock.</param>
    /// <exception cref="ConfigurationException">There is no model, or it does not fit the source.</exception>
    public static TrainingSession Begin(RunFolder run, TrainingConfig config, ITrainingSource source, SessionOptions options)
    {
        config = FittedRouter.Fit(source.Fit(config), source);
        run.Description["config"] = TrainingConfigJson.Write(config);
        run.Description["text"] = source.Describe();
        run.Description["threads"] = options.Workers.Workers;
        TrainingSession session = new(run, config, source, options, resumes: false);
        try
        {
            run.Write();
            return session;
        }
        catch
        {
            session.Dispose();
            throw;
        }
    }

    /// <summary>Goes on with a run from its newest undamaged checkpoint, or from its start when there is none.</summary>
    /// <param name="run">The run folder.</param>
    /// <param name="source">The same as before; not owned.</param>
    /// <param name="options">Workers, view, clock.</param>
    /// <exception cref="ConfigurationException">The text is not the one that the run was started with.</exception>
    public static TrainingSession Resume(RunFolder run, ITrainingSource source, SessionOptions options)
    {
        string? hash = run.Description["text"]?["hash"]?.GetValue<string>();
        if (hash != source.ContentHash)
        {
            throw new ConfigurationException($"{run.Path}: the text in {source.Place} is not the one that this run was trained on (hash {source.ContentHash}, expected {hash}). Restore it, or start a new run.");
        }

        return new TrainingSession(run, run.ReadConfig(), source, options, resumes: true);
    }

    /// <summary>Folder of the text that a run was started with.</summary>
    /// <exception cref="FileFormatException">run.json does not say.</exception>
    public static string TextFolderOf(RunFolder run) => run.Description["text"]?["folder"]?.GetValue<string>()
        ?? throw new FileFormatException($"{Path.Combine(run.Path, RunFolder.DescriptionFile)} does not say where the text is (text.folder).");

    /// <inheritdoc/>
    public void Dispose()
    {
        while (_owned.TryPop(out IDisposable? latest))
        {
            latest.Dispose();
        }
    }

    private T Own<T>(T resource)
        where T : IDisposable
    {
        _owned.Push(resource);
        return resource;
    }
}
