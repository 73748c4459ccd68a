using System.Text.Json.Nodes;
using MoeSharp.Data;
using MoeSharp.Execution;
using MoeSharp.Model;

namespace MoeSharp.Training;

/// <summary>What a model learns: a text, or a language whose truth is known. One source may serve many runs at once.</summary>
public interface ITrainingSource
{
    /// <summary>Where it comes from, for messages.</summary>
    string Place { get; }

    /// <summary>Tells contents apart: a run goes on only with what it was started with.</summary>
    string ContentHash { get; }

    /// <summary>Folder of the tokenizer's files, or null where tokens are no text.</summary>
    string? TokenizerFolder { get; }

    /// <summary>Gives the model the source's vocabulary.</summary>
    /// <exception cref="ConfigurationException">There is no model, or the sizes of a step do not fit the source.</exception>
    TrainingConfig Fit(TrainingConfig config);

    /// <summary>How often each token occurs in what is trained on, or in a part of it that is large enough to tell.</summary>
    /// <returns>[vocabulary].</returns>
    long[] CountTokens();

    /// <summary>Starts a stream of training batches, as many rows per call as a pass takes.</summary>
    ITrainingBatches OpenBatches(TrainingConfig config);

    /// <summary>Prepares to measure a model.</summary>
    /// <param name="model">Model; not owned.</param>
    /// <param name="batch">Sizes of a pass, as in training.</param>
    /// <param name="context">Context of the training step, whose memory is free between steps.</param>
    IHeldOut OpenHeldOut(LanguageModel model, BatchConfig batch, ForwardContext context);

    /// <summary>What run.json says about it; <c>hash</c> is the <see cref="ContentHash"/>.</summary>
    JsonObject Describe();
}
