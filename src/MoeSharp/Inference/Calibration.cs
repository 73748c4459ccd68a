using MoeSharp.Checkpoints.Export;
using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;

namespace MoeSharp.Inference;

/// <summary>Runs text through a model to learn which columns of its weights matter.</summary>
public static class Calibration
{
    /// <summary>Tokens that go through the model together; each window stands alone.</summary>
    public const int WindowLength = 512;

    private const int HeadRows = 16; // of each window; logits of all would be larger than everything else

    /// <summary>Collects the mean squares of all inputs of all weights.</summary>
    /// <param name="model">Model; not owned.</param>
    /// <param name="tokens">Text.</param>
    /// <param name="workers">Workers; not owned.</param>
    /// <param name="progress">Told the tokens done; null for silence.</param>
    /// <param name="cancel">Checked between windows and between layers.</param>
    public static ColumnImportance Collect(LanguageModel model, ReadOnlySpan<int> tokens, WorkerPool workers, Action<int>? progress, CancellationToken cancel)
    {
        ColumnImportance importance = new();
        using ForwardContext context = new(workers)
        {
            IsGivenUp = () => cancel.IsCancellationRequested,
            Observer = (weight, group, row) => importance.Add(weight.Name, weight.Shape.Rank == 3 ? weight.Shape[0] : 1, group, row),
        };
        TokenBatch batch = new();
        float[] logits = new float[HeadRows * model.Config.VocabSize];
        for (int done = 0; done < tokens.Length; done += WindowLength)
        {
            cancel.ThrowIfCancellationRequested();
            ReadOnlySpan<int> window = tokens.Slice(done, Math.Min(WindowLength, tokens.Length - done));
            batch.Resize(window.Length, window.Length);
            batch.AddSegment(new AttentionSegment(0, window.Length, 0, window.Length), 0);
            window.CopyTo(batch.TokenIds);
            int rows = Math.Min(HeadRows, window.Length);
            model.Logits(batch, rows, logits.AsSpan(0, rows * model.Config.VocabSize), context);
            progress?.Invoke(done + window.Length);
        }

        return importance;
    }
}
