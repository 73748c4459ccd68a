using MoeSharp.Kernels;

namespace MoeSharp.Execution;

/// <summary>What one layer keeps of a sequence: keys and values of every token, or a state that every token changes.</summary>
public readonly record struct LayerCache
{
    /// <summary>Key/value heads; 0 for a layer that keeps a state.</summary>
    public int NumHeads { get; private init; }

    /// <summary>Width of a head's keys.</summary>
    public int HeadDim { get; private init; }

    /// <summary>Width of a head's values.</summary>
    public int ValueDim { get; private init; }

    /// <summary>Whether the values are the first columns of the keys, which are then kept once.</summary>
    public bool IsLatent { get; private init; }

    /// <summary>Floats of the state; 0 for a layer that keeps keys and values.</summary>
    public int StateLength { get; private init; }

    /// <summary>Heads with keys and values of their own.</summary>
    public static LayerCache Heads(int numHeads, int headDim, int valueDim) => new() { NumHeads = numHeads, HeadDim = headDim, ValueDim = valueDim };

    /// <summary>One latent per token: keys whose first <paramref name="valueDim"/> columns are the values.</summary>
    public static LayerCache Latent(int width, int valueDim) => new() { NumHeads = 1, HeadDim = width, ValueDim = valueDim, IsLatent = true };

    /// <summary>A state that does not grow with the sequence (lightning attention).</summary>
    public static LayerCache State(int length) => new() { StateLength = length };
}

/// <summary>What all layers of a model keep of a sequence, and where it lies in a page.</summary>
public sealed class CacheLayout
{
    private const long LeastPageLength = 16; // one cache line

    private readonly PagedHeads[] _heads;
    private readonly (int Offset, int Length)[] _states;

    /// <summary>Lays the layers out one after the other.</summary>
    /// <param name="layers">One entry per decoder layer.</param>
    /// <param name="format">How keys and values are stored; states are always float32.</param>
    public CacheLayout(IReadOnlyList<LayerCache> layers, CacheFormat format = CacheFormat.Float32)
    {
        Format = format;
        _heads = new PagedHeads[layers.Count];
        _states = new (int Offset, int Length)[layers.Count];
        for (int layer = 0; layer < layers.Count; layer++)
        {
            LayerCache cache = layers[layer];
            _heads[layer] = cache.IsLatent
                ? PagedHeads.Latent(PageLength, cache.HeadDim, cache.ValueDim, format)
                : PagedHeads.Separate(PageLength, cache.NumHeads, cache.HeadDim, cache.ValueDim, format);
            _states[layer] = (StateLength, cache.StateLength);
            PageLength += _heads[layer].Length;
            HasPadding |= _heads[layer].HasPadding;
            StateLength = checked(StateLength + cache.StateLength);
        }
    }

    /// <summary>How keys and values are stored.</summary>
    public CacheFormat Format { get; }

    /// <summary>Floats of a page: 64 tokens of all layers.</summary>
    public long PageLength { get; }

    /// <summary>Whether some rows of values are filled up to whole cache lines.</summary>
    public bool HasPadding { get; }

    /// <summary>Bytes of a page; where no layer keeps keys and values, those of the least memory worth counting.</summary>
    public long PageBytes => Math.Max(LeastPageLength, PageLength) * sizeof(float);

    /// <summary>Floats of the layers' states of one sequence.</summary>
    public int StateLength { get; }

    /// <summary>Bytes of the layers' states of one sequence, after its last token and after the pass in progress.</summary>
    public long StateBytes => 2L * StateLength * sizeof(float);

    /// <summary>Pages that would take as much memory as the states of one sequence.</summary>
    public int StatePages => (int)((StateBytes + PageBytes - 1) / PageBytes);

    /// <summary>Whether some layer keeps a state: such a sequence can neither be shortened nor begin with another one's pages.</summary>
    public bool HasStates => StateLength > 0;

    /// <summary>Bytes of a pool with room for one sequence.</summary>
    /// <param name="tokens">Tokens of the sequence.</param>
    public long BytesFor(long tokens) => checked((KeyValuePages.PagesFor(tokens) + StatePages) * PageBytes);

    /// <summary>Place of a layer's keys and values in a page.</summary>
    public PagedHeads Heads(int layer) => _heads[layer];

    /// <summary>Place of a layer's state among a sequence's states.</summary>
    public (int Offset, int Length) State(int layer) => _states[layer];
}
