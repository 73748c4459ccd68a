using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;

namespace MoeSharp.Analysis.Study;

/// <summary>Runs a model over the text of a study, as it is or with an intervention, and lets statistics look on.</summary>
public sealed class StudyPasses : IDisposable
{
    private readonly LanguageModel _model;
    private readonly ForwardContext _context;
    private readonly TokenBatch _batch = new();
    private readonly CancellationToken _cancellation;
    private float[] _losses = [];

    /// <summary>Prepares passes.</summary>
    /// <param name="model">Model; not owned.</param>
    /// <param name="text">Text.</param>
    /// <param name="workers">Workers; not owned.</param>
    /// <param name="cancellation">Checked before each pass.</param>
    public StudyPasses(LanguageModel model, StudyText text, WorkerPool workers, CancellationToken cancellation)
    {
        (_model, Text, _cancellation) = (model, text, cancellation);
        _context = new ForwardContext(workers);
    }

    /// <summary>The text.</summary>
    public StudyText Text { get; }

    /// <summary>Told the number of rows after each pass.</summary>
    public Action<int>? Progress { get; set; }

    /// <summary>Runs all passes.</summary>
    /// <param name="intervention">What is changed; null for the model as it is.</param>
    /// <param name="statistics">Who looks on; null for nobody.</param>
    /// <returns>The losses.</returns>
    /// <exception cref="InterventionException">The intervention cannot be made in this model.</exception>
    /// <exception cref="ConfigurationException">The model's loss is not finite.</exception>
    public StudyLosses Run(RoutingIntervention? intervention, RoutingStatistics? statistics)
    {
        StudyLosses losses = new(Text);
        _context.Intervention = intervention;
        _context.MoeObserver = statistics is null ? null : statistics.Observe;
        _context.AttentionObserver = statistics is null ? null : statistics.ObserveAttention;
        try
        {
            for (int pass = 0; pass < Text.NumPasses; pass++)
            {
                _cancellation.ThrowIfCancellationRequested();
                RunPass(pass, losses, statistics);
            }
        }
        finally
        {
            (_context.Intervention, _context.MoeObserver, _context.AttentionObserver) = (null, null, null);
        }

        double loss = losses.Loss.Mean;
        string text = _model.Config.OutputTokens > 0 ? $", or the text has tokens above {_model.Config.OutputTokens - 1}, which it never writes" : "";
        return double.IsFinite(loss)
            ? losses
            : throw new ConfigurationException($"the loss is {loss}: the model's weights are damaged, or its training diverged{text}. Use another checkpoint{(text.Length > 0 ? " or another text" : "")}.");
    }

    /// <inheritdoc/>
    public void Dispose() => _context.Dispose();

    private void RunPass(int pass, StudyLosses losses, RoutingStatistics? statistics)
    {
        Text.Fill(pass, _batch);
        statistics?.BeginPass(Text.Windows(pass), _batch);
        if (_losses.Length < _batch.Count)
        {
            _losses = new float[_batch.Count];
        }

        _model.Loss(_batch, _losses.AsSpan(0, _batch.Count), _context);
        statistics?.EndPass();
        int row = 0;
        foreach (StudyWindow window in Text.Windows(pass))
        {
            losses.Add(window, _losses.AsSpan(row, window.Rows), _batch.Targets.Slice(row, window.Rows));
            row += window.Rows;
        }

        Progress?.Invoke(_batch.Count);
    }
}
