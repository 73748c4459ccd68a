using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Tensors;
using MoeSharp.Tests.Kernels;
using MoeSharp.Tests.Reference;

namespace MoeSharp.Tests.Moe;

/// <summary>Every kind of mixture that a published model has, against double precision; gradients against finite differences.</summary>
public sealed class MoeAssemblyTests
{
    private const int Hidden = 6;
    private const int Tokens = 7;

    private static readonly MoeConfig s_plain = new() { NumExperts = 8, TopK = 3, IntermediateSize = 5 };

    public static TheoryData<string> Kinds => [.. Configs.Keys];

    internal static readonly Dictionary<string, MoeConfig> Configs = new()
    {
        ["deepseek: softmax, shared"] = s_plain with { NumSharedExperts = 2 },
        ["mixtral: renormalised"] = s_plain with { TopK = 2, NormTopKProb = true },
        ["v2 scaled groups"] = s_plain with { NumGroups = 4, TopKGroups = 2, RoutedScalingFactor = 16f, ScalesNormalizedWeights = false },
        ["v2 normalised without scale"] = s_plain with { NumGroups = 4, TopKGroups = 2, RoutedScalingFactor = 16f, ScalesNormalizedWeights = false, NormTopKProb = true },
        ["v3: sigmoid, bias, groups"] = s_plain with
        {
            Scoring = RouterScoring.Sigmoid,
            HasSelectionBias = true,
            NumGroups = 4,
            TopKGroups = 2,
            GroupScoring = GroupScoring.TopTwoSum,
            NormTopKProb = true,
            RoutedScalingFactor = 2.5f,
            NumSharedExperts = 1,
        },
        ["qwen: gated shared of its own width"] = s_plain with { NumSharedExperts = 1, SharedIntermediateSize = 11, HasSharedExpertGate = true },
        ["dbrx: 2-norm"] = s_plain with { NormTopKProb = true, NormOrder = 2f },
        ["grok: gelu, not renormalised"] = s_plain with { TopK = 2, Activation = ExpertActivation.GeGlu },
        ["llama-moe: network, softmax over chosen, scaled"] = s_plain with { HasRouterNetwork = true, Scoring = RouterScoring.SoftmaxOverChosen, RoutedScalingFactor = 4f },
        ["gpt-oss: biases, clamp"] = s_plain with
        {
            HasRouterBias = true,
            HasExpertBias = true,
            Scoring = RouterScoring.SoftmaxOverChosen,
            Activation = ExpertActivation.ClampedSwiGlu,
            ActivationLimit = 0.7f,
        },
    };

