using MoeSharp.Kernels;
using MoeSharp.Model.Routers;
using MoeSharp.Moe.Routing;

namespace MoeSharp.Verification.Routing;

/// <summary>Cases of routers by token id.</summary>
internal static class HashCases
{
    /// <summary>Choices by given tables.</summary>
    public static void CheckRouter(RoutingCase fixture, WorkerPool workers)
    {
        int[] tokens = fixture.Ids("token_ids");
        using RouterProbe probe = new(workers, tokens.Length);
        tokens.CopyTo(probe.Batch.TokenIds);
        int begin = 0;
        foreach (int length in fixture.Ids("sequence_lengths"))
        {
            probe.Batch.AddSegment(new AttentionSegment(begin, length, begin, length), 0);
            begin += length;
        }

        HashRouterConfig config = new() { UsesPreviousToken = fixture.Text("hash_input") == "previous_token", BoundaryTokenId = fixture.Int("boundary_token_id") };
        IHashTable table = new ListedHashTable(fixture.Ids("hash_tables"), fixture.Int("vocab_size"));
        RoutingPlan plan = config.Over(table, TopKCases.ConfigOf(fixture), 1f).Route(probe.Input(new float[tokens.Length]), probe.Context);
        int[] experts = plan.ExpertIds.ToArray();
        fixture.Compare("expert_ids", experts);
        fixture.Compare("routing_weights", plan.RoutingWeights.Data);
        int[] counts = new int[plan.TopK * plan.NumExperts]; // [tables, experts]
        for (int slot = 0; slot < experts.Length; slot++)
        {
            counts[(slot % plan.TopK * plan.NumExperts) + experts[slot]]++;
        }

        fixture.Compare("expert_counts", counts);
    }

    /// <summary>Tables balanced by frequency.</summary>
    public static void CheckBalancedTable(RoutingCase fixture, WorkerPool workers)
    {
        long[] loads = new long[fixture.Int("num_experts")];
        fixture.Compare("hash_table", ListedHashTable.Balance([.. fixture.Ids("frequencies")], loads.Length, loads));
        fixture.Compare("bucket_frequency", [.. loads.Select(load => (double)load)]);
    }
}
