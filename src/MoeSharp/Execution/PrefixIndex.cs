using System.Diagnostics;
using System.Numerics;
using MoeSharp.Kernels;

namespace MoeSharp.Execution;

/// <summary>Pages found by the tokens that lead to their end, so that a sequence may begin with what another one has computed.</summary>
/// <remarks>
/// A tree: a full page's parent is the page before it. Full pages are looked up by hash and then compared token by token; a page that is only
/// partly the same is found among its parent's children. A sequence always holds a path from the root, and lets go of its last page first, so
/// pages without holders stand in the list of the forgettable in an order in which children come before their parents.
/// </remarks>
internal sealed class PrefixIndex
{
    // A partly equal page saves at most 63 tokens: not worth a search among all texts that ever began alike.
    private const int MostChildrenSearched = 64;

    private readonly Dictionary<(long Parent, ulong Hash), KeyValuePage> _full = [];
    private readonly KeyValuePage _root = new(0, false);
    private KeyValuePage? _oldest; // of the pages without holders
    private KeyValuePage? _newest;
    private long _nextSerial;

    /// <summary>Indexed pages without holders.</summary>
    public int NumForgettable { get; private set; }

    /// <summary>The full page that follows <paramref name="parent"/> with these tokens, or null.</summary>
    public KeyValuePage? Find(KeyValuePage? parent, ReadOnlySpan<int> tokens)
    {
        return _full.TryGetValue(((parent ?? _root).Serial, Hash(tokens)), out KeyValuePage? page) && page.Tokens.AsSpan(0, page.NumTokens).SequenceEqual(tokens) ? page : null;
    }

    /// <summary>The page after <paramref name="parent"/> that begins with the most of these tokens, or null.</summary>
    public KeyValuePage? FindPart(KeyValuePage? parent, ReadOnlySpan<int> tokens, out int common)
    {
        (KeyValuePage? best, int searched) = (null, 0);
        common = 0;
        for (KeyValuePage? child = (parent ?? _root).FirstChild; child is not null && searched < MostChildrenSearched; child = child.NextSibling, searched++)
        {
            int same = child.Tokens.AsSpan(0, child.NumTokens).CommonPrefixLength(tokens);
            if (same > common)
            {
                (best, common) = (child, same);
            }
        }

        return best;
    }

    /// <summary>Makes a page findable. Partly filled pages too; false when a page with the same key is there already.</summary>
    public bool TryAdd(KeyValuePage? parent, KeyValuePage page, ReadOnlySpan<int> tokens)
    {
        Debug.Assert(!page.IsIndexed, "a page has one place in the index");
        parent ??= _root;
        if (tokens.Length == PagedHeads.PageTokens)
        {
            page.Key = (parent.Serial, Hash(tokens));
            if (!_full.TryAdd(page.Key, page))
            {
                return false;
            }
        }

        tokens.CopyTo(page.Tokens);
        (page.NumTokens, page.IsIndexed, page.Serial) = (tokens.Length, true, ++_nextSerial);
        (page.Parent, page.PreviousSibling, page.NextSibling) = (parent, null, parent.FirstChild);
        if (parent.FirstChild is { } sibling)
        {
            sibling.PreviousSibling = page;
        }

        parent.FirstChild = page;
        return true;
    }

    /// <summary>Takes a page without children out of the index.</summary>
    public void Remove(KeyValuePage page)
    {
        if (page.FirstChild is not null)
        {
            throw new InvalidOperationException("a page was to be forgotten before those that follow it"); // they would follow whatever takes its place
        }

        if (page.NumTokens == PagedHeads.PageTokens)
        {
            _full.Remove(page.Key);
        }

        if (page.PreviousSibling is { } previous)
        {
            previous.NextSibling = page.NextSibling;
        }
        else
        {
            page.Parent!.FirstChild = page.NextSibling; // an indexed page has a parent
        }

        if (page.NextSibling is { } next)
        {
            next.PreviousSibling = page.PreviousSibling;
        }

        (page.Parent, page.PreviousSibling, page.NextSibling, page.IsIndexed, page.NumTokens) = (null, null, null, false, 0);
    }

    /// <summary>Notes that an indexed page has lost its last holder.</summary>
    public void Retire(KeyValuePage page)
    {
        (page.Older, page.Newer) = (_newest, null);
        if (_newest is { } newest)
        {
            newest.Newer = page;
        }
        else
        {
            _oldest = page;
        }

        _newest = page;
        NumForgettable++;
    }

    /// <summary>Notes that an indexed page without holders has one again.</summary>
    public void Revive(KeyValuePage page)
    {
        if (page.Older is { } older)
        {
            older.Newer = page.Newer;
        }
        else
        {
            _oldest = page.Newer;
        }

        if (page.Newer is { } newer)
        {
            newer.Older = page.Older;
        }
        else
        {
            _newest = page.Older;
        }

        (page.Older, page.Newer) = (null, null);
        NumForgettable--;
    }

    /// <summary>Forgets the page that has been without holders for longest, or null when all have holders.</summary>
    public KeyValuePage? Forget()
    {
        if (_oldest is not { } page)
        {
            return null;
        }

        Revive(page);
        Remove(page);
        return page;
    }

    private static ulong Hash(ReadOnlySpan<int> tokens)
    {
        const ulong Odd = 0x9E37_79B9_7F4A_7C15; // 2^64 / golden ratio
        ulong hash = (ulong)tokens.Length;
        foreach (int token in tokens)
        {
            hash = BitOperations.RotateLeft((hash ^ (uint)token) * Odd, 29);
        }

        return hash;
    }
}
