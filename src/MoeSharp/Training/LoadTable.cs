using MoeSharp.Execution;
using MoeSharp.Moe.Balance;

namespace MoeSharp.Training;

/// <summary>Routed slots per layer and expert, summed over any number of forward passes.</summary>
public sealed class LoadTable
{
    private long[][] _counts = [];
    private int[] _layers = [];

    /// <summary>MoE layers seen so far.</summary>
    public int NumLayers => _counts.Length;

    /// <summary>Decoder index of the <paramref name="index"/>-th MoE layer.</summary>
    public int Layer(int index) => _layers[index];

    /// <summary>Slots per expert of the <paramref name="index"/>-th MoE layer, [experts].</summary>
    public ReadOnlySpan<long> TokensPerExpert(int index) => _counts[index];

    /// <summary>Adds what another table holds; allocates only when the layers are new.</summary>
    public void Add(LoadTable other)
    {
        if (!HasShapeOf(other))
        {
            _counts = [.. other._counts.Select(counts => new long[counts.Length])];
            _layers = [.. other._layers];
        }

        for (int index = 0; index < _counts.Length; index++)
        {
            for (int expert = 0; expert < _counts[index].Length; expert++)
            {
                _counts[index][expert] += other._counts[index][expert];
            }
        }
    }

    /// <summary>Adds one pass; allocates only when the layers are new.</summary>
    public void Add(RoutingRecord record)
    {
        IReadOnlyList<LayerRouting> layers = record.Layers;
        if (_counts.Length != layers.Count)
        {
            _counts = [.. layers.Select(layer => new long[layer.TokensPerExpert.Length])];
            _layers = [.. layers.Select(layer => layer.Layer)];
        }

        for (int index = 0; index < _counts.Length; index++)
        {
            long[] counts = _counts[index];
            long[] added = layers[index].TokensPerExpert;
            for (int expert = 0; expert < counts.Length; expert++)
            {
                counts[expert] += added[expert];
            }
        }
    }

    /// <summary>Takes counts that were read from a file.</summary>
    internal void Set(int[] layers, long[][] counts) => (_layers, _counts) = (layers, counts);

    /// <summary>Sets all counts to zero.</summary>
    public void Clear()
    {
        foreach (long[] counts in _counts)
        {
            Array.Clear(counts);
        }
    }

    /// <summary>Largest load over the mean, of the layer where that is worst; 0 without MoE layers or tokens.</summary>
    public double MaxOverMean()
    {
        double worst = 0;
        foreach (long[] counts in _counts)
        {
            worst = Math.Max(worst, LoadImbalance.MaxOverMean(counts));
        }

        return worst;
    }

    /// <summary>Experts with less than a hundredth of an even load, over all layers; see <see cref="LoadCollapse.IdleBelow"/>.</summary>
    public int NumIdle()
    {
        int idle = 0;
        foreach (long[] counts in _counts)
        {
            idle += LoadCollapse.NumIdle(counts);
        }

        return idle;
    }

    /// <summary>Layers that have collapsed.</summary>
    /// <param name="topK">Experts per token.</param>
    public IReadOnlyList<LoadCollapse> Collapsed(int topK)
    {
        List<LoadCollapse> collapsed = [];
        for (int index = 0; index < _counts.Length; index++)
        {
            if (LoadCollapse.Of(_layers[index], _counts[index], topK) is { } collapse)
            {
                collapsed.Add(collapse);
            }
        }

        return collapsed;
    }

    /// <summary>Experts without a token, over all layers.</summary>
    public int NumDead()
    {
        int dead = 0;
        foreach (long[] counts in _counts)
        {
            foreach (long count in counts)
            {
                dead += count == 0 ? 1 : 0;
            }
        }

        return dead;
    }

    private bool HasShapeOf(LoadTable other)
    {
        bool isSame = _counts.Length == other._counts.Length;
        for (int index = 0; isSame && index < _counts.Length; index++)
        {
            isSame = _counts[index].Length == other._counts[index].Length;
        }

        return isSame;
    }
}
