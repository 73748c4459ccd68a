namespace MoeSharp.Tokenization;

/// <summary>
/// Merges the symbols of one piece: again and again the pair of lowest rank, the leftmost first. Short pieces are scanned; long ones
/// keep their pairs in a heap, so that n symbols cost O(n log n) whatever the text.
/// </summary>
internal sealed class PieceMerger
{
    // Scanning wins while the ranks of a piece fit a few cache lines; arbitrary within 16-128.
    private const int LongestScan = 32;

    // Buffers above this many symbols are given back after use (1 MiB of links and heap); arbitrary.
    private const int LargestKept = 1 << 16;

    private readonly int[] _scanRanks = new int[LongestScan];
    private readonly int[] _scanMerged = new int[LongestScan];
    private int[] _next = [];
    private int[] _previous = [];
    private ulong[] _heap = [];
    private int _heapSize;

    /// <summary>Pairs looked at so far: the measure of work, for tests.</summary>
    public long NumSteps { get; private set; }

    /// <summary>Merges in place.</summary>
    /// <param name="table">The merges.</param>
    /// <param name="symbols">Symbols of the piece; the merged ones come first afterwards.</param>
    /// <returns>How many symbols are left.</returns>
    public int Merge(MergeTable table, Span<int> symbols)
    {
        if (symbols.Length < 2)
        {
            return symbols.Length;
        }

        return symbols.Length <= LongestScan ? MergeByScan(table, symbols) : MergeByHeap(table, symbols);
    }

    private int MergeByScan(MergeTable table, Span<int> symbols)
    {
        Span<int> ranks = _scanRanks;
        Span<int> merged = _scanMerged;
        int count = symbols.Length;
        for (int index = 0; index < count - 1; index++)
        {
            ranks[index] = table.RankOf(symbols[index], symbols[index + 1], out merged[index]);
        }

        while (count > 1)
        {
            NumSteps += count;
            int best = 0;
            for (int index = 1; index < count - 1; index++)
            {
                best = ranks[index] < ranks[best] ? index : best;
            }

            if (ranks[best] == MergeTable.NoMerge)
            {
                break;
            }

            symbols[best] = merged[best];
            symbols[(best + 2)..count].CopyTo(symbols[(best + 1)..]);
            ranks[(best + 1)..(count - 1)].CopyTo(ranks[best..]);
            merged[(best + 1)..(count - 1)].CopyTo(merged[best..]);
            count--;
            if (best < count - 1)
            {
                ranks[best] = table.RankOf(symbols[best], symbols[best + 1], out merged[best]);
            }

            if (best > 0)
            {
                ranks[best - 1] = table.RankOf(symbols[best - 1], symbols[best], out merged[best - 1]);
            }
        }

        return count;
    }

    private int MergeByHeap(MergeTable table, Span<int> symbols)
    {
        Link(table, symbols);
        while (_heapSize > 0)
        {
            ulong top = Pop();
            int left = (int)(uint)top;
            int right = _next[left];
            if (right < 0 || right >= symbols.Length)
            {
                continue;
            }

            // A pair that changed since it was pushed has another rank: its own entry is in the heap too.
            if (table.RankOf(symbols[left], symbols[right], out int merged) != (int)(top >> 32))
            {
                continue;
            }

            symbols[left] = merged;
            int after = _next[right];
            _next[right] = -1;
            _next[left] = after;
            if (after < symbols.Length)
            {
                _previous[after] = left;
                PushPair(table, symbols, left, after);
            }

            if (_previous[left] >= 0)
            {
                PushPair(table, symbols, _previous[left], left);
            }
        }

        int count = 0;
        for (int index = 0; index < symbols.Length; index = _next[index])
        {
            symbols[count++] = symbols[index];
        }

        if (symbols.Length > LargestKept)
        {
            (_next, _previous, _heap) = ([], [], []);
        }

        return count;
    }

    /// <summary>Links neighbours and orders all pairs that merge. A symbol that was swallowed has next -1.</summary>
    private void Link(MergeTable table, ReadOnlySpan<int> symbols)
    {
        if (_next.Length < symbols.Length)
        {
            _next = new int[symbols.Length];
            _previous = new int[symbols.Length];
            _heap = new ulong[symbols.Length];
        }

        _heapSize = 0;
        for (int index = 0; index < symbols.Length; index++)
        {
            _next[index] = index + 1;
            _previous[index] = index - 1;
            if (index + 1 < symbols.Length)
            {
                int rank = table.RankOf(symbols[index], symbols[index + 1], out _);
                if (rank != MergeTable.NoMerge)
                {
                    _heap[_heapSize++] = Entry(rank, index);
                }
            }
        }

        NumSteps += symbols.Length;
        for (int index = (_heapSize / 2) - 1; index >= 0; index--)
        {
            SiftDown(index);
        }
    }

    private void PushPair(MergeTable table, ReadOnlySpan<int> symbols, int left, int right)
    {
        int rank = table.RankOf(symbols[left], symbols[right], out _);
        if (rank == MergeTable.NoMerge)
        {
            return;
        }

        if (_heapSize == _heap.Length)
        {
            Array.Resize(ref _heap, checked(_heap.Length * 2));
        }

        int index = _heapSize++;
        ulong entry = Entry(rank, left);
        while (index > 0 && _heap[(index - 1) / 2] > entry)
        {
            NumSteps++;
            _heap[index] = _heap[(index - 1) / 2];
            index = (index - 1) / 2;
        }

        _heap[index] = entry;
    }

    private ulong Pop()
    {
        ulong top = _heap[0];
        _heap[0] = _heap[--_heapSize];
        SiftDown(0);
        return top;
    }

    private void SiftDown(int index)
    {
        ulong entry = _heap[index];
        for (int child = (2 * index) + 1; child < _heapSize; child = (2 * index) + 1)
        {
            NumSteps++;
            if (child + 1 < _heapSize && _heap[child + 1] < _heap[child])
            {
                child++;
            }

            if (_heap[child] >= entry)
            {
                break;
            }

            _heap[index] = _heap[child];
            index = child;
        }

        _heap[index] = entry;
    }

    private static ulong Entry(int rank, int position) => ((ulong)(uint)rank << 32) | (uint)position;
}
