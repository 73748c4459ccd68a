using MoeSharp.Execution;
using MoeSharp.Model;
using MoeSharp.Tests.Kernels;
using MoeSharp.Tests.Reference;

namespace MoeSharp.Tests.Moe;

/// <summary>Changed choices of every router that chooses by scores, against double precision.</summary>
public sealed class RoutingInterventionTests
{
    private const int Hidden = 6;
    private const int Tokens = 9;

    private static readonly Dictionary<string, RoutingIntervention> s_interventions = new()
    {
        ["the two best masked"] = new() { MaskedBest = 2 },
        ["fewer experts"] = new() { TopK = 1 },
        ["more experts"] = new() { TopK = 4 },
        ["shared off, one more routed"] = new() { TopK = 4, WithoutSharedExperts = true },
        ["two switched off, the best of the others masked"] = new() { MaskedBest = 1, SwitchedOff = [new(0, 2), new(0, 5), new(1, 0)] },
    };

    public static TheoryData<string, string> Cases
    {
        get
        {
            TheoryData<string, string> cases = [];
            foreach (string kind in MoeAssemblyTests.Configs.Keys)
            {
                foreach (string intervention in s_interventions.Keys)
                {
                    cases.Add(kind, intervention);
                }
            }

            return cases;
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Outputs_are_those_of_the_formulas_with_the_changed_choice(string kind, string intervention)
    {
        MoeConfig moe = MoeAssemblyTests.Configs[kind];
        using MoeBench bench = new(moe, Hidden);
        bench.Fill(3, 0.5f);
        float[] x = KernelCheck.Random(Tokens * Hidden, 5);
        float[] untouched = bench.Forward(x);
        bench.Context.Intervention = s_interventions[intervention];
        float[] actual = bench.Forward(x);
        bench.Context.Intervention = null;
        Dictionary<string, double[]> weights = bench.Parameters.ToDictionary(parameter => parameter.Name, parameter => Array.ConvertAll(parameter.Value.ToArray(), value => (double)value));
        double[] expected = new ReferenceMoe(moe, Hidden, weights) { Intervention = s_interventions[intervention] }.Forward(Array.ConvertAll(x, value => (double)value));
        for (int i = 0; i < actual.Length; i++)
        {
            Assert.True(Math.Abs(actual[i] - expected[i]) <= 2e-5 * (1 + Math.Abs(expected[i])), $"element {i}: {actual[i]}, expected {expected[i]}");
        }

        Assert.NotEqual(untouched, actual);
        Assert.Equal(untouched, bench.Forward(x)); // nothing stays behind
    }

    [Fact]
    public void A_switched_off_expert_takes_no_token_and_no_weight_reaches_it()
    {
        using MoeBench bench = new(MoeAssemblyTests.Configs["v3: sigmoid, bias, groups"], Hidden);
        bench.Fill(4, 0.5f);
        bench.Context.Intervention = new RoutingIntervention { SwitchedOff = [new ExpertPlace(0, 1)] };
        bench.Forward(KernelCheck.Random(40 * Hidden, 6));
        Assert.Equal(0, bench.Routing.TokensPerExpert[1]);
        Assert.Equal(40 * 3, bench.Routing.TokensPerExpert.Sum());
    }

    [Fact]
    public void Slots_without_a_permitted_expert_in_the_kept_groups_are_not_dispatched()
    {
        // 8 experts in 4 groups, 2 groups kept: with experts 0 to 2 and 4 to 6 off, every group but the last has at most one left.
        MoeConfig moe = MoeAssemblyTests.Configs["v2 scaled groups"];
        using MoeBench bench = new(moe with { TopK = 3 }, Hidden);
        bench.Fill(5, 0.5f);
        ExpertPlace[] off = [new(0, 0), new(0, 2), new(0, 4), new(0, 6)];
        bench.Context.Intervention = new RoutingIntervention { SwitchedOff = off };
        bench.Forward(KernelCheck.Random(Tokens * Hidden, 7));
        Assert.Equal(2 * Tokens, bench.Routing.TokensPerExpert.Sum()); // two groups of one expert each
        Assert.Equal(Tokens, bench.Routing.ExpertIds.Count(expert => expert < 0));
        Assert.All(bench.Routing.ExpertIds.Zip(bench.Routing.RoutingWeights), slot => Assert.Equal(slot.First < 0, slot.Second == 0f));
    }

    [Fact]
    public void The_observer_sees_the_plan_and_both_outputs()
    {
        using MoeBench bench = new(MoeAssemblyTests.Configs["deepseek: softmax, shared"], Hidden);
        bench.Fill(3, 0.5f);
        float[] sum = [];
        int[] ids = [];
        double[] probabilitySums = [];
        bench.Context.MoeObserver = (in MoeView view) =>
        {
            ids = view.ExpertIds.ToArray();
            probabilitySums = [.. view.Probs.ToArray().Chunk(view.NumExperts).Select(row => row.Sum(p => (double)p))];
            sum = new float[view.Routed.Length];
            for (int i = 0; i < sum.Length; i++)
            {
                sum[i] = view.Routed[i] + view.Shared[i];
            }
        };
        float[] output = bench.Forward(KernelCheck.Random(Tokens * Hidden, 8));
        Assert.Equal(output, sum);
        Assert.Equal(bench.Routing.ExpertIds, ids);
        Assert.All(probabilitySums, total => Assert.Equal(1, total, 1e-6));
    }

    [Theory]
    [InlineData(6, 3)]
    [InlineData(0, 9)]
    [InlineData(0, 0)]
    [InlineData(-1, 2)]
    public void Too_few_experts_left_is_refused(int maskedBest, int topK)
    {
        using MoeBench bench = new(MoeAssemblyTests.Configs["deepseek: softmax, shared"], Hidden);
        bench.Context.Intervention = new RoutingIntervention { MaskedBest = maskedBest, TopK = topK };
        InterventionException error = Assert.Throws<InterventionException>(() => bench.Forward(KernelCheck.Random(Hidden, 1)));
        Assert.Contains("8 experts", error.Message);
    }

    [Fact]
    public void Training_takes_no_intervention()
    {
        using MoeBench bench = new(MoeAssemblyTests.Configs["deepseek: softmax, shared"], Hidden);
        bench.Context.Intervention = new RoutingIntervention { TopK = 1 };
        Assert.Throws<InvalidOperationException>(() => bench.Differentiate(new float[Hidden], new float[Hidden], new BalanceConfig()));
    }
}
