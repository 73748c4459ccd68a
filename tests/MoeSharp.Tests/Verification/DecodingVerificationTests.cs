using MoeSharp.Kernels;
using MoeSharp.Verification;

namespace MoeSharp.Tests.Verification;

public sealed class DecodingVerificationTests : IDisposable
{
    private readonly WorkerPool _workers = new(1);
    private readonly string _folder = Directory.CreateTempSubdirectory("moe-decode-").FullName;

    [Fact]
    public void Rows_that_decode_to_their_values_pass_and_one_bit_fails()
    {
        WriteRows("bf16", [0x80, 0x3F, 0x00, 0xC0], [1f, -2f]); // the upper halves of 1 and -2
        Assert.True(FixtureVerifier.Verify(_folder, null, _workers).Passed);
        WriteRows("bf16", [0x81, 0x3F, 0x00, 0xC0], [1f, -2f]);
        VerificationReport report = FixtureVerifier.Verify(_folder, null, _workers);
        Assert.False(report.Passed);
        Assert.Equal(("bf16", 1.0), (report.Checks[0].Name, report.Checks[0].Observed));
    }

    [Fact]
    public void An_unknown_format_is_a_failure()
    {
        WriteRows("q99", [0, 0], [0f]);
        Assert.False(FixtureVerifier.Verify(_folder, null, _workers).Passed);
    }

    [Theory]
    [InlineData("[")]
    [InlineData("{}")]
    [InlineData("[{\"kind\": \"bf16\"}]")]
    [InlineData("[{\"type\": \"nowhere\"}]")]
    public void A_damaged_index_is_a_failure_that_names_the_file(string index)
    {
        File.WriteAllText(Path.Combine(_folder, "index.json"), index);
        Assert.Contains("index.json", FixtureVerifier.Verify(_folder, null, _workers).Failure, StringComparison.Ordinal);
    }

    [Fact]
    public void A_folder_above_fixtures_names_them_all_and_others_name_themselves()
    {
        string[] inner = [Path.Combine(_folder, "b"), Path.Combine(_folder, "a", "deep")];
        foreach (string folder in inner)
        {
            Directory.CreateDirectory(folder);
            File.WriteAllText(Path.Combine(folder, "index.json"), "[]");
        }

        Assert.Equal([inner[1], inner[0]], FixtureVerifier.Folders(_folder));
        Assert.Equal([inner[0]], FixtureVerifier.Folders(inner[0]));
        Assert.Equal(["nowhere"], FixtureVerifier.Folders("nowhere"));
    }

    [Fact]
    public void Logits_are_told_apart_by_distance_divergence_and_choice()
    {
        LogitDistance same = LogitDistance.Of([0f, 1f, 2f, 0f], [0f, 1f, 2f, 0f], 2);
        Assert.Equal((0.0, 0.0, 0, 0.0, 2), (same.MaxAbsolute, same.MeanDivergence, same.NumOtherChoices, same.LargestShortfall, same.NumRows));

        // Row 1: softmax(0, ln 3) = (1/4, 3/4) for the expected (3/4, 1/4).
        float log3 = MathF.Log(3f);
        LogitDistance other = LogitDistance.Of([0f, 1f, 0f, log3], [0f, 1f, log3, 0f], 2);
        Assert.Equal(log3, other.MaxAbsolute, 1e-6);
        Assert.Equal(0.5 * ((0.75 * Math.Log(3)) - (0.25 * Math.Log(3))), other.MeanDivergence, 1e-6);
        Assert.Equal((1, 2), (other.NumOtherChoices, other.NumRows));
        Assert.Equal(log3, other.LargestShortfall, 1e-6);

        Assert.Equal(double.PositiveInfinity, LogitDistance.Of([float.NaN, 1f], [0f, 1f], 2).MaxAbsolute);
    }

    public void Dispose()
    {
        _workers.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    private void WriteRows(string format, byte[] stored, float[] values)
    {
        File.WriteAllText(Path.Combine(_folder, "index.json"), $"[{{\"type\": \"{format}\"}}]");
        File.WriteAllBytes(Path.Combine(_folder, format + ".bin"), stored);
        File.WriteAllBytes(Path.Combine(_folder, format + ".f32"), [.. values.SelectMany(BitConverter.GetBytes)]);
    }
}
