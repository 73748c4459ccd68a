using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Moe.Balance;
using MoeSharp.Moe.Dispatch;
using MoeSharp.Moe.Routing;
using MoeSharp.Tensors;

namespace MoeSharp.Verification.Routing;

/// <summary>Cases of experts and devices that take only so many tokens.</summary>
internal static class CapacityCases
{
    /// <summary>The number of places.</summary>
    public static void CheckSize(RoutingCase fixture, WorkerPool workers)
    {
        CapacityRule rule = RuleOf(fixture);
        fixture.Compare("expert_capacity", [.. fixture.Doubles("cases").Chunk(4).Select(row => rule.PlacesOf(row[3], (int)row[0], (int)row[1], (int)row[2]))]); // tokens, experts, k, factor
    }

    /// <summary>Who keeps a place.</summary>
    public static void CheckPlaces(RoutingCase fixture, WorkerPool workers)
    {
        int topK = fixture.Int("num_experts_per_tok");
        CapacityRule rule = RuleOf(fixture);
        using RouterProbe probe = new(workers, fixture.Sizes("expert_ids")[0]);
        probe.SetRows(fixture);
        RoutingPlan limited = Limit(fixture, rule, probe, new RoutingPlan(fixture.Int("num_experts"), fixture.Ids("expert_ids"), probe.Input(fixture.Floats("routing_weights")), null));
        List<int> places = [];
        List<int> positions = [];
        int size = rule.GroupTokens == 0 ? limited.NumTokens : rule.GroupTokens;
        for (int begin = 0; begin < limited.NumTokens; begin += size)
        {
            int end = Math.Min(limited.NumTokens, begin + size);
            places.Add(rule.PlacesOf(rule.TrainingFactor, CountTokens(rule, probe.Batch, begin, end), limited.NumExperts, topK));
            positions.AddRange(Positions(rule, fixture, probe.Batch, begin, end, places[^1]));
        }

        fixture.Compare("expert_capacity", [.. places]);
        fixture.Compare("position_in_expert", [.. positions]);
        fixture.Compare("routing_weights", limited.RoutingWeights.Data);
        CompareDropped(fixture, limited, probe.Batch, isEachSlot: true);
    }

    /// <summary>Tokens that are offered to their next best experts.</summary>
    public static void CheckReroute(RoutingCase fixture, WorkerPool workers)
    {
        CapacityRule rule = RuleOf(fixture) with { Policy = DropPolicy.Reroute, MaxRounds = fixture.Int("max_rounds") };
        int experts = fixture.Int("num_experts");
        using RouterProbe probe = new(workers, fixture.Sizes("scores")[0]);
        probe.SetRows(fixture);
        Tensor scores = probe.Input(fixture.Floats("scores"));
        int[] best = new int[scores.Rows];
        TopK.Select(workers, scores.Rows, experts, 1, scores.Data, best);
        RoutingPlan limited = Limit(fixture, rule, probe, new RoutingPlan(experts, best, probe.Input(new float[scores.Rows]), new RouterScores(scores, scores, scores, null)));
        int places = rule.PlacesOf(rule.TrainingFactor, CountTokens(rule, probe.Batch, 0, scores.Rows), experts, 1);
        TokenPlaces placed = new() { ExpertIds = [.. best.Select((expert, token) => IsPadding(probe.Batch, token) ? -1 : expert)], Positions = new int[scores.Rows], Rounds = new int[scores.Rows] };
        RerouteScratch scratch = new() { Wanted = new int[scores.Rows], Offered = new int[scores.Rows], Taken = new int[experts] };
        SlotPlacement.Reroute(scores.Data, experts, places, rule.MaxRounds, scratch, placed);
        fixture.Compare("expert_capacity", places);
        fixture.Compare("position_in_expert", placed.Positions);
        fixture.Compare("round", placed.Rounds);
        fixture.Compare("routing_weights", limited.RoutingWeights.Data);
        CompareDropped(fixture, limited, probe.Batch, isEachSlot: false);
    }

    /// <summary>Devices with a budget.</summary>
    public static void CheckDeviceDrop(RoutingCase fixture, WorkerPool workers)
    {
        int topK = fixture.Int("num_experts_per_tok");
        int[][] devices = fixture.Lists("device_groups");
        int[] deviceOf = [.. Enumerable.Range(0, fixture.Int("num_experts")).Select(expert => Array.FindIndex(devices, device => device.Contains(expert)))];
        using RouterProbe probe = new(workers, fixture.Sizes("expert_ids")[0]);
        probe.SetRows(fixture);
        int[] kept = fixture.Ids("expert_ids");
        for (int slot = 0; slot < kept.Length; slot++)
        {
            kept[slot] = IsPadding(probe.Batch, slot / topK) ? -1 : kept[slot];
        }

        int budget = CapacityRule.BudgetOf(fixture.Number("capacity_factor"), probe.Batch.CountReal(), devices.Length, topK);
        bool[] isProtected = [.. fixture.Ids("protected").Select(flag => flag == 1)];
        SlotPlacement.DropByDevice(fixture.Floats("routing_weights"), topK, deviceOf, budget, isProtected, new long[kept.Length], new int[kept.Length], new int[devices.Length], kept);
        fixture.Compare("device_capacity", budget);
        CompareDropped(fixture, new RoutingPlan(deviceOf.Length, kept, probe.Input(fixture.Floats("routing_weights")), null), probe.Batch, isEachSlot: true);
    }

