using MoeSharp.Kernels;

namespace MoeSharp.Execution;

/// <summary>One sequence as the model remembers it: its tokens, the pages with their keys and values, and the states of layers that keep one.</summary>
/// <remarks>
/// A forward pass writes behind <see cref="Length"/> into pages that <see cref="TryReserve"/> has provided; <see cref="Advance"/> makes the tokens
/// part of the sequence. A pass that is given up in between leaves the sequence as it was.
/// </remarks>
public sealed class CachedSequence : IDisposable
{
    private readonly List<KeyValuePage> _pages = [];
    private readonly PageTable _table = new();
    private NativeBuffer? _states; // [2, all layers' states]: those after the tokens held, and those that a pass writes
    private int _currentStates; // 0 or 1: which of the two are those held
    private int[] _tokens = [];
    private int _known; // leading pages that are found by their tokens

    /// <summary>Starts an empty sequence.</summary>
    /// <param name="pages">Where its pages come from; not owned.</param>
    /// <exception cref="ConfigurationException">Its layers keep states, and the pool has no room for them.</exception>
    /// <exception cref="OutOfMemoryException">The system has no memory for them.</exception>
    public CachedSequence(KeyValuePages pages)
    {
        Pages = pages;
        if (pages.Layout.HasStates)
        {
            AllocateStates();
        }
    }

    /// <summary>Where its pages come from.</summary>
    public KeyValuePages Pages { get; }

    /// <summary>Tokens held.</summary>
    public int Length { get; private set; }

    /// <summary>Tokens that its pages have room for.</summary>
    public int Capacity => _pages.Count * KeyValuePages.PageTokens;

    /// <summary>The tokens held.</summary>
    public ReadOnlySpan<int> Tokens => _tokens.AsSpan(0, Length);

    internal PageTable Table => _table;

    /// <summary>State of a layer that keeps one, after the tokens held; zeros at the start.</summary>
    public ReadOnlySpan<float> State(int layer) => StateOf(_currentStates, layer);

    /// <summary>Where a forward pass writes the layer's state after its new tokens; every such layer must. <see cref="Advance"/> makes it the state.</summary>
    public Span<float> NextState(int layer) => StateOf(1 - _currentStates, layer);

    /// <summary>Begins an empty sequence with as many of these tokens as the pages of other sequences, running or ended, have keys and values for.</summary>
    /// <remarks>Keys and values are the same bits whoever computed them. The last token is never taken: its logits are wanted.</remarks>
    /// <param name="tokens">Tokens that the sequence is to have.</param>
    /// <returns>How many it now has.</returns>
    public int Adopt(ReadOnlySpan<int> tokens)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(Length, 0);
        if (Pages.Layout.HasStates || tokens.Length < 2)
        {
            return 0;
        }

        DropPages(0);
        ReadOnlySpan<int> left = tokens[..^1];
        KeyValuePage? parent = null;
        while (left.Length >= KeyValuePages.PageTokens && Pages.HoldFull(parent, left[..KeyValuePages.PageTokens]) is { } page)
        {
            Append(page);
            left = left[KeyValuePages.PageTokens..];
            parent = page;
        }

        _known = _pages.Count;
        if (Pages.HoldPart(parent, left, out int common) is { } part)
        {
            Append(part);
            left = left[common..];
        }

