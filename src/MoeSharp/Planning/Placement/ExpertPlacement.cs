namespace MoeSharp.Planning.Placement;

/// <summary>A cluster that the experts of a layer are spread over.</summary>
/// <param name="NumSlots">Experts that it holds together, replicas included.</param>
/// <param name="NumGroups">Groups of neighbouring experts that tokens are limited to.</param>
/// <param name="NumNodes">Computers.</param>
/// <param name="NumDevices">Devices of all computers together.</param>
public readonly record struct ClusterShape(int NumSlots, int NumGroups, int NumNodes, int NumDevices);

/// <summary>Which expert is in which slot of a cluster; slots are listed device by device.</summary>
/// <param name="ExpertOfSlot">Expert in each slot.</param>
/// <param name="ReplicaCount">Replicas of each expert.</param>
/// <param name="DeviceLoads">Load of each device when replicas share their expert's load.</param>
public sealed record ExpertPlacement(IReadOnlyList<int> ExpertOfSlot, IReadOnlyList<int> ReplicaCount, IReadOnlyList<double> DeviceLoads)
{
    /// <summary>The largest device load over the mean; 1 when balanced, 0 without any load.</summary>
    public double MaxOverMean => DeviceLoads.Average() is var mean && mean > 0 ? DeviceLoads.Max() / mean : 0;

    /// <summary>Replicates busy experts and spreads all over the devices, so that devices are about equally busy.</summary>
    /// <remarks>
    /// DeepSeek's expert-parallel load balancer (EPLB). Where groups can be dealt out to the nodes evenly, whole groups go to nodes, so that a token that is limited
    /// to few groups crosses few nodes; replicas are made within each node and spread over its devices. Otherwise all is done as with one group and one node.
    /// </remarks>
    /// <param name="loads">Load of each expert of a layer, for example tokens.</param>
    /// <param name="cluster">The cluster.</param>
    /// <exception cref="ConfigurationException">Experts, slots or devices cannot be dealt out evenly.</exception>
    public static ExpertPlacement Of(IReadOnlyList<double> loads, ClusterShape cluster)
    {
        if (cluster.NumGroups < 1 || cluster.NumNodes < 1 || cluster.NumGroups % cluster.NumNodes != 0)
        {
            cluster = cluster with { NumGroups = 1, NumNodes = 1 };
        }

        (int groups, int nodes, int devices) = (cluster.NumGroups, cluster.NumNodes, cluster.NumDevices);
        if (devices < 1 || loads.Count % groups != 0 || devices % nodes != 0 || cluster.NumSlots % devices != 0)
        {
            throw new ConfigurationException($"{loads.Count} experts in {groups} groups cannot be dealt out evenly to {cluster.NumSlots} slots on {devices} devices of {nodes} nodes");
        }

        List<int> slots = [];
        int[] counts = new int[loads.Count];
        List<double> deviceLoads = [];
        foreach (int[] experts in ExpertsOfNodes(loads, groups, nodes))
        {
            AddNode(loads, experts, cluster.NumSlots / nodes, devices / nodes, slots, counts, deviceLoads);
        }

        return new ExpertPlacement(slots, counts, deviceLoads);
    }

    // Experts of each node, group by group in the order of packing.
    private static int[][] ExpertsOfNodes(IReadOnlyList<double> loads, int groups, int nodes)
    {
        int size = loads.Count / groups;
        double[] groupLoads = [.. Enumerable.Range(0, groups).Select(group => Enumerable.Range(group * size, size).Sum(expert => loads[expert]))];
        BalancedPacking packing = BalancedPacking.Pack(groupLoads, nodes);
        return [.. Enumerable.Range(0, nodes).Select(node => Enumerable.Range(0, groups)
            .Where(group => packing.PackOfItem[group] == node)
            .OrderBy(group => packing.RankInPack[group])
            .SelectMany(group => Enumerable.Range(group * size, size))
            .ToArray())];
    }

    private static void AddNode(IReadOnlyList<double> loads, int[] experts, int numSlots, int numDevices, List<int> slots, int[] counts, List<double> deviceLoads)
    {
        ExpertReplication replication = ExpertReplication.Replicate([.. experts.Select(expert => loads[expert])], numSlots);
        double[] slotLoads = [.. replication.ExpertOfSlot.Select(own => loads[experts[own]] / replication.ReplicaCount[own])];
        BalancedPacking packing = BalancedPacking.Pack(slotLoads, numDevices);
        int[] inOrder = [.. Enumerable.Range(0, numSlots).OrderBy(slot => packing.PackOfItem[slot]).ThenBy(slot => packing.RankInPack[slot])];
        slots.AddRange(inOrder.Select(slot => experts[replication.ExpertOfSlot[slot]]));
        deviceLoads.AddRange(packing.PackLoads);
        for (int own = 0; own < experts.Length; own++)
        {
            counts[experts[own]] = replication.ReplicaCount[own];
        }
    }
}
