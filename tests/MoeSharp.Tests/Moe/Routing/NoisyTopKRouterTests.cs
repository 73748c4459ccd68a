using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Moe.Routing;
using MoeSharp.Tensors;
using MoeSharp.Tests.Kernels;
using MoeSharp.Tests.Reference;
using MoeSharp.Verification.Routing;

namespace MoeSharp.Tests.Moe.Routing;

public sealed class NoisyTopKRouterTests
{
    private const int Tokens = 6;
    private const int Experts = 5;

    private readonly float[] _clean = KernelCheck.Random(Tokens * Experts, 21);
    private readonly float[] _size = KernelCheck.Random(Tokens * Experts, 22);
    private readonly float[] _noise = KernelCheck.Random(Tokens * Experts, 23, 2f);

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(4)]
    public void Weights_chances_and_gradients_equal_the_double_precision_reference(int topK)
    {
        (float[] cotangent, float[] slopes) = (KernelCheck.Random(Tokens * topK, 24), KernelCheck.Random(Tokens * Experts, 25));
        using WorkerPool workers = new(2);
        using RouterProbe probe = new(workers, Tokens, isTraining: true, new BalanceConfig { LoadAlpha = 1 });
        (Tensor clean, Tensor size) = (probe.Input(_clean), probe.Input(_size));

        RoutingPlan plan = new NoisyTopKRouter(new GivenLogits(clean), new GivenLogits(size), new GivenNoise(_noise), 0.01f, topK, 1.25f).Route(clean, probe.Context);

        double[] Both(double[] logits) => [.. Enumerable.Range(0, Tokens).SelectMany(token => Token(logits, token, topK, null).Weights), .. Enumerable.Range(0, Tokens).SelectMany(token => Token(logits, token, topK, null).Chances)];
        double[] at = [.. KernelCheck.Double(_clean), .. KernelCheck.Double(_size)];
        Assert.Equal(Enumerable.Range(0, Tokens).SelectMany(token => Token(at, token, topK, null).Best.Take(topK)), plan.ExpertIds.ToArray());
        KernelCheck.Close(Both(at), [.. plan.RoutingWeights.Data, .. plan.ChoiceChances!.Data], 1e-6, 1e-6, "weights and chances");
        slopes.CopyTo(plan.ChoiceChances.WriteGradient(out _));
        probe.Backward(plan.RoutingWeights, cotangent);
        float[] factors = [.. cotangent, .. slopes];
        double[] gradient = Numerical.Gradient(logits => Both(logits).Zip(factors, (value, factor) => value * factor).Sum(), at);
        KernelCheck.Close(gradient, [.. clean.Gradient, .. size.Gradient], 2e-6, 2e-5, "logits");
    }

    [Fact]
    public void A_chance_is_how_often_an_expert_is_chosen_when_its_noise_is_drawn_anew()
    {
        const int TopK = 2;
        const int Draws = 20_000;
        using WorkerPool workers = new(1);
        using RouterProbe probe = new(workers, Tokens, isTraining: true, new BalanceConfig { LoadAlpha = 1 });
        (Tensor clean, Tensor size) = (probe.Input(_clean), probe.Input(_size));
        float[] chances = new NoisyTopKRouter(new GivenLogits(clean), new GivenLogits(size), new GivenNoise(_noise), 0.01f, TopK, 1f).Route(clean, probe.Context).ChoiceChances!.Data.ToArray();

        double[] at = [.. KernelCheck.Double(_clean), .. KernelCheck.Double(_size)];
        Random random = new(5);
        for (int token = 0; token < Tokens; token++)
        {
            for (int expert = 0; expert < Experts; expert++)
            {
                int chosen = 0;
                for (int draw = 0; draw < Draws; draw++)
                {
                    double normal = Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());
                    chosen += Token(at, token, TopK, (expert, normal)).Best.Take(TopK).Contains(expert) ? 1 : 0;
                }

                double chance = chances[(token * Experts) + expert];
                Assert.Equal(chance, (double)chosen / Draws, 5 * Math.Sqrt((chance * (1 - chance)) + 1e-4) / Math.Sqrt(Draws)); // five standard deviations
            }
        }
    }

    [Fact]
    public void Zero_weights_spread_tokens_evenly_while_training()
    {
        const int Many = 8000;
        using WorkerPool workers = new(2);
        using RouterProbe probe = new(workers, Many);
        probe.Context.NoiseSeed = 4;
        (Tensor clean, Tensor size) = (probe.Input(new float[Many * Experts]), probe.Input(new float[Many * Experts]));

        RoutingPlan plan = new NoisyTopKRouter(new GivenLogits(clean), new GivenLogits(size), new SeededNoise("moe"), 0.01f, 2, 1f).Route(clean, probe.Context);

        Assert.Null(plan.ChoiceChances); // no load loss asks for them
        foreach (int count in plan.ExpertIds.ToArray().CountBy(expert => expert).Select(pair => pair.Value))
        {
            Assert.InRange(count, 3000, 3400); // 3200 expected, standard deviation 44
        }
    }

    [Fact]
    public void Without_gradients_there_is_no_noise()
    {
        using WorkerPool workers = new(1);
        using RouterProbe probe = new(workers, 1, isTraining: false);
        Tensor clean = probe.Input([1f, 3f, 3f, 2f, 0f]);

        RoutingPlan plan = new NoisyTopKRouter(new GivenLogits(clean), new GivenLogits(clean), new GivenNoise([]), 0.01f, 3, 1f).Route(clean, probe.Context);

        Assert.Equal([1, 2, 3], plan.ExpertIds.ToArray()); // equal logits: the lowest index first
        KernelCheck.Close(Numerical.Softmax([3, 3, 2]), plan.RoutingWeights.Data.ToArray(), 1e-6, 1e-6, "weights");
    }

    // One token with its noise, or with another number in place of one of the noise's: weights, chances, experts by falling noisy logit.
    private (double[] Weights, double[] Chances, int[] Best) Token(double[] logits, int token, int topK, (int Expert, double Normal)? redrawn)
    {
        double[] clean = logits[(token * Experts)..((token + 1) * Experts)];
        double[] deviation = [.. logits[((Tokens + token) * Experts)..((Tokens + token + 1) * Experts)].Select(size => Math.Log(1 + Math.Exp(size)) + 0.01)];
        double[] noisy = [.. Enumerable.Range(0, Experts).Select(e => clean[e] + (deviation[e] * (redrawn is { } one && one.Expert == e ? one.Normal : _noise[(token * Experts) + e])))];
        int[] best = [.. Enumerable.Range(0, Experts).OrderByDescending(e => noisy[e])];
        if (redrawn is not null)
        {
            return ([], [], best);
        }

        double[] weights = [.. Numerical.Softmax([.. best.Take(topK).Select(e => noisy[e])]).Select(weight => 1.25 * weight)];
        double[] chances = [.. Enumerable.Range(0, Experts).Select(e => Numerical.NormalBelow((clean[e] - best.Where(other => other != e).Select(other => noisy[other]).ElementAt(topK - 1)) / deviation[e]))];
        return (weights, chances, best);
    }
}
