using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Model.Routers;
using MoeSharp.Moe.Routing;
using MoeSharp.Tensors;
using MoeSharp.Tests.Kernels;
using MoeSharp.Tests.Reference;
using MoeSharp.Verification.Routing;

namespace MoeSharp.Tests.Moe.Routing;

/// <summary>Routers whose choice has no gradient of its own: BASE, Sinkhorn, expert choice. Their weights have.</summary>
public sealed class AssignmentRouterTests
{
    private const int Tokens = 11;
    private const int Experts = 4;

    private readonly float[] _logits = KernelCheck.Random(Tokens * Experts, 31, 2f);

    private delegate IRouter Maker(IRouterProjection projection);

    public static TheoryData<string> Kinds => ["base", "sinkhorn, one", "sinkhorn, softmax", "sinkhorn, divided", "expert choice"];

    [Theory]
    [MemberData(nameof(Kinds))]
    public void Gradients_of_weights_equal_finite_differences(string kind)
    {
        using WorkerPool workers = new(2);
        using RouterProbe probe = new(workers, Tokens);
        probe.Batch.MarkPadding(4);
        Tensor logits = probe.Input(_logits);

        RoutingPlan plan = Make(kind)(new GivenLogits(logits)).Route(logits, probe.Context);

        (int[] ids, int topK) = (plan.ExpertIds.ToArray(), plan.TopK);
        float[] cotangent = KernelCheck.Random(Tokens * topK, 32);
        double[] Weights(double[] values) => [.. ids.Select((expert, slot) => expert < 0 ? 0 : Weight(kind, values.AsSpan(slot / topK * Experts, Experts), ids.AsSpan(slot / topK * topK, topK), expert))];
        KernelCheck.Close(Weights(KernelCheck.Double(_logits)), plan.RoutingWeights.Data.ToArray(), 1e-6, 1e-6, "weights");
        probe.Backward(plan.RoutingWeights, cotangent);
        double[] gradient = Numerical.Gradient(values => Weights(values).Zip(cotangent, (weight, slope) => weight * slope).Sum(), KernelCheck.Double(_logits));
        KernelCheck.Close(gradient, logits.Gradient.ToArray(), 2e-6, 1e-5, "logits");
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void Padding_between_tokens_changes_no_choice_no_weight_and_no_gradient(string kind)
    {
        int[] places = [0, 2, 3, 6, 7, 8, 9, 11, 13, 14, 15]; // of the tokens among 16 rows
        float[] wide = KernelCheck.Random(16 * Experts, 33, 9f); // padding looks more tempting than any token
        float[] cotangent = KernelCheck.Random(16 * Experts, 34);
        for (int token = 0; token < Tokens; token++)
        {
            _logits.AsSpan(token * Experts, Experts).CopyTo(wide.AsSpan(places[token] * Experts));
        }

        (int[] Ids, float[] Weights, float[] Gradient) Run(float[] values, int[] padding, Func<int, int> rowOf)
        {
            using WorkerPool workers = new(2);
            using RouterProbe probe = new(workers, values.Length / Experts);
            Array.ForEach(padding, probe.Batch.MarkPadding);
            Tensor logits = probe.Input(values);
            RoutingPlan plan = Make(kind)(new GivenLogits(logits)).Route(logits, probe.Context);
            (int topK, int[] ids, float[] weights) = (plan.TopK, plan.ExpertIds.ToArray(), plan.RoutingWeights.Data.ToArray());
            float[] slopes = new float[weights.Length];
            for (int token = 0; token < Tokens; token++)
            {
                cotangent.AsSpan(token * topK, topK).CopyTo(slopes.AsSpan(rowOf(token) * topK));
            }

            probe.Backward(plan.RoutingWeights, slopes);
            T[] Real<T>(T[] all, int width) => [.. Enumerable.Range(0, Tokens).SelectMany(token => all[(rowOf(token) * width)..((rowOf(token) + 1) * width)])];
            return (Real(ids, topK), Real(weights, topK), Real(logits.Gradient.ToArray(), Experts));
        }

        (int[] Ids, float[] Weights, float[] Gradient) alone = Run(_logits, [], token => token);
        (int[] Ids, float[] Weights, float[] Gradient) padded = Run(wide, [.. Enumerable.Range(0, 16).Except(places)], token => places[token]);
        Assert.Equal(alone.Ids, padded.Ids);
        KernelCheck.SameBits(alone.Weights, padded.Weights, "weights");
        KernelCheck.SameBits(alone.Gradient, padded.Gradient, "gradient");
    }

    [Theory]
    [InlineData("sinkhorn, divided", 1.5f)] // weights that were divided by their sum: one alone is the sum
    [InlineData("sinkhorn, softmax", null)]
    public void One_expert_in_place_of_two_weighs_what_it_would_have_as_the_only_one(string kind, float? weight)
    {
        using WorkerPool workers = new(1);
        using RouterProbe probe = new(workers, Tokens, isTraining: false);
        Tensor logits = probe.Input(_logits);
        IRouter router = Make(kind)(new GivenLogits(logits));

        RoutingPlan plan = ExpertLimits.Apply(router, router.Route(logits, probe.Context), 0, new RoutingIntervention { TopK = 1 }, probe.Context);

        double[][] rows = KernelCheck.Double(_logits).Chunk(Experts).ToArray();
        Assert.Equal(rows.Select(row => Array.IndexOf(row, row.Max())), plan.ExpertIds.ToArray());
        KernelCheck.Close([.. rows.Select(row => weight ?? (1.5 * Numerical.Softmax(row).Max()))], plan.RoutingWeights.Data.ToArray(), 1e-6, 1e-6, "weights");
    }

    [Theory]
    [InlineData("base")]
    [InlineData("sinkhorn, one")]
    public void Passes_without_gradients_choose_each_token_by_itself(string kind)
    {
        using WorkerPool workers = new(1);
        int[] Route(float[] values, bool isTraining)
        {
            using RouterProbe probe = new(workers, values.Length / Experts, isTraining);
            Tensor logits = probe.Input(values);
            return Make(kind)(new GivenLogits(logits)).Route(logits, probe.Context).ExpertIds.ToArray();
        }

        float[] crowded = [.. _logits.Select((value, index) => index % Experts == 2 ? value + 3 : value)]; // nearly all want expert 2
        int[] alone = Route(crowded, false);
        Assert.Equal(alone[..1], Route(crowded[..Experts], false));
        Assert.Equal(Enumerable.Range(0, Tokens).Select(token => Array.IndexOf(crowded[(token * Experts)..((token + 1) * Experts)], crowded[(token * Experts)..((token + 1) * Experts)].Max())), alone);
        Assert.True(alone.Count(expert => expert == 2) > 8);
        Assert.InRange(Route(crowded, true).Count(expert => expert == 2), 1, 6);
    }

    [Theory]
    [InlineData(10, 4, 2.0, false, 1, 5)]
    [InlineData(11, 4, 1.0, false, 1, 2)]
    [InlineData(11, 4, 1.0, true, 1, 3)]
    [InlineData(3, 8, 1.0, false, 1, 1)] // at least one
    [InlineData(3, 8, 1.0, false, 0, 0)]
    [InlineData(2, 2, 2.0, false, 9, 2)] // no more than there are
    [InlineData(10, 11, 1.1, true, 0, 1)] // 1.1 * 10 / 11 is one, not a little more
    public void An_expert_takes_its_share_of_the_tokens(int tokens, int experts, double factor, bool roundsUp, int least, int expected) =>
        Assert.Equal(expected, new ExpertChoiceRule(factor, roundsUp, least, false).Capacity(tokens, experts));

    [Fact]
    public void Experts_take_the_best_tokens_of_each_sequence_and_never_padding()
    {
        using WorkerPool workers = new(1);
        using RouterProbe probe = new(workers, Tokens);
        probe.Batch.SetSequences([5, 6]);
        probe.Batch.MarkPadding(4);
        Tensor logits = probe.Input(_logits);

        RoutingPlan plan = new ExpertChoiceRouter(new GivenLogits(logits), new ExpertChoiceRule(2, false, 1, true), 1f).Route(logits, probe.Context);

        double[] scores = [.. Enumerable.Range(0, Tokens).SelectMany(token => Numerical.Softmax(KernelCheck.Double(_logits[(token * Experts)..((token + 1) * Experts)])))];
        for (int expert = 0; expert < Experts; expert++)
        {
            int[] best = [.. Enumerable.Range(0, 4).OrderByDescending(token => scores[(token * Experts) + expert]).Take(2), .. Enumerable.Range(5, 6).OrderByDescending(token => scores[(token * Experts) + expert]).Take(3)];
            Assert.Equal(best.Order(), Enumerable.Range(0, Tokens).Where(token => plan.ExpertIds[(token * Experts) + expert] == expert));
        }
    }

    [Fact]
    public void A_new_BASE_router_has_orthogonal_rows_of_length_a_tenth()
    {
        using WorkerPool workers = new(1);
        foreach (int experts in (int[])[6, 40]) // fewer and more than the width
        {
            MoeConfig moe = new() { NumExperts = experts, TopK = 1, IntermediateSize = 8, Router = new AssignmentRouterConfig() };
            using LanguageModel model = new(ModelPresets.Get("nano") with { HiddenSize = 32, NumAttentionHeads = 2, NumKeyValueHeads = 2, HeadDim = 16, VocabSize = 64, Moe = moe });
            WeightInit.Initialize(model, 1, WeightInitScheme.FanIn, workers);
            float[] weight = model.Parameters.First(parameter => parameter.Name.EndsWith("moe.router", StringComparison.Ordinal)).Value.ToArray();
            int count = Math.Min(experts, 32);
            double[][] vectors = [.. Enumerable.Range(0, count).Select(index => experts <= 32 ? KernelCheck.Double(weight[(index * 32)..((index + 1) * 32)]) : [.. Enumerable.Range(0, experts).Select(row => (double)weight[(row * 32) + index])])];
            for (int i = 0; i < count; i++)
            {
                for (int j = 0; j <= i; j++)
                {
                    Assert.Equal(i == j ? 0.01 : 0, vectors[i].Zip(vectors[j], (a, b) => a * b).Sum(), 1e-8);
                }
            }
        }
    }

    private static Maker Make(string kind) => kind switch
    {
        "base" => projection => new AssignmentRouter(projection, 1.5f),
        "expert choice" => projection => new ExpertChoiceRouter(projection, new ExpertChoiceRule(1.5, false, 1, false), 1.5f),
        _ => projection => new SinkhornRouterConfig { IsSigmoid = kind == "sinkhorn, one" }.Over(
            projection, new MoeConfig { NumExperts = Experts, TopK = kind == "sinkhorn, one" ? 1 : 2, IntermediateSize = 1, NormTopKProb = kind == "sinkhorn, divided" }, 1.5f),
    };

    private static double Weight(string kind, ReadOnlySpan<double> logits, ReadOnlySpan<int> chosen, int expert)
    {
        if (kind is "base" or "sinkhorn, one")
        {
            return 1.5 / (1 + Math.Exp(-logits[expert]));
        }

        double[] probs = Numerical.Softmax(logits.ToArray());
        double sum = 0;
        foreach (int other in chosen)
        {
            sum += other < 0 ? 0 : probs[other];
        }

        return 1.5 * probs[expert] / (kind == "sinkhorn, divided" ? sum : 1);
    }
}
