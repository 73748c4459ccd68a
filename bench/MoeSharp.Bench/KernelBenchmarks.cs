using MoeSharp.Kernels;

namespace MoeSharp.Bench;

/// <summary>Speed of the matrix products.</summary>
/// <remarks>
/// Dense products are compared with the measured multiply-add peak of the same threads. Grouped products (64 experts, 4096 tokens,
/// 6 experts each; the forward gathers its rows) are compared with one dense product of the same operations in the same run: the
/// two forward products of all rows with a single expert's weights. Routing is balanced or Zipf (largest expert 8 times the mean).
/// </remarks>
public static class KernelBenchmarks
{
    private const int NumExperts = 64;
    private const int Tokens = 4096;
    private const int TopK = 6;
    private const double ZipfExponent = 0.75; // largest of 64 experts then has 8 times the mean load
    private const string Unit = "GFLOP/s";

    /// <summary>Dense products and experts of hidden size 512.</summary>
    public static IReadOnlyList<BenchResult> Run(int threads)
    {
        List<BenchResult> results = [];
        foreach (int count in threads == 1 ? [1] : new[] { 1, threads })
        {
            using WorkerPool workers = new(count);
            MeasureDense(workers, results);
        }

        using WorkerPool all = new(threads);
        foreach (int intermediate in new[] { 128, 176, 352 })
        {
            MeasureGrouped(all, 512, intermediate, results);
        }

        return results;
    }

    /// <summary>Experts of hidden size 2048; needs about 5 GB of memory.</summary>
    public static IReadOnlyList<BenchResult> RunLarge(int threads)
    {
        List<BenchResult> results = [];
        using WorkerPool workers = new(threads);
        MeasureGrouped(workers, 2048, 1408, results);
        return results;
    }

    private static void MeasureDense(WorkerPool workers, List<BenchResult> results)
    {
        foreach ((int m, int n, int k) in new[] { (4096, 1536, 512), (4096, 512, 1408), (1024, 8192, 512), (512, 512, 512), (16, 1536, 512), (1, 1536, 512) })
        {
            using NativeBuffer a = Filled((long)m * k), b = Filled((long)n * k), c = Filled((long)m * n);
            Interleaved timer = new(workers);
            double operations = 2.0 * m * n * k;
            timer.Add($"matmul NT {m}x{n}x{k}", operations, () => MatMul.NT(workers, m, n, k, All(a), k, All(b), k, All(c), n, false));
            timer.Add($"matmul NN {m}x{n}x{k}", operations, () => MatMul.NN(workers, m, n, k, All(a), k, All(b), n, All(c), n, false));
            timer.Add($"matmul TN {m}x{n}x{k}", operations, () => MatMul.TN(workers, m, n, k, All(a), m, All(b), n, All(c), n, false));
            foreach ((string name, double gflops) in timer.Measure())
            {
                results.Add(new BenchResult($"{name}, {Threads(workers)}", gflops, Unit, timer.Peak, gflops / timer.Peak));
            }
        }
    }

