using System.Globalization;
using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Moe;
using MoeSharp.Moe.Balance;

namespace MoeSharp.Analysis.Study;

/// <summary>What one MoE layer did with the text of a study.</summary>
public sealed class LayerStatistics
{
    /// <summary>An expert with less than this share of its even load counts as dead.</summary>
    public const double DeadBelow = LoadCollapse.IdleBelow;

    private readonly long[] _load;
    private readonly double[] _mass;
    private readonly int[] _passLoad;
    private readonly long[] _groupLoad; // [domains * 2, experts]
    private readonly int[] _pairs; // [experts, experts]: rows are the later slots
    private readonly int[] _run; // of neighbouring rows of one group
    private readonly int _numDomains;
    private readonly LayerGauge _gauge = new();
    private double _batchViolationSum;
    private int _passes;
    private long _askedSlots;
    private long _droppedSlots;
    private int[] _ids = []; // of the pass, [rows * top_k]
    private float[] _weights = [];

    internal LayerStatistics(int layer, ExpertPart part, int numExperts, int topK, int numDomains, int[] liftTokens)
    {
        (Layer, Part, TopK, _numDomains) = (layer, part, topK, numDomains);
        _load = new long[numExperts];
        _mass = new double[numExperts];
        _passLoad = new int[numExperts];
        _groupLoad = new long[2 * numDomains * numExperts];
        _pairs = new int[numExperts * numExperts];
        _run = new int[numExperts];
        Lift = new TokenLift(layer, numExperts, liftTokens);
    }

    /// <summary>Decoder layer.</summary>
    public int Layer { get; }

    /// <summary>Whose experts they are.</summary>
    public ExpertPart Part { get; }

    /// <summary>The layer as people call it: <c>3</c>, or <c>3, attention</c>.</summary>
    public string Name => Part switch
    {
        ExpertPart.Attention => string.Create(CultureInfo.InvariantCulture, $"{Layer}, attention"),
        ExpertPart.AttentionValues => string.Create(CultureInfo.InvariantCulture, $"{Layer}, attention values"),
        ExpertPart.AttentionOutputs => string.Create(CultureInfo.InvariantCulture, $"{Layer}, attention outputs"),
        _ => Layer.ToString(CultureInfo.InvariantCulture),
    };

    /// <summary>Routed experts; of all heads, where every head has its own.</summary>
    public int NumExperts => _load.Length;

    /// <summary>Slots per token.</summary>
    public int TopK { get; }

    /// <summary>Tokens per expert, [experts].</summary>
    public ReadOnlySpan<long> Load => _load;

    /// <summary>Slots that reached an expert.</summary>
    public long NumSlots { get; private set; }

    /// <summary>Share of the slots that found no place, where experts have a capacity; of all rows of all passes.</summary>
    public double DropRate => _askedSlots == 0 ? 0 : _droppedSlots / (double)_askedSlots;

    /// <summary>Which tokens the experts take.</summary>
    public TokenLift Lift { get; }

    /// <summary>Mean entropy of a token's routing probabilities over its largest value; not a number for a router without scores.</summary>
    public double RouterEntropy => _gauge.RouterEntropy;

    /// <summary>Mean distance between a token's two largest probabilities; not a number for a router without scores.</summary>
    public double TopMargin => _gauge.TopMargin;

    /// <summary>Mean of |shared output| over |shared output| + |routed output|; not a number without shared experts.</summary>
    public double SharedShare => _gauge.SharedShare;

    /// <summary>MaxVio over the whole text: largest load over the mean, minus 1 (arXiv 2408.15664).</summary>
    public double MaxViolation => NumSlots == 0 ? 0 : (_load.Max() * (double)NumExperts / NumSlots) - 1;

    /// <summary>MaxVio of each pass, averaged: what a machine that computes this many tokens at once feels.</summary>
    public double BatchMaxViolation => _passes == 0 ? 0 : _batchViolationSum / _passes;

    /// <summary>Entropy of the experts' loads over its largest value: 1 when balanced.</summary>
    public double LoadEntropy => Entropy(_load, NumSlots) / Math.Log(Math.Max(2, NumExperts));

    /// <summary>Standard deviation of the loads over their mean.</summary>
    public double LoadVariation
    {
        get
        {
            double mean = NumSlots / (double)NumExperts;
            return mean == 0 ? 0 : Math.Sqrt(_load.Average(load => (load - mean) * (load - mean))) / mean;
        }
    }

    /// <summary>Experts that took less than <see cref="DeadBelow"/> of an even load.</summary>
    public int NumDead => _load.Count(load => load * (double)NumExperts < DeadBelow * NumSlots);

    /// <summary>What is wrong where the layer's experts have collapsed; null where they have not, or where the text is too short to say.</summary>
    public LoadCollapse? Collapse => LoadCollapse.Of(Layer, _load, TopK);

    /// <summary>An expert's load over the mean: 1 when balanced.</summary>
    public double RelativeLoad(int expert) => NumSlots == 0 ? 0 : _load[expert] * (double)NumExperts / NumSlots;

    /// <summary>An expert's share of all routing weights, times the number of experts: tokens may come often and weigh little.</summary>
    public double RelativeMass(int expert)
    {
        double all = _mass.Sum();
        return all == 0 ? 0 : _mass[expert] / all * NumExperts;
    }

    /// <summary>A quantile of the relative loads.</summary>
    /// <param name="share">0 to 1.</param>
    public double LoadQuantile(double share)
    {
        double[] loads = [.. Enumerable.Range(0, NumExperts).Select(RelativeLoad).Order()];
        double at = share * (loads.Length - 1);
        int below = (int)at;
        int above = Math.Min(below + 1, loads.Length - 1);
        return loads[below] + ((at - below) * (loads[above] - loads[below]));
    }

