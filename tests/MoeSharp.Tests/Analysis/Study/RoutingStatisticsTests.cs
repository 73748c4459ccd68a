using MoeSharp.Analysis;
using MoeSharp.Analysis.Study;

namespace MoeSharp.Tests.Analysis.Study;

/// <summary>Every figure of the counting pass, counted again from copies.</summary>
public sealed class RoutingStatisticsTests : IDisposable
{
    private readonly StudyBench _bench = new();
    private readonly StudyText _text = StudyBench.Text();
    private readonly RoutingStatistics _statistics;
    private readonly List<SeenRow> _rows;

    public RoutingStatisticsTests()
    {
        _statistics = new RoutingStatistics(_text, StudyBench.Config, _bench.Workers);
        _bench.Passes(_text).Run(null, _statistics);
        _rows = _bench.Rows(_text);
    }

    public void Dispose() => _bench.Dispose();

    [Fact]
    public void Each_scored_row_counts_once()
    {
        Assert.Equal([1, 2], _statistics.Layers.Select(layer => layer.Layer));
        Assert.Equal(_text.NumScored, _rows.Count);
        Assert.All(_statistics.Layers, layer => Assert.Equal(_text.NumScored * StudyBench.TopK, layer.NumSlots));
        Assert.All(_statistics.Layers, layer => Assert.Equal(0, layer.DropRate));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public void Loads_masses_and_what_follows_from_them(int index)
    {
        LayerStatistics layer = _statistics.Layers[index];
        double slots = _rows.Count * StudyBench.TopK;
        long[] load = new long[StudyBench.Experts];
        double[] mass = new double[StudyBench.Experts];
        foreach (SeenRow row in _rows)
        {
            for (int slot = 0; slot < StudyBench.TopK; slot++)
            {
                load[row.Experts[index][slot]]++;
                mass[row.Experts[index][slot]] += row.Weights[index][slot];
            }
        }

        Assert.Equal(load, layer.Load.ToArray());
        double[] relative = [.. load.Select(count => count * StudyBench.Experts / slots)];
        for (int expert = 0; expert < StudyBench.Experts; expert++)
        {
            Assert.Equal(relative[expert], layer.RelativeLoad(expert), 1e-12);
            Assert.Equal(mass[expert] / mass.Sum() * StudyBench.Experts, layer.RelativeMass(expert), 1e-9);
        }

        Assert.Equal(relative.Max() - 1, layer.MaxViolation, 1e-12);
        Assert.Equal(Math.Sqrt(relative.Average(r => (r - 1) * (r - 1))), layer.LoadVariation, 1e-9);
        Assert.Equal(-load.Where(l => l > 0).Sum(l => l / slots * Math.Log(l / slots)) / Math.Log(StudyBench.Experts), layer.LoadEntropy, 1e-9);
        Assert.Equal(load.Count(l => l * StudyBench.Experts < 0.01 * slots), layer.NumDead);
        Assert.Equal(relative.Min(), layer.LoadQuantile(0), 1e-12);
        Assert.Equal(relative.Max(), layer.LoadQuantile(1), 1e-12);
        Assert.Equal((relative.Order().ElementAt(2) + relative.Order().ElementAt(3)) / 2, layer.LoadQuantile(0.5), 1e-12);
        double batch = _rows.GroupBy(row => row.Pass).Average(pass =>
            (pass.SelectMany(row => row.Experts[index]).GroupBy(expert => expert).Max(group => group.Count()) * (double)StudyBench.Experts / (pass.Count() * StudyBench.TopK)) - 1);
        Assert.Equal(batch, layer.BatchMaxViolation, 1e-12);
    }

    [Fact]
    public void Co_activation_is_the_share_of_an_experts_tokens_that_the_other_takes()
    {
        LayerStatistics layer = _statistics.Layers[1];
        for (int a = 0; a < StudyBench.Experts; a++)
        {
            for (int b = 0; b < StudyBench.Experts; b++)
            {
                double own = _rows.Count(row => row.Experts[1].Contains(a));
                double both = _rows.Count(row => row.Experts[1].Contains(a) && row.Experts[1].Contains(b));
                Assert.Equal(own == 0 ? 0 : both / own, layer.CoActivation(a, b), 1e-12);
            }
        }
    }

    [Fact]
    public void Domain_loads_and_similarities_are_those_of_the_shares()
    {
        LayerStatistics layer = _statistics.Layers[0];
        double[] Shares(Func<SeenRow, bool> which)
        {
            int[] chosen = [.. _rows.Where(which).SelectMany(row => row.Experts[0])];
            return [.. Enumerable.Range(0, StudyBench.Experts).Select(expert => chosen.Count(c => c == expert) / (double)chosen.Length)];
        }

        for (int domain = 0; domain < 2; domain++)
        {
            double[] shares = Shares(row => _text.DomainOf(row.Document) == domain);
            Assert.All(Enumerable.Range(0, StudyBench.Experts), expert => Assert.Equal(shares[expert] * StudyBench.Experts, layer.DomainLoad(domain, expert), 1e-9));
            double[][] halves = [.. Enumerable.Range(0, 2).Select(half => Shares(row => _text.DomainOf(row.Document) == domain && _text.HalfOf(row.Document) == half))];
            Assert.Equal(halves[0].Zip(halves[1], Math.Min).Sum(), layer.DomainSimilarity(domain, domain), 1e-9);
        }

        double similarity = Shares(row => _text.DomainOf(row.Document) == 0).Zip(Shares(row => _text.DomainOf(row.Document) == 1), Math.Min).Sum();
        Assert.Equal(similarity, layer.DomainSimilarity(0, 1), 1e-9);
        Assert.Equal(layer.DomainSimilarity(1, 0), layer.DomainSimilarity(0, 1), 1e-12);
    }

    [Fact]
    public void Router_entropy_is_that_of_the_probabilities()
    {
        double expected = _rows.Average(row => -row.Probs[1].Sum(p => p <= 0 ? 0 : p * Math.Log(p))) / Math.Log(StudyBench.Experts);
        Assert.Equal(expected, _statistics.Layers[1].RouterEntropy, 1e-5);
    }

    [Fact]
    public void Lift_is_counted_over_scored_rows()
    {
        TokenLift lift = _statistics.Layers[0].Lift;
        LiftedToken top = lift.Top(3, 1, 2)[0];
        double all = _rows.Count * StudyBench.TopK;
        double ofExpert = _rows.Count(row => row.Experts[0].Contains(3));
        double ofToken = _rows.Count(row => row.Token == top.Token) * StudyBench.TopK;
        int joint = _rows.Count(row => row.Token == top.Token && row.Experts[0].Contains(3));
        Assert.Equal(joint, top.Count);
        Assert.Equal(joint / ofExpert / (ofToken / all), top.Lift, 1e-9);
    }

    [Fact]
    public void Samples_keep_the_choices_of_the_first_documents_of_each_domain()
    {
        Assert.Equal(3, _statistics.Samples.All.Count);
        Assert.Equal(2, _statistics.Samples.All.Select(sample => _text.DomainOf(sample.Document)).Distinct().Count());
        foreach (TokenSample sample in _statistics.Samples.All)
        {
            SeenRow first = _rows.First(row => row.Document == sample.Document);
            Assert.Equal(first.Experts[1], sample.ExpertIds[1][..StudyBench.TopK]);
            Assert.Equal(first.Weights[1], sample.RoutingWeights[1][..StudyBench.TopK]);
            Assert.Equal(sample.NumTokens * StudyBench.TopK, sample.ExpertIds[0].Length);
        }
    }

    [Fact]
    public void A_token_outside_the_vocabulary_is_refused()
    {
        StudyText text = new([StudyDocument.Of([99, 1], "", 1)], 8, 8, 64);
        Assert.Throws<ConfigurationException>(() => new RoutingStatistics(text, StudyBench.Config, _bench.Workers));
    }
}
