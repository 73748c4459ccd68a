using MoeSharp.Moe.Routing.Assignment;
using MoeSharp.Tests.Kernels;

namespace MoeSharp.Tests.Moe.Routing.Assignment;

public sealed class BalancedAuctionTests
{
    [Theory]
    [InlineData(6, 2)]
    [InlineData(6, 3)]
    [InlineData(7, 3)] // one expert has three
    [InlineData(8, 3)]
    [InlineData(5, 4)]
    [InlineData(3, 5)] // fewer tokens than experts
    [InlineData(1, 3)]
    [InlineData(4, 1)]
    public void The_sum_of_affinities_is_the_largest_of_all_balanced_assignments(int tokens, int experts)
    {
        BalancedAuction auction = new();
        for (uint seed = 0; seed < 40; seed++)
        {
            float[] affinities = KernelCheck.Random(tokens * experts, 100 + (int)seed, 3f);
            int[] expertIds = new int[tokens];

            double sum = auction.Solve(affinities, experts, [], expertIds);

            Assert.Equal(Sum(affinities, expertIds, experts), sum, 1e-9);
            AssertBalanced(expertIds, experts);
            Assert.Equal(BestOfAll(affinities, tokens, experts), sum, 1e-6); // affinities are rounded to 2^-26 of the largest
        }
    }

    [Theory]
    [InlineData(512, 16, 1f)]
    [InlineData(1000, 7, 1f)] // six experts have one more
    [InlineData(768, 64, 40f)]
    [InlineData(300, 8, 0f)] // all equal
    [InlineData(640, 10, 1e-3f)] // all want expert 3
    public void No_chain_of_moves_improves_a_large_assignment(int tokens, int experts, float size)
    {
        float[] affinities = KernelCheck.Random(tokens * experts, 5, size);
        for (int token = 0; token < tokens && size == 1e-3f; token++)
        {
            affinities[(token * experts) + 3] += 2f;
        }

        int[] expertIds = new int[tokens];
        new BalancedAuction().Solve(affinities, experts, [], expertIds);

        AssertBalanced(expertIds, experts);
        Assert.InRange(CheapestChain(affinities, expertIds, experts), -1e-6 * Math.Max(1, size), double.PositiveInfinity);
    }

    [Fact]
    public void Padding_gets_no_expert_and_does_not_count()
    {
        float[] affinities = KernelCheck.Random(9 * 3, 6);
        bool[] isPadding = [false, true, false, false, true, false, false, true, false];
        int[] real = [.. Enumerable.Range(0, 9).Where(row => !isPadding[row])];
        float[] without = [.. real.SelectMany(row => affinities[(row * 3)..((row + 1) * 3)])];
        (int[] expertIds, int[] same) = (new int[9], new int[6]);

        double sum = new BalancedAuction().Solve(affinities, 3, isPadding, expertIds);

        Assert.Equal(new BalancedAuction().Solve(without, 3, [], same), sum);
        Assert.Equal(same, real.Select(row => expertIds[row]));
        Assert.Equal([-1, -1, -1], expertIds.Where((_, row) => isPadding[row]));
        Assert.Equal(0, new BalancedAuction().Solve(affinities.AsSpan(0, 6), 3, (bool[])[true, true], same.AsSpan(0, 2)));
    }

    [Fact]
    public void What_is_not_finite_counts_as_the_lowest()
    {
        float[] affinities = [float.NaN, 1, 0, 5, 2, float.NegativeInfinity, float.PositiveInfinity, 3];
        int[] expertIds = new int[4];

        new BalancedAuction().Solve(affinities, 2, [], expertIds);

        Assert.Equal([0, 1, 0, 1], expertIds); // 5 and 3 for expert 1, 2 for expert 0, whose infinity counts for nothing
        int[] all = new int[4];
        new BalancedAuction().Solve((float[])[.. Enumerable.Repeat(float.NaN, 8)], 2, [], all);
        AssertBalanced(all, 2);
    }

    [Fact]
    public void Auctions_of_other_sizes_leave_nothing_behind()
    {
        BalancedAuction used = new();
        float[] affinities = KernelCheck.Random(24 * 5, 8);
        (int[] first, int[] again) = (new int[24], new int[24]);
        new BalancedAuction().Solve(affinities, 5, [], first);
        foreach ((int tokens, int experts) in new[] { (3, 7), (24, 5), (50, 2), (24, 5) })
        {
            used.Solve(tokens == 24 ? affinities : KernelCheck.Random(tokens * experts, 9), experts, [], tokens == 24 ? again : new int[tokens]);
            Assert.True(tokens != 24 || first.AsSpan().SequenceEqual(again));
        }
    }

    private static void AssertBalanced(int[] expertIds, int experts)
    {
        int[] counts = new int[experts];
        Array.ForEach(expertIds, expert => counts[expert]++);
        Assert.All(counts, count => Assert.InRange(count, expertIds.Length / experts, (expertIds.Length + experts - 1) / experts));
    }

    private static double Sum(float[] affinities, int[] expertIds, int experts) => expertIds.Select((expert, token) => (double)affinities[(token * experts) + expert]).Sum();

    private static double BestOfAll(float[] affinities, int tokens, int experts)
    {
        double best = double.NegativeInfinity;
        (int fewest, int most) = (tokens / experts, (tokens + experts - 1) / experts);
        int[] expertIds = new int[tokens];
        for (long code = 0; code < (long)Math.Pow(experts, tokens); code++)
        {
            long rest = code;
            int[] counts = new int[experts];
            for (int token = 0; token < tokens; token++)
            {
                counts[expertIds[token] = (int)(rest % experts)]++;
                rest /= experts;
            }

            best = counts.All(count => count >= fewest && count <= most) ? Math.Max(best, Sum(affinities, expertIds, experts)) : best;
        }

        return best;
    }

    // An assignment is the best there is if no cycle of moves, token by token from expert to expert, gains, and no chain from an expert with one more to one with
    // one less. Cost of a move is what is lost; shortest paths by Floyd and Warshall. Zero or more for an optimum.
    private static double CheapestChain(float[] affinities, int[] expertIds, int experts)
    {
        double[,] cost = new double[experts, experts];
        int[] counts = new int[experts];
        for (int from = 0; from < experts; from++)
        {
            for (int to = 0; to < experts; to++)
            {
                cost[from, to] = double.PositiveInfinity;
            }
        }

        for (int token = 0; token < expertIds.Length; token++)
        {
            int from = expertIds[token];
            counts[from]++;
            for (int to = 0; to < experts; to++)
            {
                cost[from, to] = to == from ? cost[from, to] : Math.Min(cost[from, to], (double)affinities[(token * experts) + from] - affinities[(token * experts) + to]);
            }
        }

        for (int via = 0; via < experts; via++)
        {
            for (int from = 0; from < experts; from++)
            {
                for (int to = 0; to < experts; to++)
                {
                    cost[from, to] = Math.Min(cost[from, to], cost[from, via] + cost[via, to]);
                }
            }
        }

        double cheapest = double.PositiveInfinity;
        for (int from = 0; from < experts; from++)
        {
            for (int to = 0; to < experts; to++)
            {
                cheapest = from == to || counts[from] > counts[to] ? Math.Min(cheapest, cost[from, to]) : cheapest;
            }
        }

        return cheapest;
    }
}
