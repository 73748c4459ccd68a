using MoeSharp.Kernels;

namespace MoeSharp.Bench;

/// <summary>Speed of the row kernels on 64 MiB operands beside a plain copy of rows in the same run.</summary>
/// <remarks>Bytes are those that the operation must read and write once; a copy of n floats moves 8 n.</remarks>
public static class ElementwiseBenchmarks
{
    private const int Rows = 8192;
    private const int Cols = 2048;
    private const string Unit = "GB/s";

    /// <summary>Normalisation, activation, softmax, loss, residual sum, gradient norm and optimiser.</summary>
    public static IReadOnlyList<BenchResult> Run(int threads)
    {
        List<BenchResult> results = [];
        foreach (int count in threads == 1 ? [1] : new[] { 1, threads })
        {
            using WorkerPool workers = new(count);
            Measure(workers, results);
        }

        return results;
    }

    private static void Measure(WorkerPool workers, List<BenchResult> results)
    {
        const long Count = (long)Rows * Cols;
        using NativeBuffer wide = KernelBenchmarks.Filled(2 * Count), a = KernelBenchmarks.Filled(Count), b = KernelBenchmarks.Filled(Count), c = KernelBenchmarks.Filled(Count);
        using NativeBuffer weight = KernelBenchmarks.Filled(Cols), dWeight = KernelBenchmarks.Filled(Cols), perRow = KernelBenchmarks.Filled(Rows), dPerRow = KernelBenchmarks.Filled(Rows);
        int[] index = [.. Enumerable.Range(0, Rows)];
        int[] targets = [.. Enumerable.Range(0, Rows).Select(row => row * 31 % Cols)];
        AdamWCoefficients coefficients = new(1e-5f, 0.9f, 0.95f, 1e-8f, 0.1f, 0.5f, 0.5f, 1f);
        Interleaved timer = new(workers);
        timer.Add("copy", 8 * Count, () => Permutation.GatherRows(workers, Rows, Cols, index, All(a), All(b)));
        timer.Add("rms norm forward", 8 * Count, () => RmsNorm.Forward(workers, Rows, Cols, All(a), All(weight), 1e-5f, All(b), All(perRow)));
        timer.Add("rms norm backward", 16 * Count, () => RmsNorm.Backward(workers, Rows, Cols, All(b), All(a), All(weight), All(perRow), All(c), All(dWeight), true));
        timer.Add("swiglu forward", 12 * Count, () => SwiGlu.Forward(workers, Rows, Cols, All(wide), All(perRow), All(b)));
        timer.Add("swiglu backward", 24 * Count, () => SwiGlu.Backward(workers, Rows, Cols, All(wide), All(perRow), All(b), All(dPerRow)));
        timer.Add("softmax forward", 8 * Count, () => Softmax.Forward(workers, Rows, Cols, All(a), All(b), All(perRow)));
        timer.Add("cross-entropy forward and backward", 8 * Count, () => CrossEntropy.ForwardBackward(workers, Rows, Cols, All(b), targets, 1f, All(perRow)));
        timer.Add("accumulate", 12 * Count, () => Elementwise.Accumulate(workers, All(a), All(b)));
        timer.Add("sum of squares", 4 * Count, () => Elementwise.SumOfSquares(workers, All(a)));
        timer.Add("adamw", 28 * Count, () => AdamW.Step(workers, coefficients, All(a), All(b), All(c), All(wide)));

        IReadOnlyList<(string Name, double Rate)> rates = timer.Measure();
        double copy = rates[0].Rate;
        foreach ((string name, double rate) in rates)
        {
            results.Add(new BenchResult($"{name} {Rows}x{Cols}, {KernelBenchmarks.Threads(workers)}", rate, Unit, copy, rate / copy));
        }
    }

    private static Span<float> All(NativeBuffer buffer) => KernelBenchmarks.All(buffer);
}
