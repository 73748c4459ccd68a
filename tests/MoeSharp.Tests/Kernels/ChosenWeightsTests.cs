using MoeSharp.Kernels;

namespace MoeSharp.Tests.Kernels;

public sealed class ChosenWeightsTests
{
    [Theory]
    [InlineData(1, 4, 1, false)]
    [InlineData(9, 16, 2, true)]
    [InlineData(1300, 63, 7, true)] // several chunks
    [InlineData(1300, 63, 7, false)]
    public void Weights_and_their_gradient_agree_with_float64(int tokens, int experts, int topK, bool divides)
    {
        float[] scores = [.. KernelCheck.Random(tokens * experts, 1).Select(value => 0.05f + Math.Abs(value))];
        float[] dWeights = KernelCheck.Random(tokens * topK, 2);
        float[] before = KernelCheck.Random(tokens * experts, 3);
        int[] ids = Choices(tokens, experts, topK);
        ChosenWeightRule rule = new(divides, 1e-3f, 2.5f);

        float[] weights = KernelCheck.SameForAnyWorkers(workers =>
        {
            float[] y = new float[tokens * topK];
            ChosenWeights.Forward(workers, tokens, experts, topK, scores, ids, rule, y);
            return y;
        });
        KernelCheck.Close(Weights(KernelCheck.Double(scores), experts, ids, topK, rule), weights, 1e-6, 1e-6, "weights");

        float[] dScores = KernelCheck.SameForAnyWorkers(workers =>
        {
            float[] ds = [.. before];
            ChosenWeights.Backward(workers, tokens, experts, topK, scores, ids, rule, dWeights, ds);
            return ds;
        });
        KernelCheck.Close(Slopes(KernelCheck.Double(scores), experts, ids, topK, rule, dWeights, before), dScores, 2e-4, 2e-5, "dScores");
    }

    [Fact]
    public void An_expert_that_is_none_is_refused()
    {
        using WorkerPool workers = new(1);
        Assert.Throws<ShapeException>(() => ChosenWeights.Forward(workers, 1, 4, 1, new float[4], [4], new ChosenWeightRule(false, 0f, 1f), new float[1]));
    }

    // Different experts for the slots of a token, some of them none.
    private static int[] Choices(int tokens, int experts, int topK)
    {
        Random random = new(4);
        int[] ids = new int[tokens * topK];
        for (int token = 0; token < tokens; token++)
        {
            int[] order = [.. Enumerable.Range(0, experts).OrderBy(_ => random.Next())];
            for (int slot = 0; slot < topK; slot++)
            {
                ids[(token * topK) + slot] = random.Next(8) == 0 ? -1 : order[slot];
            }
        }

        return ids;
    }

    private static double[] Weights(double[] scores, int experts, int[] ids, int topK, ChosenWeightRule rule)
    {
        double[] weights = new double[ids.Length];
        for (int begin = 0; begin < ids.Length; begin += topK)
        {
            double[] row = [.. ids[begin..(begin + topK)].Select(id => id < 0 ? 0 : scores[(begin / topK * experts) + id])];
            double divisor = rule.Divides ? row.Sum() + rule.Epsilon : 1;
            for (int slot = 0; slot < topK; slot++)
            {
                weights[begin + slot] = rule.Scale * row[slot] / divisor;
            }
        }

        return weights;
    }

    // By central differences of the reference, added to what was there.
    private static double[] Slopes(double[] scores, int experts, int[] ids, int topK, ChosenWeightRule rule, float[] dWeights, float[] before)
    {
        const double Step = 1e-5;
        double[] slopes = KernelCheck.Double(before);
        for (int slot = 0; slot < ids.Length; slot++)
        {
            int token = slot / topK;
            if (ids[slot] < 0)
            {
                continue;
            }

            double[] row = scores[(token * experts)..((token + 1) * experts)];
            int[] chosen = ids[(token * topK)..((token + 1) * topK)];
            double Loss(double change)
            {
                double[] moved = [.. row];
                moved[ids[slot]] += change;
                return Weights(moved, experts, chosen, topK, rule).Select((weight, i) => weight * dWeights[(token * topK) + i]).Sum();
            }

            slopes[(token * experts) + ids[slot]] += (Loss(Step) - Loss(-Step)) / (2 * Step);
        }

        return slopes;
    }
}
