using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model.Routers;
using MoeSharp.Moe.Routing;
using MoeSharp.Tensors;
using MoeSharp.Tests.Kernels;
using MoeSharp.Tests.Reference;
using MoeSharp.Verification.Routing;

namespace MoeSharp.Tests.Moe.Routing;

public sealed class ReinforceRouterTests
{
    private const int Experts = 3;
    private const int Tokens = 4;
    private const int WithoutTarget = 2;

    private readonly float[] _logits = KernelCheck.Random(Tokens * Experts, 41, 2f);
    private readonly float[] _costs = [.. KernelCheck.Random(Tokens * Experts, 42).Select(value => value + 2)]; // loss of each token at each expert

    [Theory]
    [InlineData(0f, -2f)]
    [InlineData(0f, 5f)] // any baseline gives the same mean
    [InlineData(0.3f, -1f)]
    public void The_mean_gradient_over_all_draws_is_that_of_the_expected_loss(float entropy, float baseline)
    {
        using WorkerPool workers = new(1);
        double[] mean = new double[_logits.Length];
        for (int code = 0; code < 81; code++) // all draws
        {
            int[] drawn = [code % 3, code / 3 % 3, code / 9 % 3, code / 27];
            (float[] gradient, double chance) = GradientOf(drawn, entropy, baseline, workers);
            for (int index = 0; index < mean.Length; index++)
            {
                mean[index] += chance * gradient[index];
            }
        }

        double Expected(double[] logits)
        {
            double sum = 0;
            foreach (int token in Enumerable.Range(0, Tokens).Where(token => token != WithoutTarget))
            {
                double[] probs = Numerical.Softmax(logits[(token * Experts)..((token + 1) * Experts)]);
                sum += probs.Select((p, expert) => (p * _costs[(token * Experts) + expert]) + (entropy * p * Math.Log(p))).Sum();
            }

            return sum / (Tokens - 1);
        }

        KernelCheck.Close(Numerical.Gradient(Expected, KernelCheck.Double(_logits)), [.. mean.Select(value => (float)value)], 2e-6, 1e-5, "logits");
    }

    [Fact]
    public void Experts_are_drawn_as_often_as_the_softmax_says()
    {
        const int Draws = 40_000;
        float[] row = [1f, -1f, 0f];
        using WorkerPool workers = new(2);
        using RouterProbe probe = new(workers, Draws);
        probe.Context.NoiseSeed = 3;
        probe.Context.Routing.Next(0, 3);
        Tensor logits = probe.Input([.. Enumerable.Repeat(row, Draws).SelectMany(values => values)]);

        int[] drawn = new ReinforceRouterConfig().Over(new GivenLogits(logits), new SeededNoise("layers.0.moe.router"), new FixedBaseline(0), 1f).Route(logits, probe.Context).ExpertIds.ToArray();

        double[] probs = Numerical.Softmax(KernelCheck.Double(row));
        for (int expert = 0; expert < 3; expert++)
        {
            Assert.InRange((double)drawn.Count(id => id == expert) / Draws, probs[expert] - 0.0125, probs[expert] + 0.0125); // five standard deviations
        }
    }

    [Fact]
    public void Without_gradients_the_likeliest_is_taken_and_the_weight_is_always_the_scale()
    {
        using WorkerPool workers = new(1);
        using RouterProbe probe = new(workers, Tokens, isTraining: false);
        Tensor logits = probe.Input(_logits);

        RoutingPlan plan = new ReinforceRouterConfig().Over(new GivenLogits(logits), new GivenNoise([]), new FixedBaseline(0), 2.5f).Route(logits, probe.Context);

        Assert.Equal(Enumerable.Range(0, Tokens).Select(token => Enumerable.Range(0, Experts).MaxBy(expert => _logits[(token * Experts) + expert])), plan.ExpertIds.ToArray());
        Assert.All(plan.RoutingWeights.Data.ToArray(), weight => Assert.Equal(2.5f, weight));
    }

    private (float[] Gradient, double Chance) GradientOf(int[] drawn, float entropy, float baseline, WorkerPool workers)
    {
        using RouterProbe probe = new(workers, Tokens);
        probe.Context.Routing.Next(0, Experts);
        Tensor logits = probe.Input(_logits);
        float[] noise = new float[Tokens];
        for (int token = 0; token < Tokens; token++)
        {
            double[] probs = Numerical.Softmax(KernelCheck.Double(_logits[(token * Experts)..((token + 1) * Experts)]));
            noise[token] = (float)(probs[..drawn[token]].Sum() + (probs[drawn[token]] / 2));
            probe.Batch.Targets[token] = token == WithoutTarget ? -1 : 0;
        }

        ReinforceRouterConfig config = new() { EntropyCoef = entropy };
        RoutingPlan plan = config.Over(new GivenLogits(logits), new GivenNoise(noise), new FixedBaseline(baseline), 1f).Route(logits, probe.Context);
        Assert.Equal(drawn, plan.ExpertIds.ToArray());
        double chance = 1;
        for (int token = 0; token < Tokens; token++)
        {
            chance *= Numerical.Softmax(KernelCheck.Double(_logits[(token * Experts)..((token + 1) * Experts)]))[drawn[token]];
        }

        probe.GiveLosses([.. drawn.Select((expert, token) => token == WithoutTarget ? 0f : _costs[(token * Experts) + expert])]);
        probe.Backward();
        Assert.NotEqual(0, probe.Context.Routing.Current.Losses[AuxiliaryLoss.Policy]);
        return (logits.Gradient.ToArray(), chance);
    }
}
