using MoeSharp.Kernels;

namespace MoeSharp.Execution;

/// <summary>The pages that sequences keep their keys and values in. A page holds 64 tokens of all layers and may belong to several sequences.</summary>
/// <remarks>
/// Pages are allocated when first needed, up to a bound, and used again. Pages that no sequence holds any more are remembered by their tokens
/// until their memory is needed; the one that has been without a holder for longest goes first. The states of a sequence take the room of as
/// many pages as have their size; such sequences share nothing, so that pages without holders are free. One thread at a time.
/// </remarks>
public sealed class KeyValuePages : IDisposable
{
    /// <summary>Tokens of a page.</summary>
    public const int PageTokens = PagedHeads.PageTokens;

    private readonly Stack<KeyValuePage> _free = new();
    private readonly HashSet<KeyValuePage> _all = [];
    private readonly PrefixIndex _index = new();

    /// <summary>Makes an empty pool.</summary>
    /// <param name="layout">What a page holds.</param>
    /// <param name="maxBytes">Most bytes of pages and states; what a sequence of one page needs is given in any case.</param>
    public KeyValuePages(CacheLayout layout, long maxBytes)
    {
        Layout = layout;
        MaxPages = (int)Math.Clamp(maxBytes / layout.PageBytes, 1 + layout.StatePages, int.MaxValue);
    }

    /// <summary>What a page holds.</summary>
    public CacheLayout Layout { get; }

    /// <summary>Most pages, those whose room states take included; fewer than asked for once the system has refused one.</summary>
    public int MaxPages { get; private set; }

    /// <summary>Most tokens of one sequence that has the pool for itself.</summary>
    public long MostTokens => (long)(MaxPages - Layout.StatePages) * PageTokens;

    /// <summary>Pages that some sequence holds.</summary>
    public int UsedPages { get; private set; }

    /// <summary>Pages that no sequence holds, remembered for those that begin alike.</summary>
    public int RememberedPages => _index.NumForgettable;

    /// <summary>Sequences whose states are held.</summary>
    public int UsedStates { get; private set; }

    /// <summary>Pages that can still be given out.</summary>
    public int AvailablePages => MaxPages - UsedPages - StatePages;

    /// <summary>Counts what may let a sequence fit that did not: holders that have let go, and pages that can be found from then on.</summary>
    public long Gains { get; private set; }

    /// <summary>Bytes of native memory held, in use or not.</summary>
    public long HeldBytes => (_all.Count * Layout.PageBytes) + (UsedStates * Layout.StateBytes);

    private int StatePages => UsedStates * Layout.StatePages;

    /// <summary>A pool with room for one sequence of <paramref name="capacity"/> tokens.</summary>
    public static KeyValuePages ForOneSequence(CacheLayout layout, int capacity) => new(layout, layout.BytesFor(capacity));

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
            page = _all.Count < MaxPages - StatePages ? Allocate() : _index.Forget();
            if (page is null)
            {
                return null;
            }
        }

        page.Holders = 1;
        UsedPages++;
        return page;
    }

    /// <summary>Makes room for the states of one sequence, at the cost of pages without holders; false when pages and other states have all there is.</summary>
    internal bool TryHoldStates()
    {
        if (AvailablePages < Layout.StatePages)
        {
            return false;
        }

        UsedStates++;
        while (_all.Count > MaxPages - StatePages && _free.TryPop(out KeyValuePage? page))
        {
            _all.Remove(page);
            page.Buffer.Dispose();
        }

        return true;
    }

    /// <summary>The states of one sequence less.</summary>
    internal void ReleaseStates()
    {
        Gains++;
        UsedStates--;
    }

    /// <summary>One holder more.</summary>
    internal void Hold(KeyValuePage page)
    {
        if (page.Holders++ == 0)
        {
            UsedPages++;
            _index.Revive(page);
        }
    }

    /// <summary>One holder less; a page without holders is remembered if it is known by its tokens, else free.</summary>
    internal void Release(KeyValuePage page)
    {
        Gains++;
        if (--page.Holders > 0)
        {
            return;
        }

        UsedPages--;
        if (page.IsIndexed)
        {
            _index.Retire(page);
        }
        else
        {
            _free.Push(page);
        }
    }

    /// <summary>The full page that follows <paramref name="parent"/> (null: that begins a sequence) with these tokens, with a holder more; or null.</summary>
    internal KeyValuePage? HoldFull(KeyValuePage? parent, ReadOnlySpan<int> tokens)
    {
        KeyValuePage? page = _index.Find(parent, tokens);
        if (page is not null)
        {
            Hold(page);
        }

        return page;
    }

    /// <summary>The page after <paramref name="parent"/> that begins with the most of these tokens, with a holder more; or null.</summary>
    internal KeyValuePage? HoldPart(KeyValuePage? parent, ReadOnlySpan<int> tokens, out int common)
    {
        KeyValuePage? page = _index.FindPart(parent, tokens, out common);
        if (page is not null)
        {
            Hold(page);
        }

        return page;
    }

    /// <summary>Whether some page after <paramref name="parent"/> begins with all of these tokens.</summary>
    internal bool KnowsPart(KeyValuePage? parent, ReadOnlySpan<int> tokens) => _index.FindPart(parent, tokens, out int common) is not null && common == tokens.Length;

    /// <summary>Makes a held page findable by its tokens.</summary>
    internal bool TryRemember(KeyValuePage? parent, KeyValuePage page, ReadOnlySpan<int> tokens)
    {
        Gains++;
        return _index.TryAdd(parent, page, tokens);
    }

    /// <summary>Makes a held page, that nothing follows, unknown again.</summary>
    internal void Unremember(KeyValuePage page) => _index.Remove(page);

    // Where the system has no memory left, the pool has reached its size.
    private KeyValuePage? Allocate()
    {
        try
        {
            KeyValuePage page = new(Layout.PageLength, Layout.HasPadding);
            _all.Add(page);
            return page;
        }
        catch (OutOfMemoryException)
        {
            MaxPages = _all.Count + StatePages;
            return _index.Forget();
        }
    }
}

/// <summary>Keys and values of up to 64 tokens in all layers.</summary>
internal sealed class KeyValuePage
{
    public KeyValuePage(long length, bool hasPadding)
    {
        Buffer = new NativeBuffer(length);

        // What fills up rows is never part of a result, but must not look like infinite values to those who check for them.
        for (long offset = 0; hasPadding && offset < length; offset += int.MaxValue)
        {
            Buffer.Slice(offset, (int)Math.Min(int.MaxValue, length - offset)).Clear();
        }
    }

    public NativeBuffer Buffer { get; }

    public int Holders { get; set; }

    /// <summary>Whether the page is found by its tokens; the rest of the properties belong to the index.</summary>
    public bool IsIndexed { get; set; }

    public int[] Tokens { get; } = new int[KeyValuePages.PageTokens];

    public int NumTokens { get; set; }

    public long Serial { get; set; }

    public (long Parent, ulong Hash) Key { get; set; }

    public KeyValuePage? Parent { get; set; }

    public KeyValuePage? FirstChild { get; set; }

    public KeyValuePage? PreviousSibling { get; set; }

    public KeyValuePage? NextSibling { get; set; }

    public KeyValuePage? Older { get; set; }

    public KeyValuePage? Newer { get; set; }
}
