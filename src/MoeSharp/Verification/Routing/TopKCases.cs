using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Model.Routers;
using MoeSharp.Moe.Routing;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Verification.Routing;

/// <summary>Cases of the router that keeps the k best scores.</summary>
internal static class TopKCases
{
    /// <summary>Scores, choice, weights and gradients.</summary>
    public static void CheckTopK(RoutingCase fixture, WorkerPool workers)
    {
        using RouterProbe probe = new(workers, fixture.Sizes("logits")[0]);
        Tensor logits = probe.Input(fixture.Floats("logits"));
        RoutingPlan plan = Route(fixture, probe, logits, null);
        float[] scores = fixture.Text("score_order") == "top_k_then_softmax" ? plan.Scores!.Value.Probs.Data.ToArray() : plan.Scores!.Value.Scores.Data.ToArray();
        fixture.Compare("scores", scores);
        ComparePlan(fixture, probe, logits, plan);
    }

    /// <summary>The same within groups.</summary>
    public static void CheckGroups(RoutingCase fixture, WorkerPool workers)
    {
        using RouterProbe probe = new(workers, fixture.Sizes("logits")[0]);
        Tensor logits = probe.Input(fixture.Floats("logits"));
        using Parameter? bias = fixture.HasInput("e_score_correction_bias") ? new Parameter("selection_bias", new Shape(logits.Columns)) : null;
        if (bias is not null)
        {
            fixture.Floats("e_score_correction_bias").CopyTo(bias.Value);
        }

        RoutingPlan plan = Route(fixture, probe, logits, bias);
        MoeConfig moe = ConfigOf(fixture);
        ExpertChoice choice = new(moe.TopK, moe.NumGroups, moe.TopKGroups, moe.GroupScoring == GroupScoring.TopTwoSum ? 2 : 1);
        int[] groupIds = new int[logits.Rows * moe.TopKGroups];
        fixture.Compare("group_scores", Op.ChooseGroups(plan.Scores!.Value.Scores, bias, choice, groupIds, probe.Context).Data); // a router by scores has them
        fixture.Compare("group_ids", groupIds);
        ComparePlan(fixture, probe, logits, plan);
    }

    private static RoutingPlan Route(RoutingCase fixture, RouterProbe probe, Tensor logits, Parameter? bias)
    {
        MoeConfig moe = ConfigOf(fixture);
        return TopKRouterConfig.Over(new GivenLogits(logits), bias, moe, moe.RoutedScalingFactor).Route(logits, probe.Context);
    }

    /// <summary>The experts' settings that a case gives.</summary>
    public static MoeConfig ConfigOf(RoutingCase fixture)
    {
        bool isGrouped = fixture.HasSetting("n_group");
        bool isSigmoid = fixture.HasSetting("scoring_func") && fixture.Text("scoring_func") == "sigmoid";
        bool choosesFirst = fixture.HasSetting("score_order") && fixture.Text("score_order") == "top_k_then_softmax";
        string method = fixture.HasSetting("topk_method") ? fixture.Text("topk_method") : "greedy";
        return new MoeConfig
        {
            NumExperts = fixture.Int("num_experts"),
            TopK = fixture.Int("num_experts_per_tok"),
            IntermediateSize = fixture.OptionalInt("moe_intermediate_size") ?? 1,
            NormTopKProb = fixture.HasSetting("norm_topk_prob") && fixture.Flag("norm_topk_prob"),
            Scoring = choosesFirst ? RouterScoring.SoftmaxOverChosen : isSigmoid ? RouterScoring.Sigmoid : RouterScoring.Softmax,
            RoutedScalingFactor = (float)(fixture.OptionalNumber("routed_scaling_factor") ?? 1),
            HasSelectionBias = fixture.HasInput("e_score_correction_bias"),
            NumGroups = isGrouped && method != "greedy" ? fixture.Int("n_group") : 1,
            TopKGroups = isGrouped && method != "greedy" ? fixture.Int("topk_group") : 1,
            GroupScoring = method == "noaux_tc" ? GroupScoring.TopTwoSum : GroupScoring.Max,
        };
    }

    private static void ComparePlan(RoutingCase fixture, RouterProbe probe, Tensor logits, in RoutingPlan plan)
    {
        fixture.Compare("expert_ids", plan.ExpertIds);
        fixture.Compare("routing_weights", plan.RoutingWeights.Data);
        probe.Backward(plan.RoutingWeights, fixture.Floats("cotangent"));
        fixture.Compare("grad_logits", logits.Gradient);
    }
}
