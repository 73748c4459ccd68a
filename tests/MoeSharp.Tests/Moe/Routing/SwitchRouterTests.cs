using MoeSharp.Kernels;
using MoeSharp.Model.Routers;
using MoeSharp.Moe.Routing;
using MoeSharp.Tensors;
using MoeSharp.Tests.Kernels;
using MoeSharp.Tests.Reference;
using MoeSharp.Verification.Routing;

namespace MoeSharp.Tests.Moe.Routing;

public sealed class SwitchRouterTests
{
    private const int Tokens = 7;
    private const int Hidden = 5;
    private const int Experts = 4;

    [Fact]
    public void Choice_weight_and_gradients_equal_the_double_precision_reference()
    {
        (float[] x, float[] weight, float[] cotangent) = (KernelCheck.Random(Tokens * Hidden, 1), KernelCheck.Random(Experts * Hidden, 2), KernelCheck.Random(Tokens, 3));
        float[] uniform = [.. KernelCheck.Random(Tokens * Hidden, 4).Select(value => (value + 1) / 2)];
        using WorkerPool workers = new(2);
        using RouterProbe probe = new(workers, Tokens);
        List<Parameter> parameters = [];
        LinearRouterProjection projection = new("router", Hidden, Experts, false, parameters);
        weight.CopyTo(parameters[0].Value);
        parameters[0].AllocateGradient();
        Tensor input = probe.Input(x);

        RoutingPlan plan = new SwitchRouterConfig { JitterNoise = 0.3f }.Over(projection, new GivenNoise(uniform), 2f).Route(input, probe.Context);

        int[] chosen = plan.ExpertIds.ToArray();
        Assert.Equal(Enumerable.Range(0, Tokens).Select(token => Scores(KernelCheck.Double(x), KernelCheck.Double(weight), uniform, token)).Select(scores => Array.IndexOf(scores, scores.Max())), chosen);
        KernelCheck.Close([.. Enumerable.Range(0, Tokens).Select(token => 2 * Scores(KernelCheck.Double(x), KernelCheck.Double(weight), uniform, token)[chosen[token]])], plan.RoutingWeights.Data.ToArray(), 1e-6, 1e-6, "weights");
        probe.Backward(plan.RoutingWeights, cotangent);
        double Loss(double[] hidden, double[] matrix) => Enumerable.Range(0, Tokens).Sum(token => 2 * cotangent[token] * Scores(hidden, matrix, uniform, token)[chosen[token]]);
        KernelCheck.Close(Numerical.Gradient(hidden => Loss(hidden, KernelCheck.Double(weight)), KernelCheck.Double(x)), input.Gradient.ToArray(), 1e-6, 1e-5, "input");
        KernelCheck.Close(Numerical.Gradient(matrix => Loss(KernelCheck.Double(x), matrix), KernelCheck.Double(weight)), parameters[0].Gradient.ToArray(), 1e-6, 1e-5, "weight");
    }

    [Fact]
    public void Equal_scores_go_to_the_lowest_expert()
    {
        using WorkerPool workers = new(1);
        using RouterProbe probe = new(workers, 2);
        Tensor logits = probe.Input([0f, 1f, 1f, -5f, -5f, -5f]);

        RoutingPlan plan = new SwitchRouterConfig { JitterNoise = 0 }.Over(new GivenLogits(logits), new GivenNoise([]), 1f).Route(logits, probe.Context);

        Assert.Equal([1, 0], plan.ExpertIds.ToArray());
    }

    [Fact]
    public void Evaluation_has_no_jitter()
    {
        float[] x = KernelCheck.Random(Tokens * Experts, 5);
        using WorkerPool workers = new(1);
        using RouterProbe probe = new(workers, Tokens, isTraining: false);
        Tensor logits = probe.Input(x);

        RoutingPlan plan = new SwitchRouterConfig { JitterNoise = 0.5f }.Over(new GivenLogits(logits), new GivenNoise([]), 1f).Route(logits, probe.Context); // asking for numbers would throw

        Assert.Equal(x, plan.Scores!.Value.Logits.Data.ToArray());
    }

    private static double[] Scores(double[] x, double[] weight, float[] uniform, int token) => Numerical.Softmax(
        [.. Enumerable.Range(0, Experts).Select(expert => Enumerable.Range(0, Hidden).Sum(h => weight[(expert * Hidden) + h] * x[(token * Hidden) + h] * (0.7 + (0.6 * uniform[(token * Hidden) + h]))))]);
}
