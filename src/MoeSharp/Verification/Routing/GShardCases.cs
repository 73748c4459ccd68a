using MoeSharp.Kernels;
using MoeSharp.Model.Routers;
using MoeSharp.Moe.Dispatch;
using MoeSharp.Moe.Routing;
using MoeSharp.Tensors;

namespace MoeSharp.Verification.Routing;

/// <summary>Cases of GShard's two experts.</summary>
internal static class GShardCases
{
    /// <summary>Choices, places, weights and gradients.</summary>
    public static void Check(RoutingCase fixture, WorkerPool workers)
    {
        if (fixture.Int("num_experts_per_tok") != 2 || fixture.Number("norm_epsilon") != 1e-9)
        {
            throw new ConfigurationException("GShard has two experts per token and adds 1e-9 to their sum");
        }

        using RouterProbe probe = new(workers, fixture.Sizes("logits")[0]);
        Tensor logits = probe.Input(fixture.Floats("logits"));
        string noise = fixture.HasInput("gumbel") ? "gumbel" : "uniform";
        IRouter router = ConfigOf(fixture).Over(new GivenLogits(logits), new GivenNoise(fixture.HasInput(noise) ? fixture.Floats(noise) : []), 1f);
        RoutingPlan plan = router.Route(logits, probe.Context);
        int[] requested = plan.RequestedIds.ToArray();
        fixture.Compare("first_choice", requested.Where((_, slot) => slot % 2 == 0).ToArray());
        fixture.Compare("second_choice", requested.Where((_, slot) => slot % 2 == 1).ToArray());
        fixture.Compare("expert_ids", plan.ExpertIds);
        fixture.Compare("routing_weights", plan.RoutingWeights.Data);
        int[] positions = new int[requested.Length];
        int[] order = new int[requested.Length];
        SlotPlacement.OrderByChoice(requested.Length, 2, order);
        SlotPlacement.Serve(order, requested, fixture.OptionalInt("expert_capacity") ?? int.MaxValue, new int[plan.NumExperts], positions);
        fixture.Compare("position_in_expert", positions);
        probe.Backward(plan.RoutingWeights, fixture.Floats("cotangent"));
        fixture.Compare("grad_logits", logits.Gradient);
    }

    private static GShardRouterConfig ConfigOf(RoutingCase fixture) => new()
    {
        SecondExpertPolicy = Enum.Parse<SecondExpertPolicy>(fixture.Text("second_expert_policy"), ignoreCase: true),
        SecondExpertThreshold = (float)(fixture.OptionalNumber("second_expert_threshold") ?? 0),
        RenormalizesAfterDrop = fixture.Text("renormalize") == "after_drop",
        ExpertCapacity = fixture.OptionalInt("expert_capacity"),
    };
}
