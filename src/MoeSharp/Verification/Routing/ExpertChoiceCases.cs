using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Model.Routers;
using MoeSharp.Moe.Routing;
using MoeSharp.Tensors;

namespace MoeSharp.Verification.Routing;

/// <summary>Cases of experts that choose tokens.</summary>
internal static class ExpertChoiceCases
{
    /// <summary>Capacities, what each expert takes, gates and gradient.</summary>
    public static void Check(RoutingCase fixture, WorkerPool workers)
    {
        ExpertChoiceRouterConfig config = new()
        {
            CapacityFactor = fixture.Number("capacity_factor"),
            RoundsUp = fixture.Text("capacity_rounding") == "ceil",
            MinExpertCapacity = fixture.Int("min_expert_capacity"),
            IsPerSequence = fixture.Text("scope") == "sequence",
        };
        MoeConfig moe = new() { NumExperts = fixture.Int("num_experts"), TopK = 1, IntermediateSize = 1 };
        using RouterProbe probe = new(workers, fixture.Sizes("logits")[0]);
        probe.SetRows(fixture);
        Tensor logits = probe.Input(fixture.Floats("logits"));
        RoutingPlan plan = config.Over(new GivenLogits(logits), moe, 1f).Route(logits, probe.Context);
        Group[] groups = Groups(config.IsPerSequence, probe.Batch);
        int[] capacities = [.. groups.Select(group => config.Rule(moe).Capacity(group.RealTokens, moe.NumExperts))];
        fixture.Compare("expert_capacity", capacities);
        List<Choice>[] taken = Taken(plan);
        List<Choice>[][] byGroup = [.. groups.Select(group => taken.Select(list => list.Where(choice => group.Holds(choice.Token)).ToList()).ToArray())];
        fixture.CompareLists("token_ids", byGroup.Select(group => group.Select(list => list.Select(choice => choice.Token))));
        fixture.Compare("gates", [.. byGroup.SelectMany(group => group.SelectMany(list => list.Select(choice => (double)choice.Gate)))]);
        int[] ids = plan.ExpertIds.ToArray();
        fixture.CompareLists("experts_of_token", ids.Chunk(plan.TopK).Select(chosen => chosen.Where(expert => expert >= 0)));
        probe.Backward(plan.RoutingWeights, Cotangent(fixture.Floats("cotangent"), ids, plan.TopK, moe.NumExperts));
        fixture.Compare("grad_logits", logits.Gradient);
    }

    // What each expert takes, best first, the first of equals.
    private static List<Choice>[] Taken(in RoutingPlan plan)
    {
        List<Choice>[] taken = [.. Enumerable.Range(0, plan.NumExperts).Select(_ => new List<Choice>())];
        for (int slot = 0; slot < plan.ExpertIds.Length; slot++)
        {
            if (plan.ExpertIds[slot] >= 0)
            {
                taken[plan.ExpertIds[slot]].Add(new Choice(slot / plan.TopK, plan.RoutingWeights.Data[slot]));
            }
        }

        return [.. taken.Select(list => list.OrderByDescending(choice => choice.Gate).ThenBy(choice => choice.Token).ToList())];
    }

    // The case gives a cotangent per token and expert, the plan has slots.
    private static float[] Cotangent(float[] full, int[] expertIds, int topK, int experts) =>
        [.. expertIds.Select((expert, slot) => expert < 0 ? 0f : full[(slot / topK * experts) + expert])];

    private static Group[] Groups(bool arePerSequence, TokenBatch batch)
    {
        Group[] ranges = arePerSequence
            ? [.. Enumerable.Range(0, batch.NumSequences).Select(batch.Sequence).Select(rows => new Group(rows.Begin, rows.Begin + rows.Count, 0))]
            : [new Group(0, batch.Count, 0)];
        bool[] isPadding = batch.IsPadding.ToArray();
        return [.. ranges.Select(group => group with { RealTokens = Enumerable.Range(group.Begin, group.End - group.Begin).Count(row => isPadding.Length == 0 || !isPadding[row]) })];
    }

    private readonly record struct Choice(int Token, float Gate);

    private readonly record struct Group(int Begin, int End, int RealTokens)
    {
        public bool Holds(int token) => token >= Begin && token < End;
    }
}
