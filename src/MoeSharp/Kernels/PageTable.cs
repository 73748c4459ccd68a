using System.Runtime.InteropServices;

namespace MoeSharp.Kernels;

/// <summary>The pages of one sequence in order, as kernels find them. The pages are owned by others and must outlive their place here.</summary>
public sealed unsafe class PageTable : IDisposable
{
    private float** _pages;
    private int _capacity;

    /// <summary>Number of pages.</summary>
    public int Count { get; private set; }

    internal float** Pointer => _pages;

    /// <summary>Appends a page.</summary>
    public void Add(NativeBuffer page)
    {
        if (Count == _capacity)
        {
            _capacity = Math.Max(16, 2 * _capacity);
            _pages = (float**)NativeMemory.Realloc(_pages, (nuint)_capacity * (nuint)sizeof(float*));
        }

        _pages[Count++] = page.Pointer;
    }

    /// <summary>Puts another page in a page's place.</summary>
    public void Replace(int index, NativeBuffer page)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)index, (uint)Count);
        _pages[index] = page.Pointer;
    }

    /// <summary>Drops all pages from <paramref name="count"/> on.</summary>
    public void Truncate(int count)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)count, (uint)Count);
        Count = count;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        NativeMemory.Free(_pages);
        _pages = null;
        _capacity = Count = 0;
        GC.SuppressFinalize(this);
    }

    /// <summary>Frees the memory of a table that was never disposed.</summary>
    ~PageTable() => Dispose();
}