        Length = tokens.Length - 1 - left.Length;
        StoreTokens(0, tokens[..Length]);
        return Length;
    }

    /// <summary>Pages that the pool has to give for further tokens; one more where the last page is shared and has to be copied.</summary>
    /// <param name="count">Tokens to come.</param>
    public long MissingPages(int count)
    {
        long pages = Math.Max(0, KeyValuePages.PagesFor((long)Length + count) - _pages.Count);
        return count > 0 && Length < Capacity && NeedsCopy(_pages[Length / KeyValuePages.PageTokens]) ? pages + 1 : pages;
    }

    /// <summary>Provides pages for further tokens.</summary>
    /// <param name="count">Tokens to come.</param>
    /// <returns>False when the pool has too few pages left; no page was taken then, and nothing that the pool remembers forgotten.</returns>
    public bool TryReserve(int count)
    {
        if (MissingPages(count) > Pages.AvailablePages)
        {
            return false;
        }

        int before = _pages.Count;
        if (count > 0 && Length < Capacity && !TryOwn(Length / KeyValuePages.PageTokens))
        {
            return false;
        }

        while (Capacity < (long)Length + count)
        {
            if (Pages.TryRent() is not { } page)
            {
                DropPages(before);
                return false;
            }

            Append(page);
        }

        return true;
    }

    /// <summary>As <see cref="TryReserve"/>, for callers that have made sure of the room.</summary>
    /// <exception cref="ConfigurationException">The pool has no page left.</exception>
    public void Reserve(int count)
    {
        if (!TryReserve(count))
        {
            throw new ConfigurationException($"the cache of keys and values is full: {Pages.MaxPages} pages of {KeyValuePages.PageTokens} tokens are in use, and {Length} + {count} tokens of one text need more. Give the cache more memory.");
        }
    }

    /// <summary>Makes the tokens of the last pass part of the sequence.</summary>
    /// <param name="tokens">Those tokens; their pages were reserved.</param>
    public void Advance(ReadOnlySpan<int> tokens)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(tokens.Length, Capacity - Length);
        StoreTokens(Length, tokens);
        Length += tokens.Length;
        _currentStates = 1 - _currentStates;
        RememberFullPages();
    }

    /// <summary>Forgets all tokens from <paramref name="length"/> on and gives back the pages that only held those.</summary>
    /// <exception cref="InvalidOperationException">A layer keeps a state, which has no way back.</exception>
    public void Truncate(int length)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)length, (uint)Length);
        if (Pages.Layout.HasStates && length != Length)
        {
            throw new InvalidOperationException("a sequence with states cannot be shortened");
        }

        Length = length;
        _known = Math.Min(_known, length / KeyValuePages.PageTokens);
        DropPages((int)KeyValuePages.PagesFor(length));
    }

    /// <summary>A second sequence with the same tokens. Pages are shared; a page that one of them goes on writing is copied then.</summary>
    public CachedSequence Fork()
    {
        CachedSequence fork = new(Pages) { Length = Length, _tokens = [.. Tokens], _known = _known };
        foreach (KeyValuePage page in _pages.Take((int)KeyValuePages.PagesFor(Length)))
        {
            Pages.Hold(page);
            fork.Append(page);
        }

        if (_states is { } states)
        {
            int length = Pages.Layout.StateLength;
            states.Slice((long)_currentStates * length, length).CopyTo(fork._states!.Slice(0, length)); // both sequences have states or neither
        }

        return fork;
    }

    /// <summary>Gives all pages back. The pool remembers what they hold until their memory is needed.</summary>
    public void Dispose()
    {
        RememberLastPage();
        Length = 0;
        DropPages(0);
        _table.Dispose();
        FreeStates();
    }

    private void AllocateStates()
    {
        if (!Pages.TryHoldStates())
        {
            throw new ConfigurationException($"the cache of {Pages.MaxPages} pages has no room left for the states of another text, which take as much as {Pages.Layout.StatePages} pages. Give the cache more memory.");
        }

        try
        {
            _states = new NativeBuffer(2L * Pages.Layout.StateLength);
        }
        catch (OutOfMemoryException)
        {
            Pages.ReleaseStates();
            throw;
        }

        _states.Slice(0, Pages.Layout.StateLength).Clear();
    }

    private void FreeStates()
    {
        if (_states is { } states)
        {
            states.Dispose();
            _states = null;
            Pages.ReleaseStates();
        }
    }

    private void Append(KeyValuePage page)
    {
        _pages.Add(page);
        _table.Add(page.Buffer);
    }

    private void StoreTokens(int begin, ReadOnlySpan<int> tokens)
    {
        if (_tokens.Length < begin + tokens.Length)
        {
            Array.Resize(ref _tokens, Math.Max(Capacity, 2 * _tokens.Length));
        }

        tokens.CopyTo(_tokens.AsSpan(begin));
    }

    // A page that has become full can be found from now on. Where another sequence was first, its page takes the place of this one's, bit for bit
    // the same: the known pages of a sequence are always a path of the index.
    private void RememberFullPages()
    {
        while (!Pages.Layout.HasStates && (_known + 1) * KeyValuePages.PageTokens <= Length)
        {
            KeyValuePage? parent = _known == 0 ? null : _pages[_known - 1];
            ReadOnlySpan<int> tokens = Tokens.Slice(_known * KeyValuePages.PageTokens, KeyValuePages.PageTokens);
            KeyValuePage own = _pages[_known];
            if (Pages.HoldFull(parent, tokens) is { } first)
            {
                Replace(_known, first);
            }
            else if (own.IsIndexed || !Pages.TryRemember(parent, own, tokens))
            {
                return; // known by other tokens, or two texts with one hash: neither it nor what follows is shared
            }

            _known++;
        }
    }

    private void RememberLastPage()
    {
        int index = Length / KeyValuePages.PageTokens;
        ReadOnlySpan<int> tokens = Tokens[(index * KeyValuePages.PageTokens)..];
        if (tokens.Length > 0 && index == _known && !_pages[index].IsIndexed && !Pages.Layout.HasStates)
        {
            KeyValuePage? parent = index == 0 ? null : _pages[index - 1];
            if (!Pages.KnowsPart(parent, tokens))
            {
                Pages.TryRemember(parent, _pages[index], tokens);
            }
        }
    }

    // The page that the next token goes to must be this sequence's alone, and what others know of it must stay true.
    private bool TryOwn(int index)
    {
        KeyValuePage shared = _pages[index];
        if (!NeedsCopy(shared))
        {
            if (shared.IsIndexed)
            {
                Pages.Unremember(shared); // the ended text that this one continues
            }

            return true;
        }

        if (Pages.TryRent() is not { } page)
        {
            return false;
        }

        long length = Pages.Layout.PageLength;
        for (long offset = 0; offset < length; offset += int.MaxValue)
        {
            int part = (int)Math.Min(int.MaxValue, length - offset);
            shared.Buffer.Slice(offset, part).CopyTo(page.Buffer.Slice(offset, part));
        }

        Replace(index, page);
        return true;
    }

    private bool NeedsCopy(KeyValuePage page) =>
        page.Holders > 1 || (page.IsIndexed && (page.FirstChild is not null || page.NumTokens > Length % KeyValuePages.PageTokens));

    // The new page has a holder for this place already.
    private void Replace(int index, KeyValuePage page)
    {
        Pages.Release(_pages[index]);
        _pages[index] = page;
        _table.Replace(index, page.Buffer);
    }

    private void DropPages(int count)
    {
        for (int index = _pages.Count - 1; index >= count; index--)
        {
            Pages.Release(_pages[index]);
            _pages.RemoveAt(index);
        }

        _table.Truncate(count);
    }

    private Span<float> StateOf(int which, int layer)
    {
        (int offset, int length) = Pages.Layout.State(layer);
        return (_states ?? throw new InvalidOperationException($"layer {layer} keeps no state")).Slice(((long)which * Pages.Layout.StateLength) + offset, length);
    }
}
