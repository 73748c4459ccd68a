using System.Text.Json;
using MoeSharp.Checkpoints;
using MoeSharp.Execution;
using MoeSharp.Inference;
using MoeSharp.Kernels;
using MoeSharp.Kernels.Quantized;
using MoeSharp.Model;
using MoeSharp.Tensors;

namespace MoeSharp.Tests.Checkpoints;

/// <summary>GGUF files of every architecture against logits that another program computed from the same file; read in place from the folder in MOE_FIXTURES.</summary>
public sealed class GgufModelTests
{
    private const float Tolerance = 5e-5f; // float32 against float64, see the README beside the files

    [Theory]
    [InlineData("deepseek", "f32")]
    [InlineData("deepseek", "native")]
    [InlineData("deepseek2", "f32")]
    [InlineData("deepseek2", "native")]
    [InlineData("deepseek2-legacy-kvb", "f32")]
    [InlineData("deepseek2-yarn", "f32")]
    [InlineData("deepseek2-v3like", "f32")]
    [InlineData("qwen2moe", "f32")]
    [InlineData("mixtral", "f32")]
    [InlineData("olmoe", "f32")]
    [InlineData("qwen3moe", "f32")]
    [InlineData("deepseek-q8_0", "f32")]
    [InlineData("deepseek-q4_0", "f32")]
    [InlineData("deepseek-q4_k_m", "f32")]
    [InlineData("deepseek-q8_0", "native")]
    [InlineData("deepseek-q4_0", "native")]
    [InlineData("deepseek-q4_k_m", "native")]
    public void Logits_are_those_of_the_file(string name, string weights)
    {
        using ModelFiles files = ModelFiles.Open(Fixture(name, "model.gguf"));
        using LanguageModel model = files.Load(new LoadOptions { Weights = WeightTarget.Parse(weights), Threads = 2 }, TestContext.Current.CancellationToken);
        model.Activations = ActivationPrecision.Float32;
        (float largest, int argmax, int rows) = Compare(Logits(model, Tokens(name)), Expected(name, "logits.f32"), model.Config.VocabSize);

        Assert.True(largest <= Tolerance, $"{name}: the largest difference is {largest}");
        Assert.Equal(rows, argmax);
    }

    [Theory]
    [InlineData("deepseek-q8_0")]
    [InlineData("deepseek-q4_0")]
    [InlineData("deepseek-q4_k_m")]
    public void The_files_own_formats_hold_the_same_numbers_as_float32(string name)
    {
        using ModelFiles files = ModelFiles.Open(Fixture(name, "model.gguf"));
        using LanguageModel plain = files.Load(new LoadOptions { Threads = 2 }, TestContext.Current.CancellationToken);
        using LanguageModel native = files.Load(new LoadOptions { Weights = WeightTarget.Native, Threads = 2 }, TestContext.Current.CancellationToken);

        Assert.Contains(native.Parameters, parameter => parameter.Packed is not null);
        foreach ((Parameter wide, Parameter packed) in plain.Parameters.Zip(native.Parameters))
        {
            Assert.Equal(wide.Value.ToArray(), Values(packed));
        }
    }

    internal static float[] Values(Parameter parameter)
    {
        if (parameter.Packed is not { } matrix)
        {
            return parameter.Value.ToArray();
        }

        float[] values = new float[parameter.Shape.Length];
        for (int row = 0; row < matrix.Groups * matrix.Rows; row++)
        {
            matrix.DecodeRow(row / matrix.Rows, row % matrix.Rows, values.AsSpan(row * matrix.Columns, matrix.Columns));
        }

        return values;
    }

    internal static float[] Logits(LanguageModel model, int[] tokens)
    {
        using WorkerPool workers = new(2);
        using ForwardContext context = new(workers);
        TokenBatch batch = new();
        batch.Resize(tokens.Length, tokens.Length);
        batch.AddSegment(new AttentionSegment(0, tokens.Length, 0, tokens.Length), 0);
        tokens.CopyTo(batch.TokenIds);
        float[] logits = new float[tokens.Length * model.Config.VocabSize];
        model.Logits(batch, tokens.Length, logits, context);
        return logits;
    }

    internal static int[] Tokens(string name) => JsonSerializer.Deserialize<int[]>(File.ReadAllText(Fixture(name, "tokens.json")))!;

    internal static float[] Expected(string name, string file)
    {
        byte[] bytes = File.ReadAllBytes(Fixture(name, file));
        float[] values = new float[bytes.Length / sizeof(float)];
        NumberFormats.ReadFloat32(bytes, values);
        return values;
    }

    internal static (float Largest, int EqualBest, int Rows) Compare(float[] actual, float[] expected, int vocab)
    {
        Assert.Equal(expected.Length, actual.Length);
        float largest = 0;
        int equal = 0;
        for (int row = 0; row < actual.Length / vocab; row++)
        {
            ReadOnlySpan<float> left = actual.AsSpan(row * vocab, vocab), right = expected.AsSpan(row * vocab, vocab);
            for (int i = 0; i < vocab; i++)
            {
                largest = float.IsNaN(left[i]) ? float.NaN : Math.Max(largest, Math.Abs(left[i] - right[i]));
            }

            equal += Best(left) == Best(right) ? 1 : 0;
        }

        return (largest, equal, actual.Length / vocab);
    }

    internal static string Fixture(string name, string file)
    {
        string? root = Environment.GetEnvironmentVariable("MOE_FIXTURES");
        if (root is null || !Directory.Exists(Path.Combine(root, "llamacpp")))
        {
            Assert.Skip("MOE_FIXTURES is not set, or names no folder with llamacpp/");
        }

        return Path.Combine(root, "llamacpp", name, file);
    }

    private static int Best(ReadOnlySpan<float> row)
    {
        int best = 0;
        for (int i = 1; i < row.Length; i++)
        {
            best = row[i] > row[best] ? i : best;
        }

        return best;
    }
}
