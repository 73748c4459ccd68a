using MoeSharp.Checkpoints;
using MoeSharp.Model;
using MoeSharp.Tensors;

namespace MoeSharp.Tests.Checkpoints;

/// <summary>GGUF files of other programs; read in place from the folder in MOE_FIXTURES.</summary>
public sealed class GgufModelTests
{
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

    private static float[] Values(Parameter parameter)
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

    internal static string Fixture(string name, string file)
    {
        string? root = Environment.GetEnvironmentVariable("MOE_FIXTURES");
        if (root is null || !Directory.Exists(Path.Combine(root, "llamacpp")))
        {
            Assert.Skip("MOE_FIXTURES is not set, or names no folder with llamacpp/");
        }

        return Path.Combine(root, "llamacpp", name, file);
    }
}
