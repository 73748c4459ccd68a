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

    private TrainingSession(RunFolder run, TrainingConfig config, TrainingText text, SessionOptions options, bool resumes)
    {
        try
        {
            CheckpointStore store = Own(CheckpointStore.Open(run.Path, config.Checkpoint.Keep)); // first: it keeps other processes out, and mends what one that died left
            CheckpointSearch found = resumes ? CheckpointStore.LatestValid(run.Path) : new CheckpointSearch(null, []);
            (Resumed, Damaged) = (found.Latest, found.Damaged);
            Model = Own(new LanguageModel(config.Model!)); // Begin and Resume see to it that there is one
            BatchLoader loader = new(text.Dataset, config.Batch.SequenceLength, config.Batch.TokensPerPass / config.Batch.SequenceLength, config.Seed);
            TrainingStep step = Own(new TrainingStep(config, Model, loader, options.Workers, options.Clock));
            RunCheckpoints checkpoints = new(store, Model, loader, text.TokenizerFolder);
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
            HeldOutText heldOut = new(text.Dataset.Validation, Model, config.Batch, step.Context);
            Trainer = new Trainer(config, step, heldOut, log, checkpoints, options.View, state, options.Progress ?? Trainer.BudgetProgress(config));
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
    /// <param name="config">Configuration; its model takes the tokenizer's vocabulary and end token.</param>
    /// <param name="text">Text; not owned.</param>
    /// <param name="options">Workers, view, clock.</param>
    /// <exception cref="ConfigurationException">There is no model, or it does not fit the text.</exception>
    public static TrainingSession Begin(RunFolder run, TrainingConfig config, TrainingText text, SessionOptions options)
    {
        config = Fit(config, text);
        run.Description["config"] = TrainingConfigJson.Write(config);
        run.Description["text"] = DescribeText(text);
        run.Description["threads"] = options.Workers.Workers;
        TrainingSession session = new(run, config, text, options, resumes: false);
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
    /// <param name="text">The same text as before; not owned.</param>
    /// <param name="options">Workers, view, clock.</param>
    /// <exception cref="ConfigurationException">The text is not the one that the run was started with.</exception>
    public static TrainingSession Resume(RunFolder run, TrainingText text, SessionOptions options)
    {
        string? hash = run.Description["text"]?["hash"]?.GetValue<string>();
        if (hash != text.Dataset.ContentHash)
        {
            throw new ConfigurationException($"{run.Path}: the text in {text.Folder} is not the one that this run was trained on (hash {text.Dataset.ContentHash}, expected {hash}). Restore it, or start a new run.");
        }

        return new TrainingSession(run, run.ReadConfig(), text, options, resumes: true);
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

    private static TrainingConfig Fit(TrainingConfig config, TrainingText text)
    {
        ModelConfig model = config.Model ?? throw new ConfigurationException("the configuration names no model. Give --preset NAME, or a section model in --config FILE.");
        model = model with { VocabSize = text.Tokenizer.VocabSize, BosTokenId = text.Tokenizer.BosTokenId, EosTokenId = text.Tokenizer.EosTokenId };
        return config with { Model = model };
    }

    private static System.Text.Json.Nodes.JsonObject DescribeText(TrainingText text)
    {
        TokenDataset data = text.Dataset;
        return new()
        {
            ["folder"] = Path.GetFullPath(text.Folder),
            ["hash"] = data.ContentHash,
            ["vocab_size"] = data.VocabSize,
            ["train_documents"] = data.Train.NumDocuments,
            ["train_bytes"] = data.Train.NumBytes,
            ["train_tokens"] = data.Train.NumTokens,
            ["validation_documents"] = data.Validation.NumDocuments,
            ["validation_bytes"] = data.Validation.NumBytes,
            ["validation_tokens"] = data.Validation.NumTokens,
            ["unigram_bits_per_byte"] = data.Baselines.UnigramBitsPerByte,
            ["bigram_bits_per_byte"] = data.Baselines.BigramBitsPerByte,
        };
    }
}
