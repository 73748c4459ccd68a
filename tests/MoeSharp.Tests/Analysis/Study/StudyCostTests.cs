using System.Diagnostics;
using MoeSharp.Analysis.Study;
using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Training;

namespace MoeSharp.Tests.Analysis.Study;

public sealed class StudyCostTests(ITestOutputHelper output)
{
    private const double Bar = 1.10; // of an evaluation of the same text

    [Theory]
    [Trait("Category", "Slow")]
    [InlineData("quickstart", 60_000)]
    [InlineData("starter", 12_000)]
    public void Counting_everything_costs_little_more_than_evaluating(string preset, int tokens)
    {
        using WorkerPool workers = new(1); // processor time of one thread: other work on the machine does not count
        using LanguageModel model = new(TrainingConfigJson.Load(preset, null, []).Model! with { VocabSize = 1024 });
        WeightInit.Initialize(model, 1, WeightInitScheme.FanIn, workers);
        Random random = new(1);
        StudyText text = new([.. Enumerable.Range(0, tokens / 150).Select(index => StudyDocument.Of([.. Enumerable.Range(0, 151).Select(_ => random.Next(1024))], $"domain {index % 6}", 600))], 512, 256, 2048);
        using StudyPasses passes = new(model, text, workers, TestContext.Current.CancellationToken);
        double[] plain = new double[7];
        double[] counted = new double[7];
        for (int round = 0; round < plain.Length; round++)
        {
            TimeSpan begin = Process.GetCurrentProcess().TotalProcessorTime;
            passes.Run(null, null);
            TimeSpan middle = Process.GetCurrentProcess().TotalProcessorTime;
            passes.Run(null, new RoutingStatistics(text, model.Config, workers));
            TimeSpan end = Process.GetCurrentProcess().TotalProcessorTime;
            (plain[round], counted[round]) = ((middle - begin).TotalSeconds, (end - middle).TotalSeconds);
        }

        double ratio = counted.Min() / plain.Min();
        output.WriteLine($"{preset}: {text.NumScored} tokens, evaluated in {plain.Min():0.000} s, counted in {counted.Min():0.000} s, ratio {ratio:0.000} (all: {string.Join(' ', plain.Zip(counted, (p, c) => $"{c / p:0.00}"))})");
        Assert.True(ratio <= Bar, $"counting takes {ratio:0.000} times as long as evaluating");
    }
}
