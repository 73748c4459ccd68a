using System.Diagnostics;
using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Tensors;
using MoeSharp.Training;

namespace MoeSharp.Bench;

/// <summary>Whole optimiser steps of the <c>tiny</c> and <c>small</c> presets and of their dense models with the same activated FLOPs.</summary>
/// <remarks>
/// A step is forward, backward, gradient norm, clipping and AdamW on random tokens with an untrained router, so expert loads are uneven.
/// FLOPs are 6 x activated matmul weights x tokens (router and head included, embedding look-up not) plus the causal half of attention, 6 L S d per token.
/// </remarks>
public static class TrainingBenchmarks
{
    private const int Warmups = 2;
    private const int Sequences = 8;

    /// <summary>Times one configuration: the MoE model, its dense model, and the MoE model on one thread.</summary>
    /// <param name="preset"><c>tiny</c> or <c>small</c>.</param>
    /// <param name="threads">Most workers used.</param>
    public static IReadOnlyList<BenchResult> Run(string preset, int threads)
    {
        List<BenchResult> results = [];
        StepFigures moe = Measure(preset, threads);
        double peakMemory = PeakResidentGibibytes();
        StepFigures dense = Measure($"{preset}-dense", threads);
        StepFigures single = Measure(preset, 1);
        string name = $"train.{preset}";
        results.Add(new BenchResult($"{name}.step", moe.Gflops, "GFLOP/s", moe.PeakGflops, moe.Gflops / moe.PeakGflops));
        results.Add(new BenchResult($"{name}.step.1_thread", single.Gflops, "GFLOP/s", single.PeakGflops, single.Gflops / single.PeakGflops));
        results.Add(new BenchResult($"{name}.tokens_per_second", moe.TokensPerSecond, "tokens/s", moe.PeakGflops * moe.TokensPerSecond / moe.Gflops, moe.Gflops / moe.PeakGflops));
        results.Add(new BenchResult($"{name}.scaling", single.Seconds / moe.Seconds, "x", threads, single.Seconds / moe.Seconds / threads));
        results.Add(new BenchResult($"{name}.over_dense", moe.Seconds / dense.Seconds, "x time", moe.Gflop / dense.Gflop, dense.Seconds / dense.Gflop / (moe.Seconds / moe.Gflop)));
        results.Add(new BenchResult($"{name}.dense_step", dense.Gflops, "GFLOP/s", dense.PeakGflops, dense.Gflops / dense.PeakGflops));
        results.Add(new BenchResult($"{name}.same_bits_1_and_{threads}_threads", single.Fingerprint == moe.Fingerprint ? 1 : 0, "yes=1", 1, single.Fingerprint == moe.Fingerprint ? 1 : 0));
        results.Add(new BenchResult($"{name}.peak_memory", peakMemory, "GiB", moe.ParameterGibibytes * 4, moe.ParameterGibibytes * 4 / peakMemory));
        foreach (StepPart part in Enum.GetValues<StepPart>().Where(part => part != StepPart.Idle))
        {
            results.Add(new BenchResult($"{name}.part.{part.ToString().ToLowerInvariant()}", moe.PartSeconds[part] * 1e3, "ms", moe.Seconds * 1e3, moe.PartSeconds[part] / moe.Seconds));
        }

        return results;
    }

    private static StepFigures Measure(string preset, int threads)
    {
        ModelConfig config = ModelPresets.Get(preset);
        int sequenceLength = preset.StartsWith("tiny", StringComparison.Ordinal) ? 256 : 512;
        int steps = preset.StartsWith("tiny", StringComparison.Ordinal) ? 15 : 5;
        using WorkerPool workers = new(threads);
        using LanguageModel model = new(config);
        WeightInit.Initialize(model, 1, WeightInitScheme.Normal, workers);
        using AdamWOptimizer optimizer = new(model.Parameters, new OptimizerConfig());
        using ForwardContext context = new(workers);
        TokenBatch batch = RandomBatch(config.VocabSize, sequenceLength);
        BalanceConfig balance = new() { ExpertAlpha = 0.01f };
        List<double> seconds = [];
        List<double> peaks = [];
        for (int step = 0; step < Warmups + steps; step++)
        {
            if (step == Warmups)
            {
                context.Timer.Reset();
            }

            peaks.Add(MachineProbe.FmaSample(workers));
            long start = Stopwatch.GetTimestamp();
            context.Timer.Switch(StepPart.Other);
            optimizer.ClearGradients();
            model.ForwardBackward(batch, balance, 1f / batch.Count, 1f, context);
            context.Timer.Switch(StepPart.Optimizer);
            optimizer.Step(3e-4f, optimizer.GradientNorm(workers), workers);
            context.Timer.Switch(StepPart.Idle);
            if (step >= Warmups)
            {
                seconds.Add(Stopwatch.GetElapsedTime(start).TotalSeconds);
            }
        }

        seconds.Sort();
        peaks.Sort();
        return new StepFigures
        {
            Seconds = seconds[seconds.Count / 2],
            PeakGflops = peaks[peaks.Count / 2],
            Tokens = batch.Count,
            Gflop = Flops(config, sequenceLength, batch.Count) / 1e9,
            ParameterGibibytes = model.Parameters.Sum(p => p.Shape.Length) * sizeof(float) / (double)(1L << 30),
            PartSeconds = Enum.GetValues<StepPart>().ToDictionary(part => part, part => context.Timer.Seconds(part) / steps),
            Fingerprint = Fingerprint(model),
        };
    }

    private static double Flops(ModelConfig config, int sequenceLength, int tokens)
    {
        double hidden = config.HiddenSize;
        double feedForward = config.Moe is { } moe
            ? (3 * hidden * moe.IntermediateSize * (moe.TopK + moe.NumSharedExperts)) + (hidden * moe.NumExperts)
            : 3 * hidden * config.IntermediateSize;
        double activated = (config.NumHiddenLayers * ((4 * hidden * hidden) + feedForward)) + (hidden * config.VocabSize);
        return (6 * activated * tokens) + (6.0 * config.NumHiddenLayers * sequenceLength * hidden * tokens);
    }

    private static TokenBatch RandomBatch(int vocab, int sequenceLength)
    {
        Random random = new(1);
        return TokenBatch.FromSequences([.. Enumerable.Range(0, Sequences).Select(_ => Enumerable.Range(0, sequenceLength).Select(_ => random.Next(vocab)).ToArray())]);
    }

    // All weights after the same number of steps: equal bits give an equal number.
    private static ulong Fingerprint(LanguageModel model)
    {
        Fnv1a hash = new();
        foreach (Parameter parameter in model.Parameters)
        {
            foreach (float value in parameter.Value)
            {
                hash.Add(BitConverter.SingleToUInt32Bits(value));
            }
        }

        return hash.Value;
    }

    private static double PeakResidentGibibytes() => Process.GetCurrentProcess().PeakWorkingSet64 / (double)(1L << 30);

    private sealed record StepFigures
    {
        public required double Seconds { get; init; }

        public required double PeakGflops { get; init; }

        public required int Tokens { get; init; }

        public required double Gflop { get; init; }

        public required double ParameterGibibytes { get; init; }

        public required IReadOnlyDictionary<StepPart, double> PartSeconds { get; init; }

        public required ulong Fingerprint { get; init; }

        public double Gflops => Gflop / Seconds;

        public double TokensPerSecond => Tokens / Seconds;
    }
}
