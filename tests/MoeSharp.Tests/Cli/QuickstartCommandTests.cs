using System.Text.Json;
using MoeSharp.Cli.Training;
using MoeSharp.Model;
using MoeSharp.Training;

namespace MoeSharp.Tests.Cli;

public sealed class QuickstartCommandTests
{
    [Fact]
    public void The_dense_companion_has_the_same_activated_feed_forward()
    {
        ModelConfig moe = TrainingConfigJson.Load("quickstart", null, []).Model!;
        ModelConfig dense = QuickstartRun.DenseOf(moe);
        long router = moe.NumHiddenLayers * (long)moe.Moe!.NumExperts * moe.HiddenSize;

        Assert.Null(dense.Moe);
        Assert.Equal(ModelSize.Of(moe).Parameters.Activated - router, ModelSize.Of(dense).Parameters.Activated);
    }

    [Fact]
    public void What_a_model_writes_cannot_steer_the_terminal() =>
        Assert.Equal("a\\nb\\t\\x1b[2J\\x9b\u6F22", WrittenSamples.OneLine("a\nb\t\u001b[2J\u009b\u6F22"));

    [Fact]
    public void The_proposed_prompt_is_one_line()
    {
        RunResult result = new("run", TrainingState.Start, default) { Samples = [new("", "one\n", ""), new("", "two words", "")] };
        Assert.EndsWith("--prompt \"two words\"", result.GenerateCommand, StringComparison.Ordinal);
    }

    [Fact]
    public void The_gain_is_told_with_its_sign()
    {
        PairedMeasurement Point(double moe, double moeSeconds, double dense, double denseSeconds) =>
            new(new ValidationResult(1, 1, 1, moe, 1), moeSeconds, new ValidationResult(1, 1, 1, dense, 1), denseSeconds);
        ExpertGain gain = ExpertGain.Of([Point(3, 5, 3.2, 4), Point(2.5, 10, 2.6, 8), Point(2, 15, 2.2, 12), Point(1.9, 20, 2.1, 16), Point(1.8, 22, 2.05, 18)]);

        Assert.Equal(0.25, gain.PerToken, 1e-9);
        Assert.Equal(22.0 / 18, gain.TimeRatio, 1e-9);
        Assert.Equal(13.5, gain.EqualSeconds!.Seconds, 1e-9); // three quarters of the dense model's 18 s
        Assert.Equal(2.5 - (0.5 * 0.7), gain.EqualSeconds.MoeBitsPerByte, 1e-9);
        Assert.Equal(2.2 - (0.1 * 0.375), gain.EqualSeconds.DenseBitsPerByte, 1e-9);
        Assert.Contains("save 0.250", gain.Sentences()[0], StringComparison.Ordinal);
        Assert.Contains("cost", (gain with { MoeBitsPerByte = 3 }).Sentences()[0], StringComparison.Ordinal);
        Assert.Contains("ahead", gain.Sentences()[1], StringComparison.Ordinal);
    }

    [Fact]
    [Trait("Category", "Slow")]
    public void A_quickstart_ends_with_comparison_texts_and_report()
    {
        string folder = Directory.CreateTempSubdirectory("moe-quickstart").FullName;
        MoeOutcome outcome = MoeProcess.Run(folder, "quickstart", "--steps", "6", "--out", "run", "--json");

        Assert.True(outcome.ExitCode == 0, outcome.Error);
        using JsonDocument json = JsonDocument.Parse(outcome.Output);
        JsonElement root = json.RootElement;
        Assert.Equal(root.GetProperty("tokens").GetInt64(), root.GetProperty("dense").GetProperty("tokens").GetInt64());
        Assert.Equal(6, root.GetProperty("samples").GetArrayLength());
        Assert.Contains("dense", File.ReadAllText(Path.Combine(folder, "run/report.html")), StringComparison.Ordinal);
        Directory.Delete(folder, recursive: true);
    }
}
