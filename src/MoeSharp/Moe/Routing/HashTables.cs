using MoeSharp.Kernels;

namespace MoeSharp.Moe.Routing;

/// <summary>Fixed experts for every token id.</summary>
public interface IHashTable
{
    /// <summary>The experts of a token.</summary>
    /// <param name="tokenId">Token.</param>
    /// <param name="experts">= its experts, [top_k].</param>
    void Choose(int tokenId, Span<int> experts);
}

/// <summary>Random experts, all different; computed from layer and token id instead of stored.</summary>
/// <param name="layer">Decoder layer: tables differ between layers.</param>
/// <param name="numExperts">Routed experts.</param>
public sealed class RandomHashTable(int layer, int numExperts) : IHashTable
{
    private readonly ulong _salt = new SplitMix64((ulong)layer + 1).Next();

    /// <inheritdoc/>
    public void Choose(int tokenId, Span<int> experts)
    {
        ulong hash = new SplitMix64(_salt ^ (ulong)tokenId).Next();
        for (int slot = 0; slot < experts.Length; slot++)
        {
            do
            {
                hash = new SplitMix64(hash).Next();
                experts[slot] = (int)(hash % (ulong)numExperts);
            }
            while (experts[..slot].Contains(experts[slot]));
        }
    }
}

/// <summary>Experts in as many equal segments as a token uses, a random one of each: MultiHash, whose hashes choose the parts of an expert one by one.</summary>
/// <param name="layer">Decoder layer: tables differ between layers.</param>
/// <param name="numExperts">Routed experts; a multiple of the experts per token.</param>
public sealed class SegmentedHashTable(int layer, int numExperts) : IHashTable
{
    private readonly ulong _salt = new SplitMix64((ulong)layer + 1).Next();

    /// <inheritdoc/>
    public void Choose(int tokenId, Span<int> experts)
    {
        int size = numExperts / experts.Length;
        for (int segment = 0; segment < experts.Length; segment++)
        {
            experts[segment] = (segment * size) + new SplitMix64(_salt ^ (ulong)tokenId, (ulong)segment).Below(size);
        }
    }
}

/// <summary>Experts that stand in a list.</summary>
/// <param name="experts">Expert of each token id, one table after another, [tables, vocabulary].</param>
/// <param name="vocabSize">Token ids.</param>
public sealed class ListedHashTable(IReadOnlyList<int> experts, int vocabSize) : IHashTable
{
    private readonly int[] _experts = [.. experts];

    /// <inheritdoc/>
    public void Choose(int tokenId, Span<int> experts)
    {
        for (int table = 0; table < experts.Length; table++)
        {
            experts[table] = _experts[(table * vocabSize) + tokenId];
        }
    }

    /// <summary>A table that gives experts about as many tokens each: token ids by falling frequency, each to the expert with the fewest tokens so far.</summary>
    /// <remarks>Hash Layers, arXiv 2106.04426, "balanced assignment". Equal frequencies: the lower id first; equal loads: the lowest expert.</remarks>
    /// <param name="frequencies">How often each token id occurs, [vocabulary].</param>
    /// <param name="numExperts">Routed experts.</param>
    /// <param name="loads">= sum of the frequencies of each expert's tokens, [experts].</param>
    /// <returns>Expert of each token id, [vocabulary].</returns>
    public static int[] Balance(ReadOnlySpan<long> frequencies, int numExperts, Span<long> loads)
    {
        long[] counts = frequencies.ToArray();
        int[] ids = [.. Enumerable.Range(0, counts.Length).OrderByDescending(id => counts[id])]; // stable
        PriorityQueue<int, (long Load, int Expert)> emptiest = new(numExperts);
        for (int expert = 0; expert < numExperts; expert++)
        {
            emptiest.Enqueue(expert, (0, expert));
        }

        loads.Clear();
        int[] table = new int[counts.Length];
        foreach (int id in ids)
        {
            int expert = emptiest.Dequeue();
            table[id] = expert;
            loads[expert] += counts[id];
            emptiest.Enqueue(expert, (loads[expert], expert));
        }

        return table;
    }
}
