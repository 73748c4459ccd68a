using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Moe;
using MoeSharp.Moe.Balance;
using MoeSharp.Tensors;

namespace MoeSharp.Training;

/// <summary>Routing in a handful of numbers, whatever the number of layers and experts. Not a number where a model has nothing of the kind.</summary>
/// <param name="LoadMaxRatio">Largest load of an expert over the mean of its layer, worst layer: MaxVio + 1.</param>
/// <param name="LoadP05">5th percentile of the loads over their mean, mean of the layers.</param>
/// <param name="LoadP50">Median of the loads over their mean, mean of the layers.</param>
/// <param name="LoadP95">95th percentile of the loads over their mean, mean of the layers.</param>
/// <param name="LoadVariation">Standard deviation of the loads over their mean, mean of the layers.</param>
/// <param name="DeadShare">Share of the experts with less than a hundredth of an even load.</param>
/// <param name="RouterEntropy">Entropy of routing probabilities over its largest value, mean of the layers.</param>
/// <param name="TopMargin">Distance between a token's two largest probabilities, mean of the layers.</param>
/// <param name="SharedShare">Length of the shared output over that of both, mean of the layers.</param>
/// <param name="BiasRange">Largest less smallest selection bias, widest layer.</param>
public readonly record struct RoutingBrief(
    double LoadMaxRatio,
    double LoadP05,
    double LoadP50,
    double LoadP95,
    double LoadVariation,
    double DeadShare,
    double RouterEntropy,
    double TopMargin,
    double SharedShare,
    double BiasRange)
{
    /// <summary>Number of series.</summary>
    public const int Count = 10;

    private static readonly string[] s_names =
        ["load_max_ratio", "load_p05", "load_p50", "load_p95", "load_cv", "dead_expert_frac", "router_entropy", "top1_margin", "shared_share", "bias_range"];

    /// <summary>Nothing measured.</summary>
    public static RoutingBrief Empty { get; } = new(double.NaN, double.NaN, double.NaN, double.NaN, double.NaN, double.NaN, double.NaN, double.NaN, double.NaN, double.NaN);

    /// <summary>Name of a series in logs.</summary>
    public static string NameOf(int series) => s_names[series];

    /// <summary>Value of a series.</summary>
    public double this[int series] => series switch
    {
        0 => LoadMaxRatio,
        1 => LoadP05,
        2 => LoadP50,
        3 => LoadP95,
        4 => LoadVariation,
        5 => DeadShare,
        6 => RouterEntropy,
        7 => TopMargin,
        8 => SharedShare,
        9 => BiasRange,
        _ => throw new ArgumentOutOfRangeException(nameof(series)),
    };
}

/// <summary>Measures <see cref="RoutingBrief"/>: loads over the steps since the last log line, the rest in the logged step alone.</summary>
/// <param name="selectionBiases">By decoder layer; null where there is none.</param>
internal sealed class RoutingGauges(Parameter?[] selectionBiases)
{
    private readonly List<LayerGauge> _layers = [];
    private double[] _loads = [];
    private int _nextLayer;

    /// <summary>Starts a pass that is looked at.</summary>
    public void BeginPass() => _nextLayer = 0;

    /// <summary>Adds a layer of the pass.</summary>
    public void Add(in MoeView view, ReadOnlySpan<int> targets, WorkerPool workers)
    {
        if (_nextLayer == _layers.Count)
        {
            _layers.Add(new LayerGauge());
        }

        _layers[_nextLayer++].Add(view, targets, workers);
    }

    /// <summary>The numbers; what was added is forgotten.</summary>
    /// <param name="window">Loads of the steps since the last log line.</param>
    public RoutingBrief Take(LoadTable window)
    {
        if (window.NumLayers == 0)
        {
            return RoutingBrief.Empty;
        }

        (double p05, double p50, double p95, double variation) = (0, 0, 0, 0);
        (int dead, int experts) = (0, 0);
        for (int layer = 0; layer < window.NumLayers; layer++)
        {
            Span<double> loads = Relative(window.TokensPerExpert(layer));
            double squares = 0;
            foreach (double load in loads)
            {
                squares += (load - 1) * (load - 1);
                dead += load < LoadCollapse.IdleBelow ? 1 : 0;
            }

            experts += loads.Length;
            loads.Sort();
            p05 += Quantile(loads, 0.05) / window.NumLayers;
            p50 += Quantile(loads, 0.5) / window.NumLayers;
            p95 += Quantile(loads, 0.95) / window.NumLayers;
            variation += Math.Sqrt(squares / loads.Length) / window.NumLayers;
        }

        (double entropy, double margin, double shared) = Means();
        return new RoutingBrief(window.MaxOverMean(), p05, p50, p95, variation, dead / (double)experts, entropy, margin, shared, BiasRange());
    }

    private (double Entropy, double Margin, double Shared) Means()
    {
        (double entropy, double margin, double shared) = (0, 0, 0);
        foreach (LayerGauge layer in _layers)
        {
            entropy += layer.RouterEntropy / _layers.Count;
            margin += layer.TopMargin / _layers.Count;
            shared += layer.SharedShare / _layers.Count;
            layer.Clear();
        }

        return _layers.Count == 0 ? (double.NaN, double.NaN, double.NaN) : (entropy, margin, shared);
    }

    private double BiasRange()
    {
        double widest = double.NaN;
        foreach (Parameter? bias in selectionBiases)
        {
            if (bias is null)
            {
                continue;
            }

            (float low, float high) = (float.PositiveInfinity, float.NegativeInfinity);
            foreach (float value in bias.Value)
            {
                (low, high) = (Math.Min(low, value), Math.Max(high, value));
            }

            widest = double.IsNaN(widest) ? high - low : Math.Max(widest, high - low);
        }

        return widest;
    }

    private Span<double> Relative(ReadOnlySpan<long> counts)
    {
        if (_loads.Length < counts.Length)
        {
            _loads = new double[counts.Length];
        }

        long sum = 0;
        foreach (long count in counts)
        {
            sum += count;
        }

        for (int expert = 0; expert < counts.Length; expert++)
        {
            _loads[expert] = sum == 0 ? 0 : (double)counts[expert] * counts.Length / sum;
        }

        return _loads.AsSpan(0, counts.Length);
    }

    private static double Quantile(ReadOnlySpan<double> sorted, double share)
    {
        double at = share * (sorted.Length - 1);
        int below = (int)at;
        int above = Math.Min(below + 1, sorted.Length - 1);
        return sorted[below] + ((at - below) * (sorted[above] - sorted[below]));
    }
}
