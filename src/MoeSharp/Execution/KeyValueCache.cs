using MoeSharp.Kernels;

namespace MoeSharp.Execution;

/// <summary>Keys (rotated) and values of one sequence for every layer, so that a new token only computes itself.</summary>
public sealed class KeyValueCache : IDisposable
{
    private readonly NativeBuffer[] _keys;
    private readonly NativeBuffer[] _values;

    /// <summary>Allocates room for <paramref name="capacity"/> tokens.</summary>
    /// <param name="numLayers">Decoder layers.</param>
    /// <param name="width">Key (and value) floats per token and layer: kv_heads * head_dim.</param>
    /// <param name="capacity">Most tokens it can hold.</param>
    public KeyValueCache(int numLayers, int width, int capacity)
    {
        Width = width;
        Capacity = capacity;
        _keys = new NativeBuffer[numLayers];
        _values = new NativeBuffer[numLayers];
        for (int layer = 0; layer < numLayers; layer++)
        {
            _keys[layer] = new NativeBuffer((long)width * capacity);
            _values[layer] = new NativeBuffer((long)width * capacity);
        }
    }

    /// <summary>Floats per token and layer, of keys as of values.</summary>
    public int Width { get; }

    /// <summary>Most tokens it can hold.</summary>
    public int Capacity { get; }

    /// <summary>Tokens held. The model writes behind them; the caller advances it after a forward pass.</summary>
    public int Length { get; set; }

    /// <summary>Keys of a layer, [capacity, kv_heads * head_dim].</summary>
    public Span<float> Keys(int layer) => _keys[layer].Slice(0, Width * Capacity);

    /// <summary>Values of a layer, same shape.</summary>
    public Span<float> Values(int layer) => _values[layer].Slice(0, Width * Capacity);

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (NativeBuffer buffer in _keys.Concat(_values))
        {
            buffer.Dispose();
        }
    }
}
