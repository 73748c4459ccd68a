using MoeSharp.Kernels;
using MoeSharp.Model.Routers;
using MoeSharp.Moe.Routing;
using MoeSharp.Tensors;

namespace MoeSharp.Verification.Routing;

/// <summary>Cases of Switch.</summary>
internal static class SwitchCases
{
    /// <summary>Jitter, logits, choice, weight and gradients.</summary>
    public static void Check(RoutingCase fixture, WorkerPool workers)
    {
        SwitchRouterConfig config = new() { JitterNoise = (float)fixture.Number("router_jitter_noise") };
        RouterWeights weights = new(fixture, fixture.Int("hidden_size"));
        bool isTraining = fixture.Flag("training");
        using RouterProbe probe = new(workers, fixture.Sizes("hidden")[0], isTraining);
        Tensor hidden = probe.Input(fixture.Floats("hidden"));
        IRouter router = config.Over(weights.Projection, new GivenNoise(fixture.Floats("uniform")), 1f);
        RoutingPlan plan = router.Route(hidden, probe.Context);
        fixture.Compare("logits", plan.Scores!.Value.Logits.Data); // a router by scores has them
        fixture.Compare("expert_ids", plan.ExpertIds);
        fixture.Compare("routing_weights", plan.RoutingWeights.Data);
        if (!isTraining)
        {
            Differentiate(fixture, workers, config, weights);
            return;
        }

        probe.Backward(plan.RoutingWeights, fixture.Floats("cotangent"));
        fixture.Compare("grad_hidden", hidden.Gradient);
        fixture.Compare("grad_router_weight", weights.Gradient);
    }

    // Evaluation has no tape; its gradient is that of a training pass whose jitter is switched off.
    private static void Differentiate(RoutingCase fixture, WorkerPool workers, SwitchRouterConfig config, RouterWeights weights)
    {
        using RouterProbe probe = new(workers, fixture.Sizes("hidden")[0]);
        Tensor hidden = probe.Input(fixture.Floats("hidden"));
        RoutingPlan plan = (config with { JitterNoise = 0 }).Over(weights.Projection, new GivenNoise([]), 1f).Route(hidden, probe.Context);
        probe.Backward(plan.RoutingWeights, fixture.Floats("cotangent"));
        fixture.Compare("grad_hidden", hidden.Gradient);
        fixture.Compare("grad_router_weight", weights.Gradient);
    }
}

/// <summary>The router weight that a case gives, as a projection, with its gradient.</summary>
internal sealed class RouterWeights
{
    private readonly List<Parameter> _parameters = [];

    public RouterWeights(RoutingCase fixture, int hiddenSize)
    {
        Projection = new LinearRouterProjection("router", hiddenSize, fixture.Int("num_experts"), false, _parameters);
        fixture.Floats("router_weight").CopyTo(_parameters[0].Value);
        _parameters[0].AllocateGradient();
    }

    /// <summary>Logits by the weight.</summary>
    public LinearRouterProjection Projection { get; }

    /// <summary>Gradient of the weight.</summary>
    public Span<float> Gradient => _parameters[0].Gradient;
}
