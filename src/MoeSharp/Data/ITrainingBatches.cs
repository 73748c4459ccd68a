using MoeSharp.Execution;

namespace MoeSharp.Data;

/// <summary>Where a training stream stands: how many epochs are behind it, and how many rows of this one.</summary>
/// <param name="Epoch">Passes over the training text that are complete; 0 for a stream that never repeats.</param>
/// <param name="Row">Rows of the current pass already handed out.</param>
public readonly record struct LoaderPosition(long Epoch, long Row);

/// <summary>Training batches, one after another, all of one size.</summary>
public interface ITrainingBatches
{
    /// <summary>Rows in one batch.</summary>
    int RowsPerBatch { get; }

    /// <summary>Rows of a batch that have a target.</summary>
    int TargetsPerBatch { get; }

    /// <summary>Where the next batch begins. Setting it continues exactly as a stream that came there by itself.</summary>
    /// <exception cref="ConfigurationException">No stream of this kind can stand there.</exception>
    LoaderPosition Position { get; set; }

    /// <summary>Fills a batch. Allocates nothing once the batch has had its size.</summary>
    /// <param name="batch">Receives tokens, targets, positions and segments.</param>
    void Next(TokenBatch batch);
}
