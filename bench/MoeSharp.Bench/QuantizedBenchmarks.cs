using System.Diagnostics;
using MoeSharp.Kernels;
using MoeSharp.Kernels.Formats;
using MoeSharp.Kernels.Quantized;

namespace MoeSharp.Bench;

/// <summary>Products with packed weights: one row beside the read bandwidth, many rows beside the peak of 8-bit multiply-adds.</summary>
/// <remarks>
/// Weights are stacks of the experts of DeepSeekMoE 16B (gate and up, 2816 x 2048), enough of them that none is still cached when its turn comes again.
/// Every expert has the same number of rows. The bandwidth counts weights only.
/// </remarks>
public static class QuantizedBenchmarks
{
    private const int Rows = 2816;
    private const int Columns = 2048;
    private const int NumExperts = 48;
    private const int Repeats = 5;

    private static readonly WeightFormat[] s_formats =
    [
        WeightFormat.Q4_0, WeightFormat.Q8_0, WeightFormat.Q4K, WeightFormat.Q6K, WeightFormat.Q5_0, WeightFormat.Q5K, WeightFormat.Q4_1, WeightFormat.Q5_1,
        WeightFormat.IQ4NL, WeightFormat.IQ4XS, WeightFormat.MXFP4, WeightFormat.Q3K, WeightFormat.Q2K, WeightFormat.BF16,
    ];

    /// <summary>Times every format, or those of <see cref="BenchOptions.Weights"/>, with 1, 4, 16, 64 and 512 rows, or those of <see cref="BenchOptions.Batch"/>.</summary>
    public static IReadOnlyList<BenchResult> Run(BenchOptions options)
    {
        if (options.Preset is not null || options.Prompt is not null)
        {
            throw new ConfigurationException("The suite quantized multiplies matrices, not a model: leave out --preset and --prompt.");
        }

        using WorkerPool workers = new(options.Threads);
        List<BenchResult> results = [];
        foreach (WeightFormat format in options.Weights.Count == 0 ? s_formats : Formats(options.Weights))
        {
            Measure(workers, format, options.Batch.Count == 0 ? [1, 4, 16, 64, 512] : options.Batch, results);
        }

        return results;
    }

    /// <summary>The formats of those names.</summary>
    /// <exception cref="ConfigurationException">A name is unknown.</exception>
    internal static IEnumerable<WeightFormat> Formats(IEnumerable<string> names) => names.Select(name =>
        WeightFormats.Find(name) ?? throw new ConfigurationException($"There is no weight format '{name}'. Use for example q4_0, q8_0, q4_k, q6_k or bf16."));

    private static void Measure(WorkerPool workers, WeightFormat format, IReadOnlyList<int> batches, List<BenchResult> results)
    {
        using PackedMatrix weights = new(NumExperts, Columns, new PackedPart(Rows, format));
        RandomWeights.Fill(workers, 1, 0.02f, weights);
        foreach (int rows in batches)
        {
            int experts = rows > 16 ? Math.Max(4, NumExperts * 16 / rows) : NumExperts;
            using NativeBuffer x = KernelBenchmarks.Filled((long)rows * Columns), y = new((long)experts * rows * Rows);
            int[] offsets = [.. Enumerable.Range(0, experts + 1).Select(e => e * rows)];
            int[] gather = [.. Enumerable.Range(0, experts * rows).Select(r => r % rows)];
            List<double> seconds = [];
            List<double> limits = [];
            for (int repeat = 0; repeat <= Repeats; repeat++)
            {
                limits.Add(rows == 1 ? MachineProbe.ReadGbps(workers) : MachineProbe.ByteGops(workers));
                long start = Stopwatch.GetTimestamp();
                QuantizedMatMul.GroupedNT(workers, offsets, KernelBenchmarks.All(x), Columns, gather, weights, KernelBenchmarks.All(y), Rows, ActivationPrecision.Int8);
                seconds.Add(Stopwatch.GetElapsedTime(start).TotalSeconds);
            }

            seconds.RemoveAt(0);
            seconds.Sort();
            limits.Sort();
            double time = seconds[Repeats / 2];
            double limit = limits[Repeats / 2];
            double gbps = (double)weights.Bytes / NumExperts * experts / time / 1e9;
            double gops = 2.0 * experts * rows * Rows * Columns / time / 1e9;
            results.Add(rows == 1
                ? new BenchResult($"{format.Name()} 1 row, {KernelBenchmarks.Threads(workers)}", gbps, "GB/s", limit, gbps / limit)
                : new BenchResult($"{format.Name()} {rows} rows, {KernelBenchmarks.Threads(workers)}", gops, "GOP/s", limit, gops / limit));
        }
    }
}
