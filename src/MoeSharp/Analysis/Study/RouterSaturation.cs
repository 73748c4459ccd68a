using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;

namespace MoeSharp.Analysis.Study;

/// <summary>How far the routing of one checkpoint is that of the last one.</summary>
/// <param name="Step">Training steps of the checkpoint.</param>
/// <param name="Layers">Decoder layers.</param>
/// <param name="Shares">Saturation of each of these layers.</param>
public sealed record SaturationPoint(long Step, IReadOnlyList<int> Layers, IReadOnlyList<double> Shares)
{
    /// <summary>Mean over the layers.</summary>
    public double Mean => Shares.Average();
}

/// <summary>Every choice of a model over text, to compare checkpoints of a run.</summary>
/// <remarks>Router saturation at t = mean over tokens of |experts chosen at t and at the end| / k (OLMoE, arXiv 2409.02060, section 5.1).</remarks>
public sealed class RouterChoices
{
    private const int MostRows = 16384; // choices differ little between samples of this size (arbitrary)

    private readonly List<List<int>> _layers = [];
    private readonly List<int> _indices = [];
    private int _topK;

    private RouterChoices()
    {
    }

    /// <summary>Collects the choices over the first passes of a text.</summary>
    /// <param name="model">Model.</param>
    /// <param name="text">Text.</param>
    /// <param name="workers">Workers.</param>
    /// <param name="cancellation">Checked before each pass.</param>
    public static RouterChoices Of(LanguageModel model, StudyText text, WorkerPool workers, CancellationToken cancellation)
    {
        RouterChoices choices = new();
        using ForwardContext context = new(workers);
        TokenBatch batch = new();
        float[] losses = [];
        int rows = 0;
        int layer = 0;
        context.MoeObserver = (in MoeView view) => choices.Add(view, batch, layer++);
        for (int pass = 0; pass < text.NumPasses && rows < MostRows; pass++)
        {
            cancellation.ThrowIfCancellationRequested();
            text.Fill(pass, batch);
            Array.Resize(ref losses, batch.Count);
            layer = 0;
            model.Loss(batch, losses, context);
            rows += batch.Count;
        }

        return choices;
    }

    /// <summary>Saturation of these choices against those of the last checkpoint.</summary>
    /// <param name="step">Training steps of these.</param>
    /// <param name="last">The last checkpoint's, over the same text.</param>
    /// <exception cref="ConfigurationException">The checkpoints are of different models.</exception>
    public SaturationPoint Against(long step, RouterChoices last)
    {
        if (_topK != last._topK || !_indices.SequenceEqual(last._indices) || _layers.Zip(last._layers).Any(pair => pair.First.Count != pair.Second.Count))
        {
            throw new ConfigurationException($"the checkpoint of step {step} has other layers or another number of experts per token than the last one: they are not of one run");
        }

        return new SaturationPoint(step, _indices, [.. _layers.Zip(last._layers, Share)]);
    }

    private double Share(List<int> mine, List<int> theirs)
    {
        long same = 0;
        for (int begin = 0; begin < mine.Count; begin += _topK)
        {
            for (int slot = begin; slot < begin + _topK; slot++)
            {
                for (int other = begin; other < begin + _topK; other++)
                {
                    same += mine[slot] >= 0 && mine[slot] == theirs[other] ? 1 : 0;
                }
            }
        }

        return mine.Count == 0 ? double.NaN : same / (double)mine.Count;
    }

    private void Add(in MoeView view, TokenBatch batch, int layer)
    {
        if (layer == _layers.Count)
        {
            _layers.Add([]);
            _indices.Add(view.Layer);
            _topK = view.TopK;
        }

        for (int row = 0; row < batch.Count; row++)
        {
            if (batch.Targets[row] >= 0)
            {
                _layers[layer].AddRange(view.ExpertIds.Slice(row * view.TopK, view.TopK));
            }
        }
    }
}