    private static void MeasureGrouped(WorkerPool workers, int hidden, int intermediate, List<BenchResult> results)
    {
        int rows = Tokens * TopK;
        int gateUp = 2 * intermediate;
        using NativeBuffer x = Filled((long)Tokens * hidden), w1 = Filled((long)NumExperts * gateUp * hidden), w2 = Filled((long)NumExperts * intermediate * hidden);
        using NativeBuffer h = Filled((long)rows * gateUp), y = Filled((long)rows * intermediate), o = Filled((long)rows * hidden);
        double up = 2.0 * rows * gateUp * hidden;
        double down = up / 2;
        Interleaved timer = new(workers);
        timer.Add("dense", up + down, () =>
        {
            MatMul.NT(workers, rows, gateUp, hidden, All(o), hidden, All(w1), hidden, All(h), gateUp, false);
            MatMul.NT(workers, rows, hidden, intermediate, All(y), intermediate, All(w2), intermediate, All(o), hidden, false);
        });
        foreach ((string routing, int[] offsets) in new[] { ("balanced", Offsets(rows, 0)), ("Zipf", Offsets(rows, ZipfExponent)) })
        {
            int[] tokens = GatheredTokens(offsets);
            timer.Add($"forward {routing}", up + down, () =>
            {
                GroupedMatMul.NT(workers, offsets, gateUp, hidden, All(x), hidden, tokens, All(w1), All(h), gateUp);
                GroupedMatMul.NT(workers, offsets, hidden, intermediate, All(y), intermediate, default, All(w2), All(o), hidden);
            });
            timer.Add($"backward {routing}", 2 * (up + down), () =>
            {
                GroupedMatMul.NN(workers, offsets, intermediate, hidden, All(x), hidden, tokens, All(w2), All(y), intermediate);
                GroupedMatMul.TN(workers, offsets, hidden, intermediate, All(x), hidden, tokens, All(y), intermediate, default, All(w2), true);
                GroupedMatMul.NN(workers, offsets, hidden, gateUp, All(h), gateUp, default, All(w1), All(o), hidden);
                GroupedMatMul.TN(workers, offsets, gateUp, hidden, All(h), gateUp, default, All(x), hidden, tokens, All(w1), true);
            });
        }

        IReadOnlyList<(string Name, double Gflops)> rates = timer.Measure();
        double dense = rates[0].Gflops;
        string shape = $"{hidden}x{intermediate}";
        results.Add(new BenchResult($"dense {shape}, {Threads(workers)}", dense, Unit, timer.Peak, dense / timer.Peak));
        foreach ((string name, double gflops) in rates.Skip(1))
        {
            results.Add(new BenchResult($"experts {shape} {name}, {Threads(workers)}", gflops, Unit, dense, gflops / dense));
        }
    }

    /// <summary>Offsets of groups whose loads fall as rank^-exponent, in shuffled order; 0 is uniform random routing.</summary>
    private static int[] Offsets(int rows, double exponent)
    {
        Random random = new(1);
        double[] shares = [.. Enumerable.Range(1, NumExperts).Select(rank => Math.Pow(rank, -exponent))];
        random.Shuffle(shares);
        double sum = shares.Sum();
        int[] offsets = new int[NumExperts + 1];
        for (int row = 0; row < rows; row++)
        {
            double at = random.NextDouble() * sum;
            int expert = 0;
            while (expert < NumExperts - 1 && at >= shares[expert])
            {
                at -= shares[expert++];
            }

            offsets[expert + 1]++;
        }

        for (int expert = 0; expert < NumExperts; expert++)
        {
            offsets[expert + 1] += offsets[expert];
        }

        return offsets;
    }

    /// <summary>Tokens of each group in ascending order, as dispatch gives them.</summary>
    private static int[] GatheredTokens(int[] offsets)
    {
        Random random = new(2);
        int[] tokens = new int[offsets[^1]];
        for (int expert = 0; expert < NumExperts; expert++)
        {
            Span<int> group = tokens.AsSpan(offsets[expert]..offsets[expert + 1]);
            foreach (ref int token in group)
            {
                token = random.Next(Tokens);
            }

            group.Sort();
        }

        return tokens;
    }

    internal static NativeBuffer Filled(long length)
    {
        NativeBuffer buffer = new(length);
        Span<float> values = All(buffer);
        for (int index = 0; index < values.Length; index++)
        {
            values[index] = (index * 7919 % 1000 / 1000f) - 0.5f;
        }

        return buffer;
    }

    internal static Span<float> All(NativeBuffer buffer) => buffer.Slice(0, checked((int)buffer.Length));

    internal static string Threads(WorkerPool workers) => workers.Workers == 1 ? "1 thread" : $"{workers.Workers} threads";
}
