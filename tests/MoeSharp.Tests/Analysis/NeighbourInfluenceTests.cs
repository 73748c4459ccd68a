using MoeSharp.Analysis;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Moe.Dispatch;

namespace MoeSharp.Tests.Analysis;

public sealed class NeighbourInfluenceTests
{
    private static readonly int[][] s_texts = [[5, 9, 2, 7, 7, 1, 3, 8], [4, 4, 4, 4, 4, 4, 4, 4], [1, 2, 3, 4, 5, 6, 7, 8], [9, 9, 8, 8, 7, 7, 6, 6]];

    [Fact]
    public void Without_capacity_no_bit_of_a_text_depends_on_the_others()
    {
        Assert.Equal(new NeighbourInfluence(4, 0, 0, 32, 0, 0, 0), Measure(0, s_texts));
        Assert.Equal(Measure(0, s_texts), Measure(1000, s_texts)); // room for all is no limit
    }

    [Fact]
    public void With_capacity_texts_depend_on_the_others_and_slots_are_dropped()
    {
        NeighbourInfluence tight = Measure(0.5, s_texts);
        Assert.Equal(4, tight.NumChanged);
        Assert.InRange(tight.LargestDifference, 1e-4, 100);
        Assert.InRange(tight.DropRateTogether, 0.4, 0.9); // half the places at most
        Assert.InRange(tight.DropRateAlone, 0.2, 0.9);
    }

    [Fact]
    public void One_text_has_no_neighbours()
    {
        Assert.Contains("at least two", Assert.Throws<ConfigurationException>(() => Measure(0, s_texts[..1])).Message, StringComparison.Ordinal);
    }

    private static NeighbourInfluence Measure(double factor, int[][] texts)
    {
        using WorkerPool workers = new(2);
        ModelConfig config = ModelPresets.Get("nano");
        config = config with { VocabSize = 16, BosTokenId = null, EosTokenId = null, Moe = config.Moe! with { Capacity = factor == 0 ? null : new CapacityRule { EvaluationFactor = factor } } };
        using LanguageModel model = new(config);
        WeightInit.Initialize(model, 3, WeightInitScheme.FanIn, workers);
        return NeighbourInfluence.Measure(model, texts, workers, TestContext.Current.CancellationToken);
    }
}
