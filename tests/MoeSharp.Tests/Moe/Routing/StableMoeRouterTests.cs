using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model.Routers;
using MoeSharp.Moe.Routing;
using MoeSharp.Tensors;
using MoeSharp.Tests.Kernels;
using MoeSharp.Tests.Reference;
using MoeSharp.Verification.Routing;

namespace MoeSharp.Tests.Moe.Routing;

public sealed class StableMoeRouterTests
{
    private const int Tokens = 9;
    private const int Experts = 4;
    private const int Padded = 5;

    private readonly float[] _logits = KernelCheck.Random(Tokens * Experts, 51, 2f);
    private readonly float[] _light = KernelCheck.Random(Tokens * Experts, 52, 2f);

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Losses_of_the_first_stage_and_their_gradients_equal_the_double_precision_reference(bool isMean)
    {
        float[] cotangent = KernelCheck.Random(Tokens, 53);
        using WorkerPool workers = new(2);
        using RouterProbe probe = new(workers, Tokens);
        probe.Batch.MarkPadding(Padded);
        LayerRouting record = probe.Context.Routing.Next(0, Experts);
        (Tensor logits, Tensor light) = (probe.Input(_logits), probe.Input(_light));

        RoutingPlan plan = new StableMoeRouterConfig { IsMean = isMean, BalanceLossCoef = 0.7f, DistillLossCoef = 0.4f }.Over(new GivenLogits(logits), new GivenLogits(light), 1.5f).Route(logits, probe.Context);

        int[] ids = plan.ExpertIds.ToArray();
        int[] real = [.. Enumerable.Range(0, Tokens).Where(token => token != Padded)];
        double share = isMean ? 1.0 / real.Length : 1;
        double Gate(double[] values, int token) => 1 / (1 + Math.Exp(-values[(token * Experts) + ids[token]]));
        double Balance(double[] values) => share * real.Sum(token => ((real.Count(other => ids[other] == ids[token]) / (real.Length / (double)Experts)) - 1) * Gate(values, token));
        double Distill(double[] values) => share * real.Sum(token => -Math.Log(Numerical.Softmax(values[(token * Experts)..((token + 1) * Experts)])[ids[token]]));
        Assert.Equal(Enumerable.Range(0, Tokens).Select(token => Enumerable.Range(0, Experts).MaxBy(expert => _logits[(token * Experts) + expert])), ids);
        Assert.Equal(Balance(KernelCheck.Double(_logits)), record.Losses[AuxiliaryLoss.GateBalance], 1e-6);
        Assert.Equal(Distill(KernelCheck.Double(_light)), record.Losses[AuxiliaryLoss.Distillation], 1e-5);
        probe.Backward(plan.RoutingWeights, cotangent);
        double[] byLogits = Numerical.Gradient(values => (0.7 * Balance(values)) + cotangent.Select((slope, token) => slope * 1.5 * Gate(values, token)).Sum(), KernelCheck.Double(_logits));
        KernelCheck.Close(byLogits, logits.Gradient.ToArray(), 2e-6, 1e-5, "logits");
        KernelCheck.Close(Numerical.Gradient(values => 0.4 * Distill(values), KernelCheck.Double(_light)), light.Gradient.ToArray(), 2e-6, 1e-5, "light logits");
    }

    [Fact]
    public void Masking_the_best_masks_what_the_light_router_would_have_chosen()
    {
        using WorkerPool workers = new(1);
        using RouterProbe probe = new(workers, Tokens, isTraining: false);
        (Tensor logits, Tensor light) = (probe.Input(_logits), probe.Input(_light));
        IRouter router = new StableMoeRouterConfig().Over(new GivenLogits(logits), new GivenLogits(light), 1f);

        RoutingPlan plan = ExpertLimits.Apply(router, router.Route(logits, probe.Context), 0, new RoutingIntervention { MaskedBest = 1 }, probe.Context);

        int[] second = [.. Enumerable.Range(0, Tokens).Select(token => Enumerable.Range(0, Experts).OrderByDescending(expert => _light[(token * Experts) + expert]).ElementAt(1))];
        Assert.Equal(second, plan.ExpertIds.ToArray());
        KernelCheck.Close([.. second.Select((expert, token) => 1 / (1 + Math.Exp(-_logits[(token * Experts) + expert])))], plan.RoutingWeights.Data.ToArray(), 1e-6, 1e-6, "weights");
    }

    [Theory]
    [InlineData(true, 0.1)] // training, when the first stage is over
    [InlineData(false, 0.0)] // any other pass
    public void Afterwards_the_light_router_chooses_and_gets_no_gradient(bool isTraining, double progress)
    {
        using WorkerPool workers = new(1);
        using RouterProbe probe = new(workers, Tokens, isTraining);
        probe.Context.Progress = progress;
        probe.Context.Routing.Next(0, Experts);
        (Tensor logits, Tensor light) = (probe.Input(_logits), probe.Input(_light));

        RoutingPlan plan = new StableMoeRouterConfig().Over(new GivenLogits(logits), new GivenLogits(light), 1f).Route(logits, probe.Context);

        int[] ids = [.. Enumerable.Range(0, Tokens).Select(token => Enumerable.Range(0, Experts).MaxBy(expert => _light[(token * Experts) + expert]))];
        Assert.Equal(ids, plan.ExpertIds.ToArray());
        KernelCheck.Close([.. ids.Select((expert, token) => 1 / (1 + Math.Exp(-_logits[(token * Experts) + expert])))], plan.RoutingWeights.Data.ToArray(), 1e-6, 1e-6, "weights");
        if (isTraining)
        {
            probe.Backward(plan.RoutingWeights, KernelCheck.Random(Tokens, 54));
            Assert.False(light.HasGradient);
            Assert.True(logits.HasGradient);
        }
    }
}
