using System.Diagnostics;
using MoeSharp.Analysis.Study;
using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Training;

namespace MoeSharp.Bench;

/// <summary>What counting the statistics of a study costs over evaluating the same text.</summary>
public static class StudyBenchmarks
{
    private const int Rounds = 9;

    // Preset -> tokens scored; a pass takes some tenths of a second.
    private static readonly (string Preset, int Tokens)[] s_models = [("quickstart", 60_000), ("starter", 12_000)];

    /// <summary>Times passes without and with statistics in turns.</summary>
    /// <param name="threads">Most workers used.</param>
    public static IReadOnlyList<BenchResult> Run(int threads) => [.. s_models.Select(row => Measure(row.Preset, row.Tokens, threads))];

    private static BenchResult Measure(string preset, int tokens, int threads)
    {
        using WorkerPool workers = new(threads);
        using LanguageModel model = new(TrainingConfigJson.Load(preset, null, []).Model! with { VocabSize = 1024 }); // the presets have a model
        WeightInit.Initialize(model, 1, WeightInitScheme.FanIn, workers);
        Random random = new(1);
        StudyText text = new([.. Enumerable.Range(0, tokens / 150).Select(index => StudyDocument.Of([.. Enumerable.Range(0, 151).Select(_ => random.Next(1024))], $"domain {index % 6}", 600))], 512, 256, 2048);
        using StudyPasses passes = new(model, text, workers, CancellationToken.None);
        double[] plain = new double[Rounds];
        double[] ratios = new double[Rounds];
        for (int round = -1; round < Rounds; round++) // round -1 compiles
        {
            long begin = Stopwatch.GetTimestamp();
            passes.Run(null, null);
            double evaluated = Stopwatch.GetElapsedTime(begin).TotalSeconds;
            begin = Stopwatch.GetTimestamp();
            passes.Run(null, new RoutingStatistics(text, model.Config, workers));
            double counted = Stopwatch.GetElapsedTime(begin).TotalSeconds;
            if (round >= 0)
            {
                (plain[round], ratios[round]) = (evaluated, counted / evaluated);
            }
        }

        Array.Sort(plain);
        Array.Sort(ratios);
        double milliseconds = plain[Rounds / 2] * 1e3;
        return new BenchResult($"study.counting.{preset}", milliseconds * ratios[Rounds / 2], "ms", milliseconds, 1 / ratios[Rounds / 2]);
    }
}
