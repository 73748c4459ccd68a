using MoeSharp.Kernels;
using MoeSharp.Model.Routers;
using MoeSharp.Moe.Routing;
using MoeSharp.Tensors;
using MoeSharp.Tests.Kernels;
using MoeSharp.Tests.Reference;
using MoeSharp.Verification.Routing;

namespace MoeSharp.Tests.Moe.Routing;

public sealed class GShardRouterTests
{
    private const int Experts = 5;

    [Theory]
    [InlineData(SecondExpertPolicy.All, false, null)]
    [InlineData(SecondExpertPolicy.None, false, null)]
    [InlineData(SecondExpertPolicy.Threshold, true, null)]
    [InlineData(SecondExpertPolicy.Random, false, 3)]
    [InlineData(SecondExpertPolicy.Random, true, 3)]
    [InlineData(SecondExpertPolicy.Sampling, false, 2)]
    [InlineData(SecondExpertPolicy.Sampling, true, 2)]
    public void Choices_weights_and_gradients_equal_the_double_precision_reference(SecondExpertPolicy policy, bool afterDrop, int? capacity)
    {
        const int Tokens = 11;
        const int Group = 6;
        float[] x = KernelCheck.Random(Tokens * Experts, 7, 2f);
        float[] noise = [.. KernelCheck.Random(policy == SecondExpertPolicy.Sampling ? Tokens * Experts : Tokens, 8).Select(value => policy == SecondExpertPolicy.Sampling ? 3 * value : (value + 1) / 2)];
        float[] cotangent = KernelCheck.Random(Tokens * 2, 9);
        GShardRouterConfig config = new() { SecondExpertPolicy = policy, SecondExpertThreshold = 0.3f, RenormalizesAfterDrop = afterDrop, ExpertCapacity = capacity, GroupSize = capacity is null ? null : Group };
        using WorkerPool workers = new(2);
        using RouterProbe probe = new(workers, Tokens);
        probe.Batch.MarkPadding(2);
        Tensor logits = probe.Input(x);

        RoutingPlan plan = config.Over(new GivenLogits(logits), new GivenNoise(noise), 1.5f).Route(logits, probe.Context);

        (int[] Chosen, int[] Kept) expected = Reference(KernelCheck.Double(x), noise, policy, capacity ?? int.MaxValue, capacity is null ? -1 : 2, Group);
        Assert.Equal(expected.Kept, plan.ExpertIds.ToArray());
        double[] Weights(double[] values) => [.. Enumerable.Range(0, Tokens).SelectMany(token => Weigh(Numerical.Softmax(values[(token * Experts)..((token + 1) * Experts)]), expected.Chosen.AsSpan(2 * token, 2), expected.Kept.AsSpan(2 * token, 2), afterDrop))];
        KernelCheck.Close(Weights(KernelCheck.Double(x)), plan.RoutingWeights.Data.ToArray(), 1e-6, 1e-6, "weights");
        probe.Backward(plan.RoutingWeights, cotangent);
        double[] gradient = Numerical.Gradient(values => Weights(values).Zip(cotangent, (weight, slope) => weight * slope).Sum(), KernelCheck.Double(x));
        KernelCheck.Close(gradient, logits.Gradient.ToArray(), 2e-6, 1e-5, "logits");
    }

    [Fact]
    public void The_second_expert_is_used_as_often_as_its_share_over_the_threshold()
    {
        const int Tokens = 40_000;
        float[] logits = [.. Enumerable.Repeat((float[])[2f, 0f, -9f], Tokens).SelectMany(row => row)];

        int[] ids = Route(new GShardRouterConfig { SecondExpertPolicy = SecondExpertPolicy.Random, SecondExpertThreshold = 0.2f }, logits, Tokens);

        double probability = (1 / (1 + Math.Exp(2))) / 0.2; // 0.596
        double used = ids.Where((expert, slot) => slot % 2 == 1 && expert == 1).Count();
        Assert.InRange(used / Tokens, probability - 0.0123, probability + 0.0123); // five standard deviations
    }

