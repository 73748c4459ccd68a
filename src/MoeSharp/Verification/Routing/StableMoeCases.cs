using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model.Routers;
using MoeSharp.Moe.Routing;
using MoeSharp.Tensors;

namespace MoeSharp.Verification.Routing;

/// <summary>Cases of StableMoE's two stages.</summary>
internal static class StableMoeCases
{
    /// <summary>First stage: choice, counts, weights, both losses, and the gradient of each part alone.</summary>
    public static void CheckFirstStage(RoutingCase fixture, WorkerPool workers)
    {
        StableMoeRouterConfig config = new()
        {
            BalanceLossCoef = (float)fixture.Number("balance_loss_coef"),
            DistillLossCoef = (float)fixture.Number("distill_loss_coef"),
            IsMean = fixture.Text("reduction") == "mean",
        };
        float[] cotangent = fixture.Floats("cotangent");
        using (StageProbe weights = new(fixture, workers, config with { BalanceLossCoef = 0, DistillLossCoef = 0 }))
        {
            weights.Probe.Backward(weights.Plan.RoutingWeights, cotangent);
            fixture.Compare("grad_logits_of_weights", weights.Logits.Gradient);
        }

        using StageProbe losses = new(fixture, workers, config);
        int[] counts = new int[losses.Plan.NumExperts];
        for (int token = 0; token < losses.Plan.NumTokens; token++)
        {
            counts[losses.Plan.ExpertIds[token]] += losses.Probe.Batch.HasPadding && losses.Probe.Batch.IsPadding[token] ? 0 : 1;
        }

        fixture.Compare("expert_ids", losses.Plan.ExpertIds);
        fixture.Compare("expert_counts", counts);
        fixture.Compare("routing_weights", losses.Plan.RoutingWeights.Data);
        fixture.Compare("balance_loss", config.BalanceLossCoef * losses.Record.Losses[AuxiliaryLoss.GateBalance]);
        fixture.Compare("distill_loss", config.DistillLossCoef * losses.Record.Losses[AuxiliaryLoss.Distillation]);
        losses.Probe.Backward(losses.Plan.RoutingWeights, new float[cotangent.Length]);
        fixture.Compare("grad_logits_of_balance_loss", losses.Logits.Gradient);
        fixture.Compare("grad_distill_logits_of_distill_loss", losses.LightLogits.Gradient);
    }

    /// <summary>Second stage: the light router's logits and choice, the live gate, and gradients; none for the light router.</summary>
    public static void CheckSecondStage(RoutingCase fixture, WorkerPool workers)
    {
        (int experts, int hiddenSize, int width) = (fixture.Int("num_experts"), fixture.Int("hidden_size"), fixture.Int("distill_hidden_size"));
        List<Parameter> parameters = [];
        LinearRouterProjection projection = new("router", hiddenSize, experts, false, parameters);
        TokenProjection light = new("light_embedding", "light", fixture.Int("vocab_size"), width, experts, parameters);
        string[] inputs = ["expert_centroids", "distill_embedding", "distill_centroids"];
        for (int index = 0; index < inputs.Length; index++)
        {
            fixture.Floats(inputs[index]).CopyTo(parameters[index].Value);
            parameters[index].AllocateGradient();
        }

        int[] tokenIds = fixture.Ids("token_ids");
        using RouterProbe probe = new(workers, tokenIds.Length);
        tokenIds.CopyTo(probe.Batch.TokenIds);
        Tensor hidden = probe.Input(fixture.Floats("hidden"));
        StableMoeRouterConfig config = new();
        probe.Context.Progress = config.FirstStage; // the first stage is over
        probe.Context.Routing.Next(0, experts);
        RoutingPlan plan = config.Over(projection, light, 1f).Route(hidden, probe.Context);
        fixture.Compare("light_logits", plan.Scores!.Value.Logits.Data); // a router by scores has them
        fixture.Compare("expert_ids", plan.ExpertIds);
        fixture.Compare("routing_weights", plan.RoutingWeights.Data);
        probe.Backward(plan.RoutingWeights, fixture.Floats("cotangent"));
        fixture.Compare("grad_hidden", hidden.Gradient);
        fixture.Compare("grad_expert_centroids", parameters[0].Gradient);
        if (!parameters[1].GradientIsEmpty || !parameters[2].GradientIsEmpty)
        {
            throw new InvalidOperationException("the light router got a gradient in the second stage");
        }
    }

    // One pass of the first stage over the case's logits.
    private sealed class StageProbe : IDisposable
    {
        public StageProbe(RoutingCase fixture, WorkerPool workers, StableMoeRouterConfig config)
        {
            Probe = new RouterProbe(workers, fixture.Sizes("logits")[0]);
            Probe.SetRows(fixture);
            Record = Probe.Context.Routing.Next(0, fixture.Int("num_experts"));
            Logits = Probe.Input(fixture.Floats("logits"));
            LightLogits = Probe.Input(fixture.Floats("distill_logits"));
            Plan = config.Over(new GivenLogits(Logits), new GivenLogits(LightLogits), 1f).Route(Logits, Probe.Context);
        }

        public RouterProbe Probe { get; }

        public LayerRouting Record { get; }

        public Tensor Logits { get; }

        public Tensor LightLogits { get; }

        public RoutingPlan Plan { get; }

        public void Dispose() => Probe.Dispose();
    }
}
