using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Moe.Routing;
using MoeSharp.Tensors;

namespace MoeSharp.Tests.Moe;

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
