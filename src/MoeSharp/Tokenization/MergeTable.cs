using System.Numerics;

namespace MoeSharp.Tokenization;

/// <summary>Which pairs of tokens merge, how early, and into what. Filled once, then read-only.</summary>
internal sealed class MergeTable
{
    /// <summary>Rank of a pair that does not merge.</summary>
    public const int NoMerge = int.MaxValue;

    // The golden-ratio multiplier of Fibonacci hashing (2^64 divided by the golden ratio, odd): spreads small ids over the top bits.
    private const ulong HashMultiplier = 0x9E3779B97F4A7C15;

    private readonly ulong[] _pairs;
    private readonly int[] _ranks;
    private readonly int[] _merged;
    private readonly int _shift;
    private readonly int _mask;

    /// <summary>Makes room for a number of merges.</summary>
    public MergeTable(int numMerges)
    {
        int capacity = (int)BitOperations.RoundUpToPowerOf2((uint)Math.Max(16, checked(numMerges * 2)));
        _pairs = new ulong[capacity];
        _ranks = new int[capacity];
        _merged = new int[capacity];
        Array.Fill(_ranks, NoMerge);
        _mask = capacity - 1;
        _shift = 64 - BitOperations.Log2((uint)capacity);
    }

    /// <summary>Adds a merge; a pair added again takes its new rank.</summary>
    public void Add(int left, int right, int rank, int merged)
    {
        ulong pair = PairOf(left, right);
        int slot = SlotOf(pair);
        _pairs[slot] = pair;
        _ranks[slot] = rank;
        _merged[slot] = merged;
    }

    /// <summary>The rank of a pair (lower merges earlier) and what it becomes; <see cref="NoMerge"/> when it stays.</summary>
    public int RankOf(int left, int right, out int merged)
    {
        int slot = SlotOf(PairOf(left, right));
        merged = _merged[slot];
        return _ranks[slot];
    }

    private static ulong PairOf(int left, int right) => ((ulong)(uint)left << 32) | (uint)right;

    private int SlotOf(ulong pair)
    {
        int slot = (int)((pair * HashMultiplier) >> _shift);
        while (_ranks[slot] != NoMerge && _pairs[slot] != pair)
        {
            slot = (slot + 1) & _mask;
        }

        return slot;
    }
}
