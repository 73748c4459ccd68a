using MoeSharp.Moe.Routing.Assignment;
using MoeSharp.Tests.Kernels;

namespace MoeSharp.Tests.Moe.Routing.Assignment;

public sealed class SinkhornScalingTests
{
    private const int Tokens = 60;
    private const int Experts = 6;

    private static readonly SinkhornRule s_exact = new(0.5, 2000, 1e-12, 0, true);

    [Theory]
    [InlineData(0)]
    [InlineData(7)] // padding
    public void Every_token_sends_and_every_expert_receives_its_share(int numPadding)
    {
        float[] logits = KernelCheck.Random(Tokens * Experts, 3, 4f);
        bool[] isPadding = [.. Enumerable.Range(0, Tokens).Select(row => row % 8 == 1 && row / 8 < numPadding)];
        float[] plan = new float[logits.Length];

        new SinkhornScaling().Balance(logits, Experts, isPadding, s_exact, plan);

        for (int row = 0; row < Tokens; row++)
        {
            Assert.Equal(isPadding[row] ? 0 : 1.0 / (Tokens - numPadding), plan.AsSpan(row * Experts, Experts).ToArray().Sum(value => (double)value), 1e-8);
        }

        for (int expert = 0; expert < Experts; expert++)
        {
            Assert.Equal(1.0 / Experts, Enumerable.Range(0, Tokens).Sum(row => (double)plan[(row * Experts) + expert]), 1e-7);
        }

        // What a plan is beside its sums: the kernel times a factor per row and one per column, so cross ratios are the kernel's.
        double Log(int row, int expert) => Math.Log(plan[(row * Experts) + expert]) - (logits[(row * Experts) + expert] / 0.5);
        foreach (int row in Enumerable.Range(0, Tokens).Where(row => !isPadding[row]))
        {
            Assert.All(Enumerable.Range(1, Experts - 1), expert => Assert.Equal(Log(0, expert) - Log(0, 0), Log(row, expert) - Log(row, 0), 1e-4));
        }
    }

    [Fact]
    public void A_row_shift_changes_nothing()
    {
        float[] logits = KernelCheck.Random(Tokens * Experts, 4);
        float[] shifted = [.. logits.Select((value, index) => value + (index / Experts % 2 == 0 ? 64f : 0f))];
        (float[] plan, float[] same) = (new float[logits.Length], new float[logits.Length]);
        SinkhornScaling scaling = new();

        int rounds = scaling.Balance(logits, Experts, [], s_exact, plan);

        Assert.Equal(rounds, scaling.Balance(shifted, Experts, [], s_exact, same));
        KernelCheck.Close(KernelCheck.Double(plan), same, 1e-7, 1e-5, "plan"); // 64 costs six bits of the logits
    }

    [Theory]
    [InlineData(900f, 1)]
    [InlineData(2f, 0.01)] // a low temperature: e^-200 is 0 in float32
    [InlineData(2f, 1e-300)]
    public void An_expert_that_all_prefer_by_far_gets_its_share_alone(float lead, double temperature)
    {
        float[] logits = [.. KernelCheck.Random(Tokens * Experts, 6, 0.01f).Select((value, index) => value + (index % Experts == 2 ? lead : 0f))];
        float[] plan = new float[logits.Length];

        new SinkhornScaling().Balance(logits, Experts, [], s_exact with { Temperature = temperature }, plan);

        for (int expert = 0; expert < Experts; expert++)
        {
            Assert.Equal(1.0 / Experts, Enumerable.Range(0, Tokens).Sum(row => (double)plan[(row * Experts) + expert]), 1e-6);
        }
    }

    [Fact]
    public void Without_the_row_maximum_experts_may_receive_nothing_but_all_stays_a_number()
    {
        float[] logits = [0f, -900f, -900f, 0f, -900f, -900f, 0f, -900f, -900f]; // e^-900 is 0
        float[] plan = new float[9];

        int rounds = new SinkhornScaling().Balance(logits, 3, [], s_exact with { SubtractsRowMax = false, Temperature = 1 }, plan);

        Assert.InRange(rounds, 1, 2000);
        Assert.All(plan, value => Assert.True(float.IsFinite(value)));
        Assert.Equal(0, new SinkhornScaling().Balance(logits, 3, [true, true, true], s_exact, plan));
        Assert.All(plan, value => Assert.Equal(0f, value));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(9)]
    public void A_value_by_rank_is_that_of_the_sorted_list(int seed)
    {
        float[] values = [.. KernelCheck.Random(200, seed, 1e3f), .. KernelCheck.Random(50, seed + 1, 1e-30f), 0f, 0f, 1f, 1f, -1f, float.MaxValue, float.NegativeInfinity];
        float[] sorted = [.. values.OrderDescending()];
        for (int rank = 1; rank <= values.Length; rank++)
        {
            Assert.Equal(sorted[rank - 1], RankSelection.Largest([.. values], rank));
        }

        Assert.Throws<ArgumentOutOfRangeException>(() => RankSelection.Largest(values, 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => RankSelection.Largest(values, values.Length + 1));
    }
}
