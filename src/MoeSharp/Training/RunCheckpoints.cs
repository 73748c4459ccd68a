using System.Text.Json;
using System.Text.Json.Serialization;
using MoeSharp.Checkpoints;
using MoeSharp.Data;
using MoeSharp.Model;

namespace MoeSharp.Training;

/// <summary>Saves a run's weights, moments and position into its checkpoint store, and restores them.</summary>
public sealed class RunCheckpoints
{
    private readonly CheckpointStore _store;
    private readonly LanguageModel _model;
    private readonly ITrainingBatches _batches;
    private readonly string? _tokenizerFolder;

    /// <summary>Connects a run with its store.</summary>
    /// <param name="store">Store of the run folder; not owned.</param>
    /// <param name="model">Model that is trained; not owned.</param>
    /// <param name="batches">Training sequences; their position is part of a checkpoint. Not owned.</param>
    /// <param name="tokenizerFolder">Folder of the tokenizer, copied into every checkpoint; null for none.</param>
    public RunCheckpoints(CheckpointStore store, LanguageModel model, ITrainingBatches batches, string? tokenizerFolder) =>
        (_store, _model, _batches, _tokenizerFolder) = (store, model, batches, tokenizerFolder);

    /// <summary>Folder of the newest checkpoint, or null before the first.</summary>
    public string? Newest { get; private set; }

    /// <summary>Writes a checkpoint.</summary>
    /// <returns>Its folder.</returns>
    /// <exception cref="TrainingException">The disk refused; earlier checkpoints are untouched.</exception>
    public string Save(AdamWOptimizer optimizer, TrainingState state)
    {
        TrainingDetails details = new(state.Seconds, double.IsNaN(state.LastLoss) ? null : state.LastLoss, state.Validation, _batches.Position);
        Newest = _store.Save(new CheckpointContent
        {
            Config = _model.Config,
            Parameters = _model.Parameters,
            State = new TrainerState(state.Step, state.Tokens, JsonSerializer.Serialize(details, TrainingDetailsJson.Default.TrainingDetails)),
            Tensors = Moments(optimizer),
            TokenizerFolder = _tokenizerFolder,
        }).Folder;
        return Newest;
    }

    /// <summary>Loads weights, moments and data position of a checkpoint.</summary>
    /// <returns>How far the run had come.</returns>
    /// <exception cref="FileFormatException">The checkpoint does not fit the model, or its state cannot be read.</exception>
    public TrainingState Restore(Checkpoint checkpoint, AdamWOptimizer optimizer)
    {
        TrainerState saved = checkpoint.ReadState();
        TrainingDetails details;
        try
        {
            details = JsonSerializer.Deserialize(saved.Details, TrainingDetailsJson.Default.TrainingDetails) ?? throw new JsonException("it is null");
        }
        catch (JsonException error)
        {
            throw new FileFormatException($"{checkpoint.Folder}: the trainer's state cannot be read: {error.Message}", error);
        }

        checkpoint.LoadWeights(_model.Parameters);
        checkpoint.LoadTensors(Moments(optimizer));
        optimizer.StepsDone = saved.Step;
        _batches.Position = details.DataPosition;
        Newest = checkpoint.Folder;
        return new TrainingState(saved.Step, saved.Tokens, details.Seconds, details.LastLoss ?? double.NaN, details.Validation);
    }

    private static List<TrainerTensor> Moments(AdamWOptimizer optimizer)
    {
        List<TrainerTensor> tensors = [];
        for (int i = 0; i < optimizer.Parameters.Count; i++)
        {
            int index = i; // one variable per closure
            tensors.Add(new TrainerTensor($"first_moment.{optimizer.Parameters[i].Name}", optimizer.Parameters[i].Shape, () => optimizer.FirstMoment(index)));
            tensors.Add(new TrainerTensor($"second_moment.{optimizer.Parameters[i].Name}", optimizer.Parameters[i].Shape, () => optimizer.SecondMoment(index)));
        }

        return tensors;
    }
}

/// <summary>What a checkpoint keeps of a run besides step and tokens.</summary>
internal sealed record TrainingDetails(double Seconds, double? LastLoss, ValidationResult? Validation, LoaderPosition DataPosition);

/// <summary>Source-generated JSON of <see cref="TrainingDetails"/>.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(TrainingDetails))]
internal sealed partial class TrainingDetailsJson : JsonSerializerContext;
