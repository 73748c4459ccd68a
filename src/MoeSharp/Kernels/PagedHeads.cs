namespace MoeSharp.Kernels;

/// <summary>Where the keys and values of one layer lie in a page of <see cref="PageTokens"/> tokens.</summary>
/// <remarks>
/// Keys are stored turned, [kv_heads, head_dim, tokens], which is how the attention kernel multiplies them: they are read once, in place. Values
/// are [kv_heads, tokens, value_dim in whole cache lines]. A latent, whose first columns are also the values, is stored once, in rows.
/// </remarks>
public readonly record struct PagedHeads
{
    /// <summary>Tokens of a page: one block of the attention kernel.</summary>
    public const int PageTokens = AttentionPacking.Block;

    private PagedHeads(long offset, int numHeads, int headDim, int valueDim, bool isLatent, CacheFormat format)
    {
        (Offset, NumHeads, HeadDim, ValueDim, IsLatent, Format) = (offset, numHeads, headDim, valueDim, isLatent, format);
        ValueStride = ((isLatent ? headDim : valueDim) + 15) / 16 * 16;
        long keys = isLatent ? 0 : (long)numHeads * headDim * PageTokens;
        Values = isLatent ? offset : offset + Floats(keys);
        Length = Floats(keys + ((long)numHeads * ValueStride * PageTokens));
    }

    /// <summary>Floats from the start of the page to the keys.</summary>
    public long Offset { get; }

    /// <summary>Key/value heads.</summary>
    public int NumHeads { get; }

    /// <summary>Width of a head's keys.</summary>
    public int HeadDim { get; }

    /// <summary>Width of a head's values.</summary>
    public int ValueDim { get; }

    /// <summary>Whether the values are the first columns of the keys.</summary>
    public bool IsLatent { get; }

    /// <summary>How they are stored.</summary>
    public CacheFormat Format { get; }

    /// <summary>Floats that the layer takes in a page, whatever they hold.</summary>
    public long Length { get; }

    /// <summary>Whether rows of values are filled up to whole cache lines.</summary>
    public bool HasPadding => ValueStride != (IsLatent ? HeadDim : ValueDim);

    internal long Values { get; }

    internal int ValueStride { get; }

    internal long KeyHeadStep => IsLatent ? ValueHeadStep : Floats((long)HeadDim * PageTokens);

    internal long ValueHeadStep => Floats((long)ValueStride * PageTokens);

    /// <summary>Heads with keys and values of their own.</summary>
    /// <param name="offset">Floats from the start of the page.</param>
    /// <param name="numHeads">Key/value heads.</param>
    /// <param name="headDim">Width of a head's keys.</param>
    /// <param name="valueDim">Width of a head's values.</param>
    /// <param name="format">How they are stored.</param>
    public static PagedHeads Separate(long offset, int numHeads, int headDim, int valueDim, CacheFormat format = CacheFormat.Float32) =>
        new(offset, numHeads, headDim, valueDim, false, format);

    /// <summary>One head whose values are the first columns of its keys.</summary>
    /// <param name="offset">Floats from the start of the page.</param>
    /// <param name="width">Width of the keys.</param>
    /// <param name="valueDim">Number of columns that are values.</param>
    /// <param name="format">How they are stored.</param>
    public static PagedHeads Latent(long offset, int width, int valueDim, CacheFormat format = CacheFormat.Float32) => new(offset, 1, width, valueDim, true, format);

    private long Floats(long elements) => Format == CacheFormat.BFloat16 ? elements / 2 : elements; // a multiple of 64 elements
}