    /// <summary>Share of a domain's tokens that an expert takes, over its even share: 1 when it does not care.</summary>
    public double DomainLoad(int domain, int expert)
    {
        long own = Group(domain, 0)[expert] + Group(domain, 1)[expert];
        long all = Sum(Group(domain, 0)) + Sum(Group(domain, 1));
        return all == 0 ? 0 : own * (double)NumExperts / all;
    }

    /// <summary>How alike two domains use the experts: sum over experts of the smaller of their two shares, 1 when equal.</summary>
    /// <remarks>Of a domain with itself it compares alternate documents: what chance alone leaves of 1.</remarks>
    public double DomainSimilarity(int left, int right)
    {
        double[] a = left == right ? Shares(Group(left, 0)) : Shares(Group(left, 0), Group(left, 1));
        double[] b = left == right ? Shares(Group(left, 1)) : Shares(Group(right, 0), Group(right, 1));
        return a.Length == 0 || b.Length == 0 ? double.NaN : a.Zip(b, Math.Min).Sum();
    }

    /// <summary>Of the tokens that <paramref name="expert"/> takes, the share that <paramref name="other"/> takes as well (OLMoE, arXiv 2409.02060, section 5.2).</summary>
    public double CoActivation(int expert, int other) =>
        _load[expert] == 0 ? 0 : expert == other ? 1 : TokensOfBoth(expert, other) / (double)_load[expert];

    /// <summary>Tokens that both experts took.</summary>
    public long TokensOfBoth(int expert, int other) => expert == other ? 0 : (long)_pairs[(expert * NumExperts) + other] + _pairs[(other * NumExperts) + expert];

    // The pass's memory is gone when it is over, and the layers are counted then, several at once: what is counted is copied.
    internal void Keep(in MoeView view, ReadOnlySpan<int> groups, WorkerPool workers)
    {
        _askedSlots += view.AskedSlots;
        _droppedSlots += view.DroppedSlots;
        int slots = groups.Length * view.TopK;
        if (_ids.Length < slots)
        {
            (_ids, _weights) = (new int[slots], new float[slots]);
        }

        view.ExpertIds[..slots].CopyTo(_ids);
        view.RoutingWeights[..slots].CopyTo(_weights);
        _gauge.Add(view, groups, workers);
    }

    // Windows are of one group each, so that counts of a run of rows are added to their group at its end.
    internal void CountLoads(ReadOnlySpan<int> groups)
    {
        int current = -1;
        for (int row = 0; row < groups.Length; row++)
        {
            if (groups[row] != current)
            {
                AddRun(current);
                current = groups[row];
            }

            if (current >= 0)
            {
                CountRow(_ids.AsSpan(row * TopK, TopK), _weights.AsSpan(row * TopK, TopK));
            }
        }

        AddRun(current);
    }

    internal void CountTokens(ReadOnlySpan<int> groups, ReadOnlySpan<int> columns)
    {
        for (int row = 0; row < groups.Length; row++)
        {
            if (groups[row] >= 0 && columns[row] >= 0)
            {
                Lift.Add(columns[row], _ids.AsSpan(row * TopK, TopK));
            }
        }
    }

    internal void EndPass()
    {
        (long sum, int largest) = (0, 0);
        foreach (int count in _passLoad)
        {
            sum += count;
            largest = Math.Max(largest, count);
        }

        if (sum > 0)
        {
            _batchViolationSum += (largest * (double)NumExperts / sum) - 1;
            _passes++;
        }

        Array.Clear(_passLoad);
    }

    private void CountRow(ReadOnlySpan<int> experts, ReadOnlySpan<float> weights)
    {
        int[] run = _run;
        double[] mass = _mass;
        int[] pairs = _pairs;
        int numExperts = run.Length;
        for (int slot = 0; slot < experts.Length; slot++)
        {
            int expert = experts[slot];
            if (expert < 0)
            {
                continue; // this slot has no expert
            }

            run[expert]++;
            mass[expert] += weights[slot];
            int row = expert * numExperts;
            foreach (int other in experts[..slot])
            {
                if (other >= 0)
                {
                    pairs[row + other]++;
                }
            }
        }
    }

    private void AddRun(int group)
    {
        if (group < 0)
        {
            return;
        }

        Span<long> groupLoad = _groupLoad.AsSpan(group * _load.Length, _load.Length);
        for (int expert = 0; expert < _run.Length; expert++)
        {
            int count = _run[expert];
            _load[expert] += count;
            _passLoad[expert] += count;
            groupLoad[expert] += count;
            NumSlots += count;
        }

        Array.Clear(_run);
    }

    private ReadOnlySpan<long> Group(int domain, int half) => _groupLoad.AsSpan(((2 * domain) + half) * NumExperts, NumExperts);

    private static double[] Shares(ReadOnlySpan<long> counts, ReadOnlySpan<long> more = default)
    {
        double all = Sum(counts) + Sum(more);
        if (all == 0)
        {
            return [];
        }

        double[] shares = new double[counts.Length];
        for (int expert = 0; expert < shares.Length; expert++)
        {
            shares[expert] = (counts[expert] + (more.Length > 0 ? more[expert] : 0)) / all;
        }

        return shares;
    }

    private static long Sum(ReadOnlySpan<long> counts)
    {
        long sum = 0;
        foreach (long count in counts)
        {
            sum += count;
        }

        return sum;
    }

    private static double Entropy(ReadOnlySpan<long> counts, long all)
    {
        double entropy = 0;
        foreach (long count in counts)
        {
            entropy -= count == 0 ? 0 : count / (double)all * Math.Log(count / (double)all);
        }

        return entropy;
    }
}
