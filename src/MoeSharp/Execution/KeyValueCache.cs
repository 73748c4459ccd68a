using MoeSharp.Kernels;

namespace MoeSharp.Execution;

/// <summary>Keys (rotated) and values of one sequence for every layer, so that a new token only computes itself.</summary>
public sealed class KeyValueCache : IDisposable
{
    private readonly LayerCache?[] _layers;

    /// <summary>Makes an empty cache; a layer's memory comes with its first token.</summary>
    /// <param name="numLayers">Decoder layers.</param>
    /// <param name="capacity">Most tokens it can hold.</param>
    public KeyValueCache(int numLayers, int capacity)
    {
        Capacity = capacity;
        _layers = new LayerCache?[numLayers];
    }

    /// <summary>Most tokens it can hold.</summary>
    public int Capacity { get; }

    /// <summary>Tokens held. The model writes behind them; the caller advances it after a forward pass.</summary>
    public int Length { get; set; }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (LayerCache? layer in _layers)
        {
            layer?.Keys.Dispose();
            layer?.Values?.Dispose();
        }
    }

    /// <summary>Writes the keys and values of new rows behind the cached ones and gives all of them.</summary>
    /// <param name="layer">Decoder layer.</param>
    /// <param name="k">New keys.</param>
    /// <param name="kStride">Floats between their rows.</param>
    /// <param name="v">New values.</param>
    /// <param name="vStride">Floats between their rows.</param>
    /// <param name="heads">Head geometry.</param>
    /// <param name="valueColumn">Column of the keys at which the values begin, or -1 when they are kept by themselves.</param>
    /// <param name="rows">Number of new rows.</param>
    internal CachedKeys Append(int layer, ReadOnlySpan<float> k, int kStride, ReadOnlySpan<float> v, int vStride, AttentionHeads heads, int valueColumn, int rows)
    {
        int keyWidth = heads.NumKeyValueHeads * heads.HeadDim;
        int valueWidth = heads.NumKeyValueHeads * heads.ValueDim;
        LayerCache cache = _layers[layer] ??= new LayerCache(
            new NativeBuffer((long)keyWidth * Capacity), valueColumn >= 0 ? null : new NativeBuffer((long)valueWidth * Capacity));
        Span<float> keys = cache.Keys.Slice(0, keyWidth * Capacity);
        Span<float> values = cache.Values is { } own ? own.Slice(0, valueWidth * Capacity) : keys[valueColumn..];
        for (int row = 0; row < rows; row++)
        {
            k.Slice(row * kStride, keyWidth).CopyTo(keys[((Length + row) * keyWidth)..]);
            if (valueColumn < 0)
            {
                v.Slice(row * vStride, valueWidth).CopyTo(values[((Length + row) * valueWidth)..]);
            }
        }

        return new CachedKeys { Keys = keys, KeyStride = keyWidth, Values = values, ValueStride = valueColumn < 0 ? valueWidth : keyWidth };
    }

    private sealed record LayerCache(NativeBuffer Keys, NativeBuffer? Values);
}

/// <summary>All keys and values of a layer.</summary>
internal readonly ref struct CachedKeys
{
    public required ReadOnlySpan<float> Keys { get; init; }

    public required int KeyStride { get; init; }

    public required ReadOnlySpan<float> Values { get; init; }

    public required int ValueStride { get; init; }
}
