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
    private NativeBuffer? _states; // [all layers' states]
    private NativeBuffer? _nextStates;
    private int[] _tokens = [];

    /// <summary>Starts an empty sequence.</summary>
    /// <param name="pages">Where its pages come from; not owned.</param>
    public CachedSequence(KeyValuePages pages)
    {
        Pages = pages;
        if (pages.Layout.HasStates)
        {
            (_states, _nextStates) = (new NativeBuffer(pages.Layout.StateLength), new NativeBuffer(pages.Layout.StateLength));
            _states.Slice(0, pages.Layout.StateLength).Clear();
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
    public ReadOnlySpan<float> State(int layer) => StateOf(_states, layer);

    /// <summary>Where a forward pass writes the layer's state after its new tokens; every such layer must. <see cref="Advance"/> makes it the state.</summary>
    public Span<float> NextState(int layer) => StateOf(_nextStates, layer);

    /// <summary>Provides pages for further tokens.</summary>
    /// <param name="count">Tokens to come.</param>
    /// <returns>False when the pool has no page left; nothing has changed then.</returns>
    public bool TryReserve(int count)
    {
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

            _pages.Add(page);
            _table.Add(page.Buffer);
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
        if (_tokens.Length < Length + tokens.Length)
        {
            Array.Resize(ref _tokens, Math.Max(Capacity, 2 * _tokens.Length));
        }

        tokens.CopyTo(_tokens.AsSpan(Length));
        Length += tokens.Length;
        (_states, _nextStates) = (_nextStates, _states);
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
        DropPages((int)KeyValuePages.PagesFor(length));
    }

    /// <summary>A second sequence with the same tokens. Pages are shared; a page that one of them goes on writing is copied then.</summary>
    public CachedSequence Fork()
    {
        CachedSequence fork = new(Pages) { Length = Length, _tokens = [.. Tokens] };
        foreach (KeyValuePage page in _pages.Take((int)KeyValuePages.PagesFor(Length)))
        {
            page.Holders++;
            fork._pages.Add(page);
            fork._table.Add(page.Buffer);
        }

        if (_states is { } states)
        {
            int length = Pages.Layout.StateLength;
            states.Slice(0, length).CopyTo(fork._states!.Slice(0, length)); // both sequences have states or neither
        }

        return fork;
    }

    /// <summary>Gives all pages back.</summary>
    public void Dispose()
    {
        Length = 0;
        DropPages(0);
        _table.Dispose();
        _states?.Dispose();
        _nextStates?.Dispose();
    }

    // The page that the next token goes to must not be shared.
    private bool TryOwn(int index)
    {
        KeyValuePage shared = _pages[index];
        if (shared.Holders == 1)
        {
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

        _pages[index] = page;
        _table.Replace(index, page.Buffer);
        Pages.Release(shared);
        return true;
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

    private Span<float> StateOf(NativeBuffer? states, int layer)
    {
        (int offset, int length) = Pages.Layout.State(layer);
        return (states ?? throw new InvalidOperationException($"layer {layer} keeps no state")).Slice(offset, length);
    }
}
