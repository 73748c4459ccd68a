using MoeSharp.Kernels;
using MoeSharp.Moe.Dispatch;
using MoeSharp.Planning.Placement;

namespace MoeSharp.Verification.Routing;

/// <summary>Cases of experts that are spread over devices, and of the exchange that follows.</summary>
internal static class PlacementCases
{
    /// <summary>Items in packs.</summary>
    public static void CheckPacking(RoutingCase fixture, WorkerPool workers)
    {
        BalancedPacking[] packings = [.. Layers(fixture).Select(loads => BalancedPacking.Pack(loads, fixture.Int("num_packs")))];
        fixture.Compare("pack_of_item", [.. packings.SelectMany(packing => packing.PackOfItem)]);
        fixture.Compare("rank_in_pack", [.. packings.SelectMany(packing => packing.RankInPack)]);
        fixture.Compare("pack_loads", [.. packings.SelectMany(packing => packing.PackLoads)]);
    }

    /// <summary>Replicas of busy experts.</summary>
    public static void CheckReplication(RoutingCase fixture, WorkerPool workers)
    {
        double[][] layers = [.. Layers(fixture)];
        ExpertReplication[] replications = [.. layers.Select(loads => ExpertReplication.Replicate(loads, fixture.Int("num_replicas")))];
        fixture.Compare("physical_to_logical", [.. replications.SelectMany(layer => layer.ExpertOfSlot)]);
        fixture.Compare("replica_rank", [.. replications.SelectMany(layer => layer.ReplicaOfSlot)]);
        fixture.Compare("replica_count", [.. replications.SelectMany(layer => layer.ReplicaCount)]);
        fixture.Compare("max_replica_load", [.. replications.Select((layer, index) => layer.LargestLoad(layers[index]))]);
    }

    /// <summary>Both, over a cluster.</summary>
    public static void CheckPlacement(RoutingCase fixture, WorkerPool workers)
    {
        ClusterShape cluster = new(fixture.Int("num_replicas"), fixture.Int("num_groups"), fixture.Int("num_nodes"), fixture.Int("num_gpus"));
        ExpertPlacement[] placements = [.. Layers(fixture).Select(loads => ExpertPlacement.Of(loads, cluster))];
        fixture.Compare("physical_to_logical", [.. placements.SelectMany(layer => layer.ExpertOfSlot)]);
        fixture.Compare("replica_count", [.. placements.SelectMany(layer => layer.ReplicaCount)]);
        fixture.Compare("gpu_loads", [.. placements.SelectMany(layer => layer.DeviceLoads)]);
        fixture.Compare("max_over_mean_gpu_load", [.. placements.Select(layer => layer.MaxOverMean)]);
    }

    /// <summary>Who sends what to whom.</summary>
    public static void CheckExchange(RoutingCase fixture, WorkerPool workers)
    {
        int topK = fixture.Int("num_experts_per_tok");
        int[] expertIds = fixture.Ids("expert_ids");
        ExchangePlan plan = new(expertIds, topK, fixture.Ids("tokens_per_rank"), fixture.Ids("expert_rank"));
        int[] ranks = [.. Enumerable.Range(0, plan.NumRanks)];
        int[] experts = [.. Enumerable.Range(0, fixture.Int("num_experts"))];
        int[] Pairs(Func<int, int, int> value) => [.. ranks.SelectMany(a => ranks.Select(b => value(a, b)))];
        fixture.Compare("send_counts", Pairs(plan.SendCount));
        fixture.Compare("send_displacements", Pairs(plan.SendDisplacement));
        fixture.Compare("receive_counts", Pairs((to, from) => plan.SendCount(from, to)));
        fixture.Compare("receive_displacements", Pairs(plan.ReceiveDisplacement));
        fixture.Compare("tokens_per_expert", [.. experts.Select(expert => ranks.Sum(rank => plan.ExpertCount(rank, expert)))]);
        fixture.Compare("send_counts_per_expert", [.. ranks.SelectMany(rank => experts.Select(expert => plan.ExpertCount(rank, expert)))]);
        fixture.CompareLists("send_order", ranks.Select(rank => plan.SendOrder(rank).Select(slot => new[] { slot / topK, slot % topK }).ToArray()).ToArray());
        fixture.Compare("token_send_counts", Pairs(plan.TokenSendCount));
        fixture.Compare("ranks_per_token", [.. plan.RanksPerToken]);
        fixture.Compare("rows_leaving_their_rank", plan.NumRowsLeaving);
    }

    private static IEnumerable<double[]> Layers(RoutingCase fixture) => fixture.Doubles("loads").Chunk(fixture.Sizes("loads")[1]);
}