    [Theory]
    [MemberData(nameof(Kinds))]
    public void Outputs_and_gradients_are_those_of_the_formulas(string kind)
    {
        MoeConfig moe = Configs[kind];
        using MoeBench bench = new(moe, Hidden);
        bench.Fill(3, 0.5f);
        float[] x = KernelCheck.Random(Tokens * Hidden, 5);
        float[] cotangent = KernelCheck.Random(Tokens * Hidden, 6);
        (float[] output, float[] inputGradient) = bench.Differentiate(x, cotangent, new BalanceConfig());
        Assert.Equal(output, bench.Forward(x));

        Dictionary<string, double[]> weights = bench.Parameters.ToDictionary(parameter => parameter.Name, parameter => KernelCheck.Double(parameter.Value.ToArray()));
        ReferenceMoe reference = new(moe, Hidden, weights);
        double[] exactX = KernelCheck.Double(x);
        KernelCheck.Close(reference.Forward(exactX), output, 2e-5, 1e-5, "output");
        Assert.Equal(exactX.Chunk(Hidden).SelectMany(reference.Route).Select(slot => slot.Expert), bench.Routing.ExpertIds);

        double[] dy = KernelCheck.Double(cotangent);
        KernelCheck.Close(RowReference.Gradient(reference.Forward, exactX, dy), inputGradient, 1e-4, 1e-4, "x");
        foreach (Parameter parameter in bench.Parameters.Where(parameter => parameter.Name != "moe.selection_bias"))
        {
            double[] gradient = RowReference.Gradient(
                value => new ReferenceMoe(moe, Hidden, new Dictionary<string, double[]>(weights) { [parameter.Name] = value }).Forward(exactX), weights[parameter.Name], dy);
            KernelCheck.Close(gradient, parameter.Gradient.ToArray(), 1e-4, 1e-4, parameter.Name);
        }
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void A_token_has_the_same_bits_alone_and_among_others(string kind)
    {
        using MoeBench bench = new(Configs[kind], Hidden);
        bench.Fill(8, 0.5f);
        float[] x = KernelCheck.Random(Tokens * Hidden, 9);
        float[] all = bench.Forward(x);
        for (int token = 0; token < Tokens; token += 3)
        {
            Range row = (token * Hidden)..((token + 1) * Hidden);
            KernelCheck.SameBits(all[row], bench.Forward(x[row]), $"token {token}");
        }
    }

    [Fact]
    public void The_selection_bias_chooses_but_neither_weighs_nor_learns()
    {
        MoeConfig moe = s_plain with { TopK = 1, Scoring = RouterScoring.Sigmoid, HasSelectionBias = true };
        float[] logits = [2f, 1f, 0f, 0f, 0f, 0f, 0f, 0f];
        float[] bias = [-9f, 0f, 0f, 0f, 0f, 0f, 0f, 0f];
        (RoutedTokens routed, _) = MoeBench.Route(moe, logits, [1f], bias);
        Assert.Equal([1], routed.ExpertIds);
        Assert.Equal(1 / (1 + Math.Exp(-1)), routed.RoutingWeights[0], 1e-6);

        using MoeBench bench = new(moe, Hidden);
        bench.Differentiate(KernelCheck.Random(Hidden, 1), KernelCheck.Random(Hidden, 2), new BalanceConfig());
        Assert.True(bench.Parameter("moe.selection_bias").GradientIsEmpty);
    }

    [Fact]
    public void Equal_groups_and_equal_experts_go_to_the_lowest_index()
    {
        MoeConfig moe = s_plain with { NumGroups = 4, TopKGroups = 2, GroupScoring = GroupScoring.TopTwoSum, TopK = 3 };
        (RoutedTokens routed, _) = MoeBench.Route(moe, new float[8], [1f, 1f, 1f], null);
        Assert.Equal([0, 1, 2], routed.ExpertIds);
    }

    [Fact]
    public void Experts_of_dropped_groups_are_not_chosen_even_when_all_kept_scores_are_negative()
    {
        MoeConfig moe = s_plain with { Scoring = RouterScoring.Sigmoid, HasSelectionBias = true, NumGroups = 4, TopKGroups = 1, TopK = 2 };
        float[] bias = [-5f, -5f, -6f, -6f, -6f, -6f, -6f, -6f];
        (RoutedTokens routed, _) = MoeBench.Route(moe, new float[8], [1f, 1f], bias);
        Assert.Equal([0, 1], routed.ExpertIds);
    }

    [Fact]
    public void A_layer_may_have_a_scale_of_its_own()
    {
        MoeConfig moe = s_plain with { Scoring = RouterScoring.SoftmaxOverChosen, LayerScalingFactors = [4f] };
        (RoutedTokens routed, _) = MoeBench.Route(moe, KernelCheck.Random(8, 3), [1f, 1f, 1f], null);
        Assert.Equal(4f, routed.RoutingWeights.Sum(), 1e-5f);
    }

    [Fact]
    public void A_z_loss_without_a_softmax_is_refused()
    {
        using MoeBench bench = new(s_plain with { Scoring = RouterScoring.Sigmoid }, Hidden);
        float[] x = KernelCheck.Random(Hidden, 1);
        Assert.Contains("z-loss", Assert.Throws<ConfigurationException>(() => bench.Differentiate(x, x, new BalanceConfig { ZLossAlpha = 0.1f })).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(GatedFunction.GeGlu, 1, 1, true)] // one value
    [InlineData(GatedFunction.GeGlu, 4, 7, false)] // less than a vector
    [InlineData(GatedFunction.ClampedSwiGlu, 5, 83, true)] // vectors and a tail
    [InlineData(GatedFunction.ClampedSwiGlu, 300, 352, false)] // several chunks
    public void Gated_activations_are_the_same_for_any_number_of_workers(GatedFunction function, int rows, int width, bool hasWeights)
    {
        float[] gateUp = KernelCheck.Random(2 * rows * width, 1, 9f);
        float[] weights = hasWeights ? KernelCheck.Random(rows, 2) : [];
        KernelCheck.SameForAnyWorkers(workers =>
        {
            float[] y = new float[rows * width];
            float[] gradient = [.. gateUp];
            float[] dWeights = new float[weights.Length];
            GatedUnit.Forward(workers, new GatedActivation(function, 7f), rows, width, gateUp, weights, y);
            float[] recomputed = [.. Enumerable.Repeat(1f, y.Length)];
            GatedUnit.Backward(workers, new GatedActivation(function, 7f), rows, width, gradient, weights, recomputed, dWeights);
            KernelCheck.Close(KernelCheck.Double(y), recomputed, 1e-6, 1e-5, "recomputed y");
            return [.. y, .. gradient, .. dWeights];
        });
    }
}
