using System.Text;
using System.Text.Json;
using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Training;

namespace MoeSharp.Tests.Training;

public sealed class RoutingGaugesTests : IDisposable
{
    private const int MostSeries = 12;

    private readonly string _folder = Directory.CreateTempSubdirectory("moe-gauges").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Loads_of_the_window_become_quantiles_and_shares()
    {
        LoadTable window = new();
        window.Add(MetricsLogTests.Routing([40, 0, 20, 20], [10, 10, 10, 10]));
        RoutingBrief brief = new RoutingGauges([]).Take(window);
        Assert.Equal(2, brief.LoadMaxRatio);
        Assert.Equal((1 + 1) / 2.0, brief.LoadP50);
        Assert.Equal((0.15 + 1) / 2, brief.LoadP05, 1e-12); // sorted 0 1 1 2: 0.15 of the way from 0 to 1
        Assert.Equal((1.85 + 1) / 2, brief.LoadP95, 1e-12);
        Assert.Equal(Math.Sqrt(0.5) / 2, brief.LoadVariation, 1e-12);
        Assert.Equal(1 / 8.0, brief.DeadShare);
        Assert.True(double.IsNaN(brief.RouterEntropy));
        Assert.True(double.IsNaN(brief.BiasRange));
    }

    [Fact]
    public void A_training_step_measures_what_its_router_did()
    {
        using TinyRun run = new(2, "model.norm_topk_prob=true");
        RoutingBrief brief = run.Step.Run(0, 0).Routing;

        // The same batch with the first weights, from copies.
        using LanguageModel again = new(run.Config.Model!);
        WeightInit.Initialize(again, 1, WeightInitScheme.FanIn, run.Workers);
        using ForwardContext context = new(run.Workers);
        context.Routing.CaptureTokens = true;
        TokenBatch batch = new();
        run.Loader().Next(batch);
        again.Loss(batch, new float[batch.Count], context);
        double entropy = context.Routing.Layers.Average(layer => layer.RouterProbs.Sum(p => p <= 0 ? 0 : -p * Math.Log(p)) / batch.Count / Math.Log(8));
        double margin = context.Routing.Layers.Average(layer => layer.RouterProbs.Chunk(8).Average(row => row.Max() - row.OrderDescending().ElementAt(1)));
        Assert.Equal(entropy, brief.RouterEntropy, 1e-4);
        Assert.Equal(margin, brief.TopMargin, 1e-4);
        Assert.InRange(brief.SharedShare, 0.01, 0.99);
        Assert.Equal(run.Step.Load.MaxOverMean(), brief.LoadMaxRatio);
    }

    [Theory]
    [InlineData(2, 4)]
    [InlineData(30, 256)]
    public void A_log_line_and_the_curves_do_not_grow_with_layers_and_experts(int layers, int experts)
    {
        LoadTable window = new();
        window.Add(MetricsLogTests.Routing([.. Enumerable.Range(0, layers).Select(_ => Enumerable.Range(0, experts).Select(expert => (long)expert).ToArray())]));
        StepMetrics metrics = MetricsLogTests.Metrics(1) with { Routing = new RoutingGauges([]).Take(window) with { RouterEntropy = 1, TopMargin = 1, SharedShare = 1, BiasRange = 1 } };
        using (TrainingLog log = new(_folder, 0, 0, TimeProvider.System))
        {
            log.Step(metrics, window);
        }

        JsonElement line = Assert.Single(MetricsLog.Read(_folder));
        Assert.Equal(RoutingBrief.Count, Enumerable.Range(0, RoutingBrief.Count).Count(series => line.TryGetProperty(RoutingBrief.NameOf(series), out _)));
        Assert.All(line.EnumerateObject(), property => Assert.Equal(JsonValueKind.Number, property.Value.ValueKind));
        string events = Encoding.Latin1.GetString(File.ReadAllBytes(Directory.GetFiles(_folder, "events*").Single()));
        int curves = System.Text.RegularExpressions.Regex.Count(events, "moe/") + System.Text.RegularExpressions.Regex.Count(events, "balance/");
        Assert.InRange(curves, RoutingBrief.Count, MostSeries);
        Assert.Equal(layers, Assert.Single(LoadLog.Read(_folder)).GetProperty("tokens_per_expert").GetArrayLength());
    }
}
