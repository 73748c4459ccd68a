using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Moe.Routing;
using MoeSharp.Tensors;

namespace MoeSharp.Tests.Moe.Routing;

public sealed class HashRouterTests
{
    [Fact]
    public void A_token_always_goes_to_the_same_distinct_experts()
    {
        using WorkerPool workers = new(1);
        using ForwardContext context = new(workers);
        int[] first = Route(Random(3, 8, 3), [5, 6, 5, 7, 5], context);
        int[] second = Route(Random(3, 8, 3), [5], context);
        Assert.Equal(second, first[..3]);
        Assert.Equal(second, first[6..9]);
        Assert.Equal(second, first[12..15]);
        Assert.Equal(3, second.Distinct().Count());
    }

    [Fact]
    public void Tokens_spread_over_all_experts_and_layers_differ()
    {
        using WorkerPool workers = new(1);
        using ForwardContext context = new(workers);
        int[] tokens = [.. Enumerable.Range(0, 8000)];
        int[] layer0 = Route(Random(0, 16, 1), tokens, context);
        int[] layer1 = Route(Random(1, 16, 1), tokens, context);
        foreach (int count in layer0.CountBy(expert => expert).Select(pair => pair.Value))
        {
            Assert.InRange(count, 400, 600); // 500 expected, standard deviation 21.7
        }

        Assert.InRange(layer0.Zip(layer1).Count(pair => pair.First == pair.Second), 350, 650); // chance agreement
    }

    [Fact]
    public void The_table_never_changes()
    {
        using WorkerPool workers = new(1);
        using ForwardContext context = new(workers);
        Assert.Equal([17, 52, 57, 54, 7, 49, 27, 22, 62, 35, 9, 5, 29, 32, 6, 35, 61, 31], Route(Random(3, 64, 6), [0, 1, 31337], context)); // models were trained with it
    }

    [Fact]
    public void Segments_give_one_expert_each()
    {
        using WorkerPool workers = new(1);
        using ForwardContext context = new(workers);
        int[] ids = Route(new HashRouter(new SegmentedHashTable(1, 12), null, 12, 3, 1f), [.. Enumerable.Range(0, 6000)], context);
        for (int slot = 0; slot < 3; slot++)
        {
            int[] counts = [.. ids.Where((_, index) => index % 3 == slot).CountBy(expert => expert).OrderBy(pair => pair.Key).Select(pair => pair.Value)];
            Assert.Equal(4, counts.Length);
            Assert.All(counts, count => Assert.InRange(count, 1320, 1680)); // 1500 expected, standard deviation 34
            Assert.All(ids.Where((_, index) => index % 3 == slot), expert => Assert.Equal(slot, expert / 4));
        }
    }

    [Fact]
    public void A_balanced_table_differs_by_at_most_the_most_frequent_token()
    {
        long[] frequencies = [.. Enumerable.Range(1, 500).Select(rank => 100_000L / rank)]; // Zipf
        long[] loads = new long[8];

        int[] table = ListedHashTable.Balance(frequencies, 8, loads);

        Assert.Equal(frequencies.Sum(), loads.Sum());
        Assert.Equal(loads, Enumerable.Range(0, 8).Select(expert => frequencies.Where((_, id) => table[id] == expert).Sum()));
        Assert.Equal(frequencies[0], loads.Max()); // alone more than an eighth of all
        Assert.InRange(loads.Order().Skip(1).Take(6).Max() - loads.Min(), 0, frequencies[^1] * 2);
    }

    [Fact]
    public void The_token_before_decides_and_a_text_begins_with_the_boundary()
    {
        using WorkerPool workers = new(1);
        using ForwardContext context = new(workers);
        TokenBatch batch = new();
        batch.Resize(5, 5);
        ((int[])[3, 1, 2, 2, 0]).CopyTo(batch.TokenIds);
        batch.AddSegment(new AttentionSegment(0, 3, 0, 3), 0);
        batch.AddSegment(new AttentionSegment(3, 2, 3, 2), 0);
        context.BeginInference(batch);

        int[] ids = new HashRouter(new ListedHashTable([10, 11, 12, 13], 4), 3, 16, 1, 1f).Route(context.Pool.Rent(new Shape(5, 4)), context).ExpertIds.ToArray();

        Assert.Equal([13, 13, 11, 13, 12], ids);
    }

    private static HashRouter Random(int layer, int numExperts, int topK) => new(new RandomHashTable(layer, numExperts), null, numExperts, topK, 1f);

    private static int[] Route(HashRouter router, int[] tokens, ForwardContext context)
    {
        TokenBatch batch = new();
        batch.Resize(tokens.Length, tokens.Length);
        tokens.CopyTo(batch.TokenIds);
        context.BeginInference(batch);
        int[] ids = router.Route(context.Pool.Rent(new Shape(tokens.Length, 4)), context).ExpertIds.ToArray();
        context.EndPass();
        return ids;
    }
}