    [Fact]
    public void A_sampled_second_expert_follows_the_softmax_of_the_rest()
    {
        const int Tokens = 40_000;
        float[] logits = [.. Enumerable.Repeat((float[])[3f, 1f, 0f, -1f], Tokens).SelectMany(row => row)];

        int[] ids = Route(new GShardRouterConfig { SecondExpertPolicy = SecondExpertPolicy.Sampling }, logits, Tokens);

        double[] rest = Numerical.Softmax([1, 0, -1]);
        for (int expert = 1; expert < 4; expert++)
        {
            double share = (double)ids.Where((id, slot) => slot % 2 == 1 && id == expert).Count() / Tokens;
            Assert.InRange(share, rest[expert - 1] - 0.0125, rest[expert - 1] + 0.0125); // five standard deviations
        }
    }

    [Theory]
    [InlineData(SecondExpertPolicy.Random)]
    [InlineData(SecondExpertPolicy.Sampling)]
    public void Without_gradients_nothing_is_random_and_no_expert_is_full(SecondExpertPolicy policy)
    {
        float[] x = KernelCheck.Random(30 * Experts, 12);
        using WorkerPool workers = new(1);
        using RouterProbe probe = new(workers, 30, isTraining: false);
        Tensor logits = probe.Input(x);

        RoutingPlan plan = new GShardRouterConfig { SecondExpertPolicy = policy, ExpertCapacity = 1 }.Over(new GivenLogits(logits), new GivenNoise([]), 1f).Route(logits, probe.Context);

        Assert.Equal(Enumerable.Range(0, 30).SelectMany(token => Best(x[(token * Experts)..((token + 1) * Experts)])), plan.ExpertIds.ToArray());
    }

    private static int[] Route(GShardRouterConfig config, float[] values, int tokens)
    {
        using WorkerPool workers = new(2);
        using RouterProbe probe = new(workers, tokens);
        probe.Context.NoiseSeed = 77;
        Tensor logits = probe.Input(values);
        return config.Over(new GivenLogits(logits), new SeededNoise("layers.3.moe"), 1f).Route(logits, probe.Context).ExpertIds.ToArray();
    }

    private static int[] Best(float[] row) => [.. Enumerable.Range(0, row.Length).OrderByDescending(expert => row[expert]).Take(2)];

    // Word for word: choices of every token, then places group by group, first choices before second ones.
    private static (int[] Chosen, int[] Kept) Reference(double[] logits, float[] noise, SecondExpertPolicy policy, int capacity, int paddedToken, int group)
    {
        int tokens = logits.Length / Experts;
        (int[] chosen, int[] kept) = (new int[2 * tokens], new int[2 * tokens]);
        for (int token = 0; token < tokens; token++)
        {
            double[] row = logits[(token * Experts)..((token + 1) * Experts)];
            int first = Array.IndexOf(row, row.Max());
            int second = Enumerable.Range(0, Experts).Where(expert => expert != first).MaxBy(expert => row[expert] + (policy == SecondExpertPolicy.Sampling ? noise[(token * Experts) + expert] : 0));
            double[] scores = Numerical.Softmax(row);
            double share = scores[second] / (scores[first] + scores[second]);
            bool isUsed = policy switch
            {
                SecondExpertPolicy.None => false,
                SecondExpertPolicy.Threshold => share > 0.3,
                SecondExpertPolicy.Random => noise[token] < share / 0.3,
                _ => true,
            };
            (chosen[2 * token], chosen[(2 * token) + 1], kept[2 * token], kept[(2 * token) + 1]) = (first, second, first, isUsed ? second : -1);
        }

        for (int begin = 0; begin < tokens && capacity < int.MaxValue; begin += group)
        {
            int[] free = [.. Enumerable.Repeat(capacity, Experts)];
            for (int choice = 0; choice < 2; choice++)
            {
                for (int token = begin; token < Math.Min(tokens, begin + group); token++)
                {
                    int slot = (2 * token) + choice;
                    if (kept[slot] >= 0 && (token == paddedToken || free[kept[slot]]-- <= 0))
                    {
                        kept[slot] = -1;
                    }
                }
            }
        }

        return (chosen, kept);
    }

    private static double[] Weigh(double[] scores, ReadOnlySpan<int> chosen, ReadOnlySpan<int> kept, bool afterDrop)
    {
        double sum = 1e-9;
        foreach (int expert in afterDrop ? kept : chosen)
        {
            sum += expert < 0 ? 0 : scores[expert];
        }

        return [kept[0] < 0 ? 0 : 1.5 * scores[kept[0]] / sum, kept[1] < 0 ? 0 : 1.5 * scores[kept[1]] / sum];
    }
}
