using System.Diagnostics;
using System.Globalization;
using MoeSharp.Checkpoints;
using MoeSharp.Kernels;
using MoeSharp.Kernels.Formats;
using MoeSharp.Model;
using MoeSharp.Planning;

namespace MoeSharp.Bench;

/// <summary>A whole model with random weights: reading a prompt, and writing alone and in company.</summary>
/// <remarks>
/// Weights are filled in packed form, so the model takes its own size in memory and seconds to make. Random tokens of random weights route nearly
/// evenly, and the bytes of a step are those of the experts that it used, of the other weights, and of keys and values. Sequences write behind 64 tokens. The limit of decoding is the bandwidth
/// of reading these very weights, measured between the steps, divided by the bytes that a step must read; the limit of a prompt is the measured peak of 8-bit multiply-adds over those that its tokens need.
/// </remarks>
public static class DecodeBenchmarks
{
    private const string DefaultPreset = "deepseek-moe-16b";
    private const string DensePreset = "llama2-7b";
    private const int DefaultPrompt = 512;
    private const int MostTogether = 4096; // sequences (arbitrary)

    /// <summary>Times <see cref="BenchOptions.Preset"/> (DeepSeekMoE 16B) in each of <see cref="BenchOptions.Weights"/> (q4_0), with a prompt of
    /// <see cref="BenchOptions.Prompt"/> (512) tokens and each of <see cref="BenchOptions.Batch"/> (1, 4, 16) sequences; without a preset also a dense model of 7B.</summary>
    public static IReadOnlyList<BenchResult> Run(BenchOptions options)
    {
        List<BenchResult> results = [];
        using WorkerPool workers = new(options.Threads);
        string preset = options.Preset ?? DefaultPreset;
        IReadOnlyList<int> batches = options.Batch.Count == 0 ? [1, 4, 16] : options.Batch;
        foreach (WeightFormat format in QuantizedBenchmarks.Formats(options.Weights.Count == 0 ? ["q4_0"] : options.Weights))
        {
            double alone = Measure(workers, preset, format, options.Prompt, batches, results);
            if (options.Preset is null && batches.Contains(1))
            {
                double dense = Measure(workers, DensePreset, format, options.Prompt, [1], results);
                results.Add(new BenchResult($"{preset} {format.Name()} decode over {DensePreset}", alone / dense, "x", 2.5, alone / dense / 2.5)); // the paper's claim, arXiv 2401.06066, abstract of section 5
            }
        }

        return results;
    }

    // Random weights take real memory, and a machine without it does not say no: it takes it from other programs.
    private static void RequireRoom(string preset, WeightFormat format, int prompt, IReadOnlyList<int> batches)
    {
        ModelConfig config = ModelPresets.Get(preset);
        if (prompt > config.MaxPositionEmbeddings)
        {
            throw new ConfigurationException($"--prompt {prompt} is more than the {config.MaxPositionEmbeddings} positions of {preset}. Use fewer tokens.");
        }

        if (batches.Max() > MostTogether)
        {
            throw new ConfigurationException($"--batch {batches.Max()} is more than the {MostTogether} sequences that are measured together at most. Use fewer.");
        }

        long tokens = Math.Max(prompt, (long)batches.Max() * DecodeRun.TokensPerSequence);
        MemoryEstimate needs = MemoryEstimate.Of(config, LoadPlan.Of(config, WeightTarget.Parse(format.Name())), tokens);
        long free = MachineMemory.FreeBytes();
        if (needs.TotalBytes > free)
        {
            throw new ConfigurationException(string.Create(CultureInfo.InvariantCulture, $"{preset} in {format.Name()} needs {needs.TotalBytes / 1e9:F1} GB, {free / 1e9:F1} GB are free. Use a smaller --preset or smaller --weights."));
        }
    }

    // Returns the tokens per second of one sequence alone, 0 if not asked for.
    private static double Measure(WorkerPool workers, string preset, WeightFormat format, int? wantedPrompt, IReadOnlyList<int> batches, List<BenchResult> results)
    {
        int prompt = wantedPrompt ?? Math.Min(DefaultPrompt, ModelPresets.Get(preset).MaxPositionEmbeddings);
        RequireRoom(preset, format, prompt, batches);
        string name = $"{preset} {format.Name()}";
        using RandomModel model = new(preset, format, workers);
        double gigabytes = model.WeightBytes / 1e9;
        double gops = MachineProbe.ByteGops(workers);
        using DecodeRun run = new(model, prompt, workers);
        double prefill = prompt / run.PromptSeconds();
        double prefillLimit = gops * 1e9 / (2.0 * model.ProductsPerToken);
        results.Add(new BenchResult($"{name} prompt of {prompt}", prefill, "tokens/s", prefillLimit, prefill / prefillLimit));
        AddParts($"{name} prompt of {prompt}", run, results);
        double alone = 0;
        foreach (int count in batches)
        {
            double rate = count / run.StepSeconds(count);
            double bytes = model.BytesPerStep(count, run.UsedExperts) + run.CachedBytes;
            double limit = run.ReadGbps * 1e9 / bytes * count;
            alone = count == 1 ? rate : alone;
            results.Add(new BenchResult($"{name} decode, {count} together, {bytes / 1e9:F3} GB per step", rate, "tokens/s", limit, rate / limit));
            AddParts($"{name} decode, {count} together", run, results);
        }

        double resident = Process.GetCurrentProcess().WorkingSet64 / 1e9;
        results.Add(new BenchResult($"{name} weights in GB of resident memory", resident, "GB", gigabytes, gigabytes / resident));
        return alone;
    }

    private static void AddParts(string name, DecodeRun run, List<BenchResult> results)
    {
        foreach ((string part, double seconds) in run.Parts)
        {
            results.Add(new BenchResult($"{name}: {part}", seconds * 1e3, "ms", run.Seconds * 1e3, seconds / run.Seconds));
        }
    }
}
