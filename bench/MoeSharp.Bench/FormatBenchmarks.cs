using System.Diagnostics;
using MoeSharp.Kernels;
using MoeSharp.Kernels.Formats;

namespace MoeSharp.Bench;

/// <summary>Speed of quantising and of decoding, in float32 bytes of one thread; the limit is copying the same floats.</summary>
public static class FormatBenchmarks
{
    private const int Length = 1 << 18; // 1 MiB of floats: caches hold them, as they hold the rows of a tensor that is being converted
    private const int Repeats = 5;
    private const string Unit = "MB/s";

    /// <summary>Every format that is written.</summary>
    public static IReadOnlyList<BenchResult> Run()
    {
        float[] values = new float[Length];
        Random random = new(1);
        for (int i = 0; i < Length; i++)
        {
            values[i] = (float)(random.NextDouble() + random.NextDouble() + random.NextDouble() - 1.5);
        }

        float[] decoded = new float[Length];
        double copy = Best(() => values.CopyTo(decoded, 0));
        List<BenchResult> results = [];
        foreach (WeightFormat format in WeightFormats.All.Where(BlockEncoder.CanEncode))
        {
            byte[] blocks = new byte[format.RowBytes(Length)];
            double encode = Best(() => BlockEncoder.Encode(format, values, [], blocks));
            double decode = Best(() => BlockDecoder.Decode(format, blocks, decoded));
            results.Add(new BenchResult($"encode {format.Name()}", encode, Unit, copy, encode / copy));
            results.Add(new BenchResult($"decode {format.Name()}", decode, Unit, copy, decode / copy));
        }

        return results;
    }

    private static double Best(Action action)
    {
        double best = 0;
        for (int i = 0; i <= Repeats; i++)
        {
            Stopwatch watch = Stopwatch.StartNew();
            action();
            best = i == 0 ? 0 : Math.Max(best, Length * sizeof(float) / watch.Elapsed.TotalSeconds / 1e6); // the first one compiles
        }

        return best;
    }
}
