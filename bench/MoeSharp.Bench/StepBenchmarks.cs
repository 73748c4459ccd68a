using System.Diagnostics;
using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Tensors;
using MoeSharp.Training;
using MoeSharp.Training.Comparison;

namespace MoeSharp.Bench;

/// <summary>What a training step costs with each architecture of the experiment <c>pair</c>: the fine-grained ones beside GShard, all taken in turn.</summary>
/// <remarks>
/// These are the steps that <c>moe compare</c> makes, the first of a run: one thread each, hidden size 64, the experiment's own lines. With more than one thread that many
/// runs go on at once, each with all architectures, as <c>moe compare</c> does. A ratio is the median over the rounds of the time against the reference's in the same round.
/// </remarks>
public static class StepBenchmarks
{
    private const string Experiment = "pair";
    private const int Warmups = 30;
    private const int Rounds = 120;

    private static readonly StepPart[] s_parts = [.. Enum.GetValues<StepPart>().Where(part => part != StepPart.Idle)];

    /// <summary>Times steps of every architecture, round by round.</summary>
    /// <param name="threads">Runs at once.</param>
    public static IReadOnlyList<BenchResult> Run(int threads)
    {
        using ComparisonSources sources = new("", [], static _ => { }, CancellationToken.None);
        ComparisonPlan plan = ComparisonPlan.Create(ComparisonConfigJson.Load(Experiment) with { Seeds = [2] }, sources); // its first seed
        PlannedRun[] runs = [.. plan.Runs];
        ITrainingSource source = sources.Open(runs[0].Condition.Corpus);
        StepTimes[][] times = [.. Enumerable.Range(0, threads).Select(_ => runs.Select(_ => new StepTimes()).ToArray())];
        using Barrier start = new(threads);
        Thread[] others = [.. Enumerable.Range(1, threads - 1).Select(index => new Thread(() => Measure(runs, source, index, start, times[index])))];
        foreach (Thread thread in others)
        {
            thread.Start();
        }

        Measure(runs, source, 0, start, times[0]);
        foreach (Thread thread in others)
        {
            thread.Join();
        }

        return Report(plan.Config.Reference, runs, times);
    }

    // Every thread begins with another architecture, so that each meets all others beside it.
    private static void Measure(PlannedRun[] runs, ITrainingSource source, int offset, Barrier start, StepTimes[] times)
    {
        using WorkerPool workers = new(1);
        LanguageModel[] models = [.. runs.Select(run => new LanguageModel(run.Config.RequireModel()))];
        TrainingStep[] steps = [.. runs.Select((run, index) => Prepare(run, models[index], source, workers))];
        start.SignalAndWait();
        for (int round = -Warmups; round < Rounds; round++)
        {
            for (int turn = 0; turn < runs.Length; turn++)
            {
                int index = (turn + offset) % runs.Length;
                PartTimer timer = steps[index].Context.Timer;
                timer.Reset();
                timer.Switch(StepPart.Other);
                long begin = Stopwatch.GetTimestamp();
                steps[index].Run((round + Warmups) / (double)runs[index].Condition.Steps, 0);
                double seconds = Stopwatch.GetElapsedTime(begin).TotalSeconds;
                timer.Switch(StepPart.Idle);
                if (round >= 0)
                {
                    times[index].Seconds.Add(seconds);
                    foreach (StepPart part in s_parts)
                    {
                        times[index].PartSeconds[(int)part].Add(timer.Seconds(part));
                    }
                }
            }
        }

        for (int index = 0; index < runs.Length; index++)
        {
            steps[index].Dispose();
            models[index].Dispose();
        }
    }

    private static TrainingStep Prepare(PlannedRun run, LanguageModel model, ITrainingSource source, WorkerPool workers)
    {
        WeightInit.Initialize(model, run.Seed, run.Config.InitScheme, workers);
        return new TrainingStep(run.Config, model, source.OpenBatches(run.Config), workers, TimeProvider.System);
    }

    private static List<BenchResult> Report(string reference, PlannedRun[] runs, StepTimes[][] times)
    {
        int referenceIndex = Array.FindIndex(runs, run => run.Architecture.Name == reference);
        double referenceMs = 1e3 * Median(times.SelectMany(thread => thread[referenceIndex].Seconds));
        List<BenchResult> results = [];
        for (int index = 0; index < runs.Length; index++)
        {
            string name = $"{Experiment}.{runs[index].Architecture.Name}";
            double stepMs = 1e3 * Median(times.SelectMany(thread => thread[index].Seconds));
            double ratio = Median(times.SelectMany(thread => thread[index].Seconds.Zip(thread[referenceIndex].Seconds, (own, other) => own / other)));
            results.Add(new BenchResult($"{name}.step", stepMs, "ms", referenceMs, referenceMs / stepMs));
            results.Add(new BenchResult($"{name}.over_{reference}", ratio, "x time", 1, 1 / ratio));
            foreach (StepPart part in s_parts)
            {
                double partMs = 1e3 * Median(times.SelectMany(thread => thread[index].PartSeconds[(int)part]));
                if (partMs > 0)
                {
                    results.Add(new BenchResult($"{name}.part.{part.ToString().ToLowerInvariant()}", partMs, "ms", stepMs, partMs / stepMs));
                }
            }
        }

        return results;
    }

    private static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        return sorted[sorted.Length / 2];
    }

    private sealed class StepTimes
    {
        public List<double> Seconds { get; } = new(Rounds);

        public List<double>[] PartSeconds { get; } = [.. Enum.GetValues<StepPart>().Select(_ => new List<double>(Rounds))];
    }
}
