using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Model.Routers;
using MoeSharp.Moe.Routing;
using MoeSharp.Tensors;

namespace MoeSharp.Verification.Routing;

/// <summary>Cases of routers that balance a pass's tokens while training and choose greedily otherwise.</summary>
internal static class AssignmentCases
{
    /// <summary>The exact assignment, its objective, weights and gradient, and the greedy choice.</summary>
    public static void CheckExact(RoutingCase fixture, WorkerPool workers)
    {
        int tokens = fixture.Sizes("logits")[0];
        using RouterProbe probe = new(workers, tokens);
        Tensor logits = probe.Input(fixture.Floats("logits"));
        RoutingPlan plan = new AssignmentRouter(new GivenLogits(logits), 1f).Route(logits, probe.Context);
        double objective = 0;
        for (int token = 0; token < tokens; token++)
        {
            objective += logits.Data[(token * logits.Columns) + plan.ExpertIds[token]];
        }

        fixture.Compare("assignment", plan.ExpertIds);
        fixture.Compare("objective", objective);
        fixture.Compare("routing_weights", plan.RoutingWeights.Data);
        probe.Backward(plan.RoutingWeights, fixture.Floats("cotangent"));
        fixture.Compare("grad_logits", logits.Gradient);
        using RouterProbe inference = new(workers, tokens, isTraining: false);
        Tensor same = inference.Input(fixture.Floats("logits"));
        RoutingPlan greedy = new AssignmentRouter(new GivenLogits(same), 1f).Route(same, inference.Context);
        fixture.Compare("greedy_expert_ids", greedy.ExpertIds);
        fixture.Compare("greedy_routing_weights", greedy.RoutingWeights.Data);
    }

    /// <summary>The transport plan, the choice by it, weights and gradient, and the choice by logits.</summary>
    public static void CheckSinkhorn(RoutingCase fixture, WorkerPool workers)
    {
        SinkhornRouterConfig config = new()
        {
            Temperature = fixture.Number("sinkhorn_temperature"),
            Iterations = fixture.Int("sinkhorn_iterations"),
            Tolerance = fixture.Number("sinkhorn_tolerance"),
            Epsilon = fixture.Number("sinkhorn_epsilon"),
            SubtractsRowMax = fixture.Flag("subtract_row_max"),
            IsSigmoid = fixture.Text("scoring_func") == "sigmoid",
        };
        MoeConfig moe = TopKCases.ConfigOf(fixture);
        using RouterProbe probe = new(workers, fixture.Sizes("logits")[0]);
        Tensor logits = probe.Input(fixture.Floats("logits"));
        SinkhornRouter router = config.Over(new GivenLogits(logits), moe, 1f);
        Tensor transport = router.Plan(logits, probe.Context, out int rounds);
        fixture.Compare("iterations", rounds);
        fixture.Compare("plan", transport.Data);
        fixture.Compare("row_sums", Sums(transport, transport.Rows, (row, _) => row));
        fixture.Compare("column_sums", Sums(transport, transport.Columns, (_, column) => column));
        RoutingPlan plan = router.Route(logits, probe.Context);
        fixture.Compare("expert_ids", plan.ExpertIds);
        fixture.Compare("routing_weights", plan.RoutingWeights.Data);
        probe.Backward(plan.RoutingWeights, fixture.Floats("cotangent"));
        fixture.Compare("grad_logits", logits.Gradient);
        using RouterProbe inference = new(workers, logits.Rows, isTraining: false);
        Tensor same = inference.Input(fixture.Floats("logits"));
        fixture.Compare("inference_expert_ids", config.Over(new GivenLogits(same), moe, 1f).Route(same, inference.Context).ExpertIds);
    }

    private static double[] Sums(Tensor transport, int count, Func<int, int, int> target)
    {
        double[] sums = new double[count];
        for (int index = 0; index < transport.Data.Length; index++)
        {
            sums[target(index / transport.Columns, index % transport.Columns)] += transport.Data[index];
        }

        return sums;
    }
}
