using MoeSharp.Data;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Training;

namespace MoeSharp.Tests.Training;

/// <summary>A model of a few thousand weights at the begin of its training on a <see cref="TinyText"/>, with the step that trains it.</summary>
internal sealed class TinyRun : IDisposable
{
    private readonly TinyText _text = new();

    public TinyRun(int workers, params string[] settings)
        : this(workers, TinyText.Config(settings))
    {
    }

    public TinyRun(int workers, TrainingConfig config)
    {
        Config = config with { Model = config.Model! with { VocabSize = _text.VocabSize } };
        Config.Validate("test");
        Workers = new WorkerPool(workers);
        Model = new LanguageModel(Config.Model!);
        WeightInit.Initialize(Model, 1, WeightInitScheme.FanIn, Workers);
        Step = new TrainingStep(Config, Model, Loader(), Workers, TimeProvider.System);
    }

    public TrainingConfig Config { get; }

    public WorkerPool Workers { get; }

    public LanguageModel Model { get; }

    public TrainingStep Step { get; }

    /// <summary>The batches that the step takes, from their begin.</summary>
    public BatchLoader Loader() => _text.Loader(Config);

    public float[] Weights() => [.. Model.Parameters.SelectMany(parameter => parameter.Value.ToArray())];

    public void Dispose()
    {
        Step.Dispose();
        Model.Dispose();
        Workers.Dispose();
        _text.Dispose();
    }
}
