using MoeSharp.Kernels;

namespace MoeSharp.Bench;

/// <summary>Speed of causal attention beside the measured multiply-add peak of the same threads.</summary>
/// <remarks>
/// Only the causal half counts: 4 head_dim operations per visible (query, key) pair forward, 10 backward. Queries, keys and values
/// are columns of one fused matrix. The decode cases are one query over the pages of a cache; their limit is the same peak and they are bound by memory.
/// </remarks>
public static class AttentionBenchmarks
{
    private const int HugePageFloats = 512 * 1024;
    private const string Unit = "GFLOP/s";
    private const double ForwardOperations = 4;
    private const double BackwardOperations = 10;

    /// <summary>Training shapes forward and backward, and one decoding step.</summary>
    public static IReadOnlyList<BenchResult> Run(int threads)
    {
        List<BenchResult> results = [];
        foreach (int count in threads == 1 ? [1] : new[] { 1, threads })
        {
            using WorkerPool workers = new(count);
            foreach ((int batch, int numHeads, int length, int headDim) in new[] { (8, 8, 512, 64), (8, 8, 256, 32), (1, 8, 2048, 64), (1, 1, 2048, 64) })
            {
                MeasureTraining(workers, batch, new AttentionHeads(numHeads, numHeads, headDim, 1f / MathF.Sqrt(headDim)), length, results);
            }

            MeasureDecoding(workers, new AttentionHeads(8, 8, 64, 0.125f), 2048, results);
            MeasureDecoding(workers, new AttentionHeads(16, 16, 128, 0.088f), 8192, results);
            MeasureDecoding(workers, new AttentionHeads(16, 16, 128, 0.088f), 8192, results, CacheFormat.BFloat16);
            MeasureDecoding(workers, new AttentionHeads(16, 1, 576, 0.07f) { ValueDim = 512 }, 8192, results);
            MeasureDecoding(workers, new AttentionHeads(16, 1, 576, 0.07f) { ValueDim = 512 }, 256, results);
        }

        return results;
    }

    private static void MeasureTraining(WorkerPool workers, int batch, AttentionHeads heads, int length, List<BenchResult> results)
    {
        int hidden = heads.NumHeads * heads.HeadDim;
        int stride = 3 * hidden;
        int rows = batch * length;
        AttentionSegment[] segments = [.. Enumerable.Range(0, batch).Select(b => new AttentionSegment(b * length, length, b * length, length))];
        using NativeBuffer qkv = KernelBenchmarks.Filled((long)rows * stride), gradient = KernelBenchmarks.Filled((long)rows * stride);
        using NativeBuffer output = KernelBenchmarks.Filled((long)rows * hidden), dOutput = KernelBenchmarks.Filled((long)rows * hidden);
        using NativeBuffer logSumExp = KernelBenchmarks.Filled((long)rows * heads.NumHeads);
        double pairs = (double)batch * heads.NumHeads * length * (length + 1) / 2;
        Interleaved timer = new(workers);
        timer.Add("forward", ForwardOperations * heads.HeadDim * pairs, () => CausalAttention.Forward(
            workers, heads, segments, From(qkv, 0), stride, From(qkv, hidden), stride, From(qkv, 2 * hidden), stride, [], From(output, 0), From(logSumExp, 0)));
        timer.Add("backward", BackwardOperations * heads.HeadDim * pairs, () => CausalAttention.Backward(
            workers, heads, segments, From(qkv, 0), stride, From(qkv, hidden), stride, From(qkv, 2 * hidden), stride, From(output, 0), From(logSumExp, 0),
            From(dOutput, 0), From(gradient, 0), stride, From(gradient, hidden), stride, From(gradient, 2 * hidden), stride));
        Report(workers, timer, $"attention {batch}x{heads.NumHeads}x{length}x{heads.HeadDim}", results);
    }

    private static void MeasureDecoding(WorkerPool workers, AttentionHeads heads, int length, List<BenchResult> results, CacheFormat format = CacheFormat.Float32)
    {
        int hidden = heads.NumHeads * heads.HeadDim;
        AttentionSegment[] segments = [new AttentionSegment(0, 1, 0, length)];
        PagedHeads paged = heads.ValueDim == heads.HeadDim
            ? PagedHeads.Separate(0, heads.NumKeyValueHeads, heads.HeadDim, heads.ValueDim, format)
            : PagedHeads.Latent(0, heads.HeadDim, heads.ValueDim, format);
        using NativeBuffer q = KernelBenchmarks.Filled(hidden), output = KernelBenchmarks.Filled(hidden), logSumExp = KernelBenchmarks.Filled(heads.NumHeads);
        using PageTable table = new();
        List<NativeBuffer> pages = [.. Enumerable.Range(0, length / PagedHeads.PageTokens).Select(_ => KernelBenchmarks.Filled(Math.Max(paged.Length, HugePageFloats)))]; // a model's pages hold all its layers
        pages.ForEach(table.Add);
        PageTable[] tables = [table];
        Interleaved timer = new(workers);
        timer.Add(format == CacheFormat.Float32 ? "decode" : "decode bf16", 2.0 * (heads.HeadDim + heads.ValueDim) * heads.NumHeads * length, () => CausalAttention.Forward(
            workers, heads, segments, From(q, 0), hidden, paged, tables, [], From(output, 0)[..(heads.NumHeads * heads.ValueDim)], From(logSumExp, 0)));
        Report(workers, timer, $"attention 1x{heads.NumHeads}x{length}x{heads.HeadDim}", results);
        pages.ForEach(page => page.Dispose());
    }

    private static void Report(WorkerPool workers, Interleaved timer, string shape, List<BenchResult> results)
    {
        foreach ((string name, double gflops) in timer.Measure())
        {
            results.Add(new BenchResult($"{shape} {name}, {KernelBenchmarks.Threads(workers)}", gflops, Unit, timer.Peak, gflops / timer.Peak));
        }
    }

    private static Span<float> From(NativeBuffer buffer, int offset) => KernelBenchmarks.All(buffer)[offset..];
}
