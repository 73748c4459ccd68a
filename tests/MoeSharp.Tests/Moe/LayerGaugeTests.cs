using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Moe;

namespace MoeSharp.Tests.Moe;

public sealed class LayerGaugeTests
{
    private const int Experts = 5;
    private const int Hidden = 19;

    [Theory]
    [InlineData(100, 1)] // a small pass is looked at row by row
    [InlineData(600, 2)]
    [InlineData(4099, 8)] // of a large one every eighth row, another one each time
    public void A_few_equal_passes_are_seen_whole(int rows, int passes)
    {
        using WorkerPool workers = new(2);
        Random random = new(3);
        float[] logits = Draw(random, rows * Experts);
        float[] sums = [.. logits.Chunk(Experts).Select(row => (float)Math.Log(row.Sum(z => Math.Exp(z))))];
        float[] probs = [.. logits.Select((z, index) => (float)Math.Exp(z - sums[index / Experts]))];
        float[] shared = Draw(random, rows * Hidden);
        float[] routed = Draw(random, rows * Hidden);
        int[] marks = [.. Enumerable.Range(0, rows).Select(row => row % 10 == 3 ? -1 : row)];
        LayerGauge gauge = new();
        MoeView view = new() { Layer = 0, NumExperts = Experts, TopK = 1, ExpertIds = [], RoutingWeights = [], Logits = logits, Probs = probs, LogSumExp = sums, Routed = routed, Shared = shared };

        for (int pass = 0; pass < passes; pass++)
        {
            gauge.Add(view, marks, workers);
        }

        int[] counted = [.. Enumerable.Range(0, rows).Where(row => marks[row] >= 0)];
        Assert.Equal(counted.Average(row => probs.AsSpan(row * Experts, Experts).ToArray().Sum(p => -p * Math.Log(p))) / Math.Log(Experts), gauge.RouterEntropy, 1e-5);
        Assert.Equal(counted.Average(row => probs.AsSpan(row * Experts, Experts).ToArray().OrderDescending().Take(2).Aggregate((first, second) => first - second)), gauge.TopMargin, 1e-5);
        Assert.Equal(counted.Average(row => Norm(shared, row) / (Norm(shared, row) + Norm(routed, row))), gauge.SharedShare, 1e-5);
    }

    [Theory]
    [InlineData(10, 0, 1, 10)]
    [InlineData(10, 3, 4, 2)]
    [InlineData(10, 2, 4, 2)]
    [InlineData(9, 0, 4, 3)]
    [InlineData(2, 3, 4, 0)]
    public void A_sample_has_every_so_manieth_row(int rows, int first, int stride, int count)
    {
        using WorkerPool workers = new(1);
        RowSample sample = new(rows, first, stride);
        Assert.Equal(count, sample.Count);
        float[] left = [.. Enumerable.Range(0, rows * 3).Select(value => (float)value)];
        float[] dots = new float[count];

        RowScale.Dots(workers, sample, 3, left, left, dots);

        Assert.Equal(Enumerable.Range(0, count).Select(index => left.Skip((first + (index * stride)) * 3).Take(3).Sum(value => value * value)), dots);
    }

    private static float[] Draw(Random random, int count) => [.. Enumerable.Range(0, count).Select(_ => (float)(2 * random.NextDouble()) - 1)];

    private static double Norm(float[] rows, int row) => Math.Sqrt(rows.AsSpan(row * Hidden, Hidden).ToArray().Sum(value => (double)value * value));
}
