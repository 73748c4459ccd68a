using MoeSharp.Kernels;

namespace MoeSharp.Execution;

/// <summary>The pages that sequences keep their keys and values in. A page holds 64 tokens of all layers and may belong to several sequences.</summary>
/// <remarks>Pages are allocated when first needed, up to a bound, and used again; one thread at a time.</remarks>
public sealed class KeyValuePages : IDisposable
{
    /// <summary>Tokens of a page.</summary>
    public const int PageTokens = PagedHeads.PageTokens;

    private readonly Stack<KeyValuePage> _free = new();
    private readonly List<KeyValuePage> _all = [];

    /// <summary>Makes an empty pool.</summary>
    /// <param name="layout">What a page holds.</param>
    /// <param name="maxBytes">Most bytes of pages; at least one page is given in any case.</param>
    public KeyValuePages(CacheLayout layout, long maxBytes)
    {
        Layout = layout;
        MaxPages = (int)Math.Clamp(maxBytes / layout.PageBytes, 1, int.MaxValue);
    }

    /// <summary>What a page holds.</summary>
    public CacheLayout Layout { get; }

    /// <summary>Most pages.</summary>
    public int MaxPages { get; }

    /// <summary>Pages that some sequence holds.</summary>
    public int UsedPages { get; private set; }

    /// <summary>Pages that can still be given out.</summary>
    public int AvailablePages => MaxPages - UsedPages;

    /// <summary>Bytes of native memory held, in use or not.</summary>
    public long HeldBytes => _all.Count * Layout.PageBytes;

    /// <summary>A pool with room for one sequence of <paramref name="capacity"/> tokens.</summary>
    public static KeyValuePages ForOneSequence(CacheLayout layout, int capacity) => new(layout, PagesFor(capacity) * layout.PageBytes);

    /// <summary>Pages that a number of tokens takes.</summary>
    public static long PagesFor(long tokens) => (tokens + PageTokens - 1) / PageTokens;

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (KeyValuePage page in _all)
        {
            page.Buffer.Dispose();
        }

        _all.Clear();
        _free.Clear();
    }

    /// <summary>Gives a page to one holder, or null when all are taken.</summary>
    internal KeyValuePage? TryRent()
    {
        if (!_free.TryPop(out KeyValuePage? page))
        {
            if (_all.Count == MaxPages)
            {
                return null;
            }

            page = new KeyValuePage(Layout.PageLength);
            _all.Add(page);
        }

        page.Holders = 1;
        UsedPages++;
        return page;
    }

    /// <summary>One holder less; a page without holders is free.</summary>
    internal void Release(KeyValuePage page)
    {
        if (--page.Holders == 0)
        {
            UsedPages--;
            _free.Push(page);
        }
    }
}

/// <summary>Keys and values of up to 64 tokens in all layers.</summary>
internal sealed class KeyValuePage
{
    public KeyValuePage(long length)
    {
        Buffer = new NativeBuffer(Math.Max(1, length));

        // What lies behind the last token is never part of a result, but must not look like infinite values to those who check for them.
        for (long offset = 0; offset < length; offset += int.MaxValue)
        {
            Buffer.Slice(offset, (int)Math.Min(int.MaxValue, length - offset)).Clear();
        }
    }

    public NativeBuffer Buffer { get; }

    public int Holders { get; set; }
}
