using System.Globalization;
using MoeSharp.Model;
using MoeSharp.Training;
using MoeSharp.Training.Report;

namespace MoeSharp.Cli.Training;

/// <summary>Fills report.html and the result section of run.json of a run.</summary>
internal static class RunPage
{
    /// <summary>Writes both.</summary>
    public static void Write(RunFolder run, RunResult result, TrainingSession session, RunScreen screen)
    {
        run.Description["result"] = result.ToJson();
        run.Write();
        RunReport.Write(run.Path, new ReportContent
        {
            Title = Path.GetFileName(Path.TrimEndingDirectorySeparator(run.Path)),
            Subtitle = Describe(session.Model.Config),
            Tiles = Tiles(result, screen.PeakGflops),
            Runs = [new ReportRun("this run", [.. MetricsLog.Read(run.Path)]) { Loads = [.. LoadLog.Read(run.Path)] }],
            Baselines = BaselinesOf(result),
            Samples = result.Samples,
            Commands = [result.NextCommand, TypedCommand.Of("train", "--resume", run.Path)],
        });
    }

    /// <summary>One line about a model.</summary>
    public static string Describe(ModelConfig config)
    {
        ParameterCounts parameters = ModelSize.Of(config).Parameters;
        string experts = config.Moe is { } moe
            ? string.Create(CultureInfo.InvariantCulture, $"{moe.NumSharedExperts} shared + {moe.TopK} of {moe.NumExperts} routed experts of width {moe.IntermediateSize}")
            : string.Create(CultureInfo.InvariantCulture, $"dense feed-forward of width {config.IntermediateSize}");
        return string.Create(CultureInfo.InvariantCulture, $"{config.NumHiddenLayers} layers, hidden size {config.HiddenSize}, {experts}; {parameters.Total / 1e6:0.##}M parameters, {parameters.Activated / 1e6:0.##}M activated");
    }

    /// <summary>Headline figures.</summary>
    public static List<ReportTile> Tiles(RunResult result, double peakGflops)
    {
        List<ReportTile> tiles = [];
        if (result.State.Validation is { } validation)
        {
            tiles.Add(new ReportTile(RunScreen.Fixed(validation.BitsPerByte, 3), "bits per byte of held-out text"));
            tiles.Add(new ReportTile(RunScreen.Fixed(result.Baselines.BigramBitsPerByte, 3), "bits per byte of the bigram baseline"));
            tiles.Add(new ReportTile(RunScreen.Fixed(result.Baselines.UnigramBitsPerByte, 3), "bits per byte of the unigram baseline"));
        }

        tiles.Add(new ReportTile(TrainingFigures.Count(result.State.Tokens), $"tokens in {TrainingFigures.Count(result.State.Step)} steps"));
        tiles.Add(new ReportTile(TrainingFigures.Count(result.TokensPerSecond), "tokens per second"));
        tiles.Add(new ReportTile(RunScreen.Fixed(peakGflops, 0), "GFLOP/s measured FMA peak of this machine"));
        return tiles;
    }

    /// <summary>The baselines as lines of a chart.</summary>
    public static List<ReportBaseline> BaselinesOf(RunResult result) =>
        [new ReportBaseline("unigram", result.Baselines.UnigramBitsPerByte), new ReportBaseline("bigram", result.Baselines.BigramBitsPerByte)];
}
