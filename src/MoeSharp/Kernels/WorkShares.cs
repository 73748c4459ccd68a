using System.Diagnostics;

namespace MoeSharp.Kernels;

/// <summary>Items in a row, shared out among workers: each goes through a share of its own from the front, and whoever is done takes half of what is left of another's.</summary>
/// <remarks>
/// A worker reads memory in one stream, so that what it asked for ahead is what it comes to next; runs taken from a common queue all begin cold.
/// A worker that never comes loses its share to the others.
/// </remarks>
internal readonly unsafe struct WorkShares
{
    private const int Stride = 8; // longs in a cache line
    private const int EndBits = 32;
    private const int PartOfShare = 4; // at most a fourth is taken at once, so that others can have the rest

    private readonly long* _shares; // [workers, Stride]: begin in the lower half, end in the upper
    private readonly int _workers;
    private readonly long _longestRun;

    /// <summary>Shares items out evenly.</summary>
    /// <param name="memory">[<see cref="Length"/>]; must outlive the work.</param>
    /// <param name="workers">Workers.</param>
    /// <param name="items">Items, below 2^31.</param>
    /// <param name="longestRun">Items that a worker takes at once, at most.</param>
    public WorkShares(long* memory, int workers, long items, long longestRun)
    {
        _shares = memory;
        _workers = workers;
        _longestRun = longestRun;
        int count = checked((int)items);
        for (int worker = 0; worker < workers; worker++)
        {
            _shares[worker * Stride] = Pack((int)((long)count * worker / workers), (int)((long)count * (worker + 1) / workers));
        }
    }

    /// <summary>Longs that the shares of so many workers take.</summary>
    public static int Length(int workers) => workers * Stride;

    /// <summary>Takes items of the worker's own share, or of another's if there are none left.</summary>
    public bool TryTake(int worker, out long begin, out long end)
    {
        ref long own = ref _shares[worker * Stride];
        while (true)
        {
            long share = Volatile.Read(ref own);
            (int from, int to) = Unpack(share);
            if (from < to)
            {
                int next = from + (int)Math.Clamp((to - from) / PartOfShare, 1, _longestRun);
                if (Interlocked.CompareExchange(ref own, Pack(next, to), share) == share)
                {
                    (begin, end) = (from, next);
                    return true;
                }
            }
            else if (!TryTakeOver(ref own))
            {
                (begin, end) = (0, 0);
                return false;
            }
        }
    }

    // The back half of the largest share becomes the worker's own, which is empty and so of no interest to others. False if all are empty.
    // No range that was taken ever comes back, so an exchanged share was not changed in between.
    private bool TryTakeOver(ref long own)
    {
        long largest = 0;
        int victim = -1;
        for (int worker = 0; worker < _workers; worker++)
        {
            long share = Volatile.Read(ref _shares[worker * Stride]);
            (int from, int to) = Unpack(share);
            if (to - from > (victim < 0 ? 0 : Unpack(largest).End - Unpack(largest).Begin))
            {
                (largest, victim) = (share, worker);
            }
        }

        if (victim < 0)
        {
            return false;
        }

        (int begin, int end) = Unpack(largest);
        int middle = begin + ((end - begin) / 2);
        if (Interlocked.CompareExchange(ref _shares[victim * Stride], Pack(begin, middle), largest) == largest)
        {
            Volatile.Write(ref own, Pack(middle, end));
        }

        return true;
    }

    private static long Pack(int begin, int end)
    {
        Debug.Assert(begin >= 0 && begin <= end, "a share is a range");
        return (uint)begin | ((long)end << EndBits);
    }

    private static (int Begin, int End) Unpack(long share) => ((int)share, (int)(share >> EndBits));
}
