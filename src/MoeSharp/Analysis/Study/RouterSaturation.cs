using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Training;

namespace MoeSharp.Analysis.Study;

/// <summary>The choices that a model's routers make on the text of a study, to compare checkpoints of a run.</summary>
public static class RouterSaturation
{
    private const int MostRows = 16384; // choices differ little between samples of this size (arbitrary)

    /// <summary>Collects the choices over the first passes of a text.</summary>
    /// <param name="model">Model.</param>
    /// <param name="text">Text.</param>
    /// <param name="workers">Workers.</param>
    /// <param name="cancellation">Checked before each pass.</param>
    public static RouterChoices ChoicesOf(LanguageModel model, StudyText text, WorkerPool workers, CancellationToken cancellation)
    {
        RouterChoices choices = new();
        using ForwardContext context = new(workers);
        TokenBatch batch = new();
        float[] losses = [];
        bool[] counts = [];
        int rows = 0;
        context.MoeObserver = (in MoeView view) => choices.Add(view, counts);
        for (int pass = 0; pass < text.NumPasses && rows < MostRows; pass++)
        {
            cancellation.ThrowIfCancellationRequested();
            text.Fill(pass, batch);
            Array.Resize(ref losses, batch.Count);
            counts = [.. batch.Targets[..batch.Count].ToArray().Select(target => target >= 0)];
            choices.BeginPass();
            model.Loss(batch, losses, context);
            rows += batch.Count;
        }

        return choices;
    }
}
