namespace MoeSharp.Execution;

/// <summary>What the routers of one kind of layer did in one forward pass: loads, auxiliary losses and, when asked for, every choice.</summary>
public sealed class RoutingRecord
{
    private readonly List<LayerRouting> _layers = [];
    private double[] _jointLoads = []; // [experts]
    private int _used;

    /// <summary>Whether logits, scores, choices and weights of every token are kept (for verification and studies; costs memory).</summary>
    public bool CaptureTokens { get; set; }

    /// <summary>The MoE layers of the last pass, in order.</summary>
    public IReadOnlyList<LayerRouting> Layers => _layers.Count == _used ? _layers : _layers.GetRange(0, _used);

    /// <summary>Number of MoE layers in the last pass.</summary>
    public int NumLayers => _used;

    /// <summary>The layer that is being computed.</summary>
    public LayerRouting Current => _layers[_used - 1];

    /// <summary>Starts a new pass.</summary>
    public void Reset() => _used = 0;

    /// <summary>Share of each expert in the slots of all layers, times the number of experts: 1 when balanced.</summary>
    /// <returns>[experts], the same index in every layer; zeros without any slot. Valid until it is asked for again.</returns>
    public ReadOnlySpan<double> JointLoads()
    {
        int experts = _used == 0 ? 0 : _layers[0].TokensPerExpert.Length;
        if (_jointLoads.Length != experts)
        {
            _jointLoads = new double[experts];
        }

        Array.Clear(_jointLoads);
        long all = 0;
        for (int layer = 0; layer < _used; layer++)
        {
            long[] counts = _layers[layer].TokensPerExpert;
            for (int expert = 0; expert < experts; expert++)
            {
                _jointLoads[expert] += counts[expert];
                all += counts[expert];
            }
        }

        for (int expert = 0; expert < experts && all > 0; expert++)
        {
            _jointLoads[expert] *= (double)experts / all;
        }

        return _jointLoads;
    }

    /// <summary>The next layer's record, reused from the pass before.</summary>
    /// <param name="layer">Index of the decoder layer.</param>
    /// <param name="numExperts">Routed experts.</param>
    public LayerRouting Next(int layer, int numExperts)
    {
        if (_used == _layers.Count)
        {
            _layers.Add(new LayerRouting(this));
        }

        LayerRouting record = _layers[_used++];
        record.Begin(layer, numExperts);
        return record;
    }
}

/// <summary>One MoE layer's routing in one forward pass.</summary>
public sealed class LayerRouting
{
    private AuxiliaryLosses _losses;

    internal LayerRouting(RoutingRecord pass) => Pass = pass;

    /// <summary>What the layer is a part of.</summary>
    internal RoutingRecord Pass { get; }

    /// <summary>Index of the decoder layer.</summary>
    public int Layer { get; private set; }

    /// <summary>Slots of real tokens that want each expert, before capacity drops some, [experts].</summary>
    public long[] TokensPerExpert { get; private set; } = [];

    /// <summary>Slots that asked for a place where capacity is limited; 0 where it is not.</summary>
    public long AskedSlots { get; set; }

    /// <summary>Slots among them that found none.</summary>
    public long DroppedSlots { get; set; }

    /// <summary>Auxiliary losses without their factors; 0 where one is off.</summary>
    public ref AuxiliaryLosses Losses => ref _losses;

    /// <summary>Mean score of each expert over the pass's tokens, [experts]; zeros unless losses are taken over all layers.</summary>
    public double[] MeanScores { get; private set; } = [];

    /// <summary>Router logits, [tokens, experts]; empty unless captured.</summary>
    public float[] RouterLogits { get; set; } = [];

    /// <summary>Scores before selection, [tokens, experts]; empty unless captured.</summary>
    public float[] RouterProbs { get; set; } = [];

    /// <summary>Experts that the router chose, before capacity dropped some, [tokens, top_k]; empty unless captured and limited.</summary>
    public int[] RequestedExpertIds { get; set; } = [];

    /// <summary>Experts that were used, [tokens, top_k], descending score, -1 where none; empty unless captured.</summary>
    public int[] ExpertIds { get; set; } = [];

    /// <summary>Weights that combine multiplies, [tokens, top_k]; empty unless captured.</summary>
    public float[] RoutingWeights { get; set; } = [];

    internal void Begin(int layer, int numExperts)
    {
        Layer = layer;
        if (TokensPerExpert.Length != numExperts)
        {
            (TokensPerExpert, MeanScores) = (new long[numExperts], new double[numExperts]);
        }

        Array.Clear(TokensPerExpert);
        Array.Clear(MeanScores);
        _losses = default;
        (AskedSlots, DroppedSlots) = (0, 0);
        (RouterLogits, RouterProbs, RequestedExpertIds, ExpertIds, RoutingWeights) = ([], [], [], [], []);
    }
}
