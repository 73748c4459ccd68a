namespace MoeSharp.Planning.Placement;

/// <summary>Items with loads, put into packs with equally many each, so that packs are about equally heavy.</summary>
/// <param name="PackOfItem">Pack of each item.</param>
/// <param name="RankInPack">Place of each item in its pack, from 0 in order of packing.</param>
/// <param name="PackLoads">Load of each pack.</param>
public sealed record BalancedPacking(IReadOnlyList<int> PackOfItem, IReadOnlyList<int> RankInPack, IReadOnlyList<double> PackLoads)
{
    /// <summary>Packs items, the heaviest first, each into the lightest pack that has room.</summary>
    /// <remarks>The greedy rule of DeepSeek's expert-parallel load balancer (EPLB). Equal loads: the lower index first; equal packs: the first. One item per pack: item i goes to pack i.</remarks>
    /// <param name="loads">Load of each item.</param>
    /// <param name="numPacks">Packs; divides the number of items.</param>
    /// <exception cref="ConfigurationException">The items do not fill the packs evenly.</exception>
    public static BalancedPacking Pack(IReadOnlyList<double> loads, int numPacks)
    {
        if (numPacks < 1 || loads.Count % numPacks != 0)
        {
            throw new ConfigurationException($"{loads.Count} items cannot be put into {numPacks} packs with equally many each");
        }

        int room = loads.Count / numPacks;
        (int[] packs, int[] ranks, double[] packLoads, int[] sizes) = (new int[loads.Count], new int[loads.Count], new double[numPacks], new int[numPacks]);
        IEnumerable<int> order = room == 1 ? Enumerable.Range(0, loads.Count) : Enumerable.Range(0, loads.Count).OrderByDescending(item => loads[item]); // stable
        foreach (int item in order)
        {
            int pack = room == 1 ? item : Lightest(packLoads, sizes, room);
            (packs[item], ranks[item]) = (pack, sizes[pack]++);
            packLoads[pack] += loads[item];
        }

        return new BalancedPacking(packs, ranks, packLoads);
    }

    private static int Lightest(double[] loads, int[] sizes, int room)
    {
        int lightest = -1;
        for (int pack = 0; pack < loads.Length; pack++)
        {
            if (sizes[pack] < room && (lightest < 0 || loads[pack] < loads[lightest]))
            {
                lightest = pack;
            }
        }

        return lightest; // there is one: all packs together have room for all items
    }
}