    private static RoutingPlan Limit(RoutingCase fixture, CapacityRule rule, RouterProbe probe, RoutingPlan plan) =>
        new CapacityLimiter(rule, plan.NumExperts, 0, 1f).Limit(plan, probe.Context.Routing.Next(0, plan.NumExperts), probe.Context);

    // The limiter keeps places to itself; they are asked for again, in the same order.
    private static int[] Positions(CapacityRule rule, RoutingCase fixture, TokenBatch batch, int begin, int end, int places)
    {
        int topK = fixture.Int("num_experts_per_tok");
        (int first, int slots) = (begin * topK, (end - begin) * topK);
        int[] ids = fixture.Ids("expert_ids")[first..(first + slots)];
        for (int slot = 0; slot < slots; slot++)
        {
            ids[slot] = IsPadding(batch, (first + slot) / topK) ? -1 : ids[slot];
        }

        int[] order = new int[slots];
        int[] positions = new int[slots];
        SlotPlacement.Order(rule.Policy, fixture.Floats("routing_weights").AsSpan(first, slots), topK, new long[slots], order);
        SlotPlacement.Serve(order, ids, places, new int[fixture.Int("num_experts")], positions);
        return positions;
    }

    private static void CompareDropped(RoutingCase fixture, in RoutingPlan limited, TokenBatch batch, bool isEachSlot)
    {
        List<int> dropped = [];
        List<int> unrouted = [];
        int asked = 0;
        for (int token = 0; token < limited.NumTokens; token++)
        {
            if (IsPadding(batch, token))
            {
                continue;
            }

            ReadOnlySpan<int> ids = limited.ExpertIds.Slice(token * limited.TopK, limited.TopK);
            for (int slot = 0; slot < ids.Length; slot++)
            {
                asked++;
                if (ids[slot] < 0)
                {
                    dropped.AddRange([token, slot]);
                }
            }

            if (!ids.ContainsAnyExcept(-1))
            {
                unrouted.Add(token);
            }
        }

        fixture.Compare("expert_ids", limited.ExpertIds);
        fixture.Compare("drop_rate", dropped.Count / 2.0 / asked);
        if (isEachSlot)
        {
            fixture.Compare("dropped", [.. dropped]);
        }

        if (fixture.Expects("unrouted_tokens"))
        {
            fixture.Compare("unrouted_tokens", [.. unrouted]);
        }
    }

    /// <summary>The rule that a case describes, while training.</summary>
    public static CapacityRule RuleOf(RoutingCase fixture)
    {
        string policy = fixture.HasSetting("drop_policy") ? fixture.Text("drop_policy") : "position";
        string order = fixture.HasSetting("drop_order") ? fixture.Text("drop_order") : "slot_major";
        return new CapacityRule
        {
            TrainingFactor = fixture.OptionalNumber("capacity_factor") ?? 0,
            Minimum = fixture.OptionalInt("min_expert_capacity") ?? 0,
            Multiple = fixture.OptionalInt("capacity_multiple") ?? 1,
            RoundsUp = !fixture.HasSetting("capacity_rounding") || fixture.Text("capacity_rounding") == "ceil",
            CountsSlots = !fixture.HasSetting("capacity_counts_slots") || fixture.Flag("capacity_counts_slots"),
            CountsPadding = fixture.HasSetting("capacity_counts_padding") && fixture.Flag("capacity_counts_padding"),
            Policy = policy switch
            {
                "probability" => DropPolicy.Probability,
                "batch_prioritized" => DropPolicy.BatchPrioritized,
                _ => order == "token_major" ? DropPolicy.TokenMajor : DropPolicy.SlotMajor,
            },
            GroupTokens = fixture.OptionalInt("group_size") ?? 0,
            RenormalizesAfterDrop = fixture.HasSetting("renormalize_after_drop") && fixture.Flag("renormalize_after_drop"),
        };
    }

    private static bool IsPadding(TokenBatch batch, int token) => batch.HasPadding && batch.IsPadding[token];

    private static int CountTokens(CapacityRule rule, TokenBatch batch, int begin, int end) =>
        rule.CountsPadding ? end - begin : Enumerable.Range(begin, end - begin).Count(token => !IsPadding(batch, token));
}
