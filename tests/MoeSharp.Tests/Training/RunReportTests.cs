using System.Text.Json;
using System.Text.RegularExpressions;
using System.Xml;
using MoeSharp.Training;
using MoeSharp.Training.Report;

namespace MoeSharp.Tests.Training;

public sealed partial class RunReportTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("moe-report").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Page_holds_curves_loads_samples_and_tables()
    {
        string page = RunReport.Build(Content());

        Assert.Contains("bits per byte", page, StringComparison.Ordinal);
        Assert.Contains("Expert balance loss", page, StringComparison.Ordinal);
        Assert.Contains("bigram", page, StringComparison.Ordinal);
        Assert.Contains("layer 2, expert 1: 0 x the mean", page, StringComparison.Ordinal);
        Assert.Contains("The tower of", page, StringComparison.Ordinal);
        Assert.Contains("moe generate --model", page, StringComparison.Ordinal);
        Assert.DoesNotContain("Device balance loss", page, StringComparison.Ordinal); // off, so no empty chart
    }

    [Fact]
    public void Ticks_between_neighbouring_numbers_end()
    {
        Assert.Equal([1.0], LineChart.Ticks(1, Math.BitIncrement(1.0))); // no step fits between them
        Assert.Equal([0, 0.2, 0.4, 0.6, 0.8, 1], LineChart.Ticks(0, 1).Select(tick => Math.Round(tick, 9)));
    }

    [Fact]
    public void Page_asks_nothing_from_the_network() => Assert.DoesNotMatch(Loads(), RunReport.Build(Content()));

    [Fact]
    public void Text_of_a_model_cannot_break_out_of_the_page()
    {
        string page = RunReport.Build(Content() with { Samples = [new ReportSample("d", "<script>alert(1)</script>", "\"><img src=x>\u0001")] });

        Assert.DoesNotContain("<script>alert", page, StringComparison.Ordinal);
        Assert.DoesNotContain("<img", page, StringComparison.Ordinal);
        Assert.DoesNotContain('\u0001', page);
    }

    [Fact]
    public void Every_picture_is_well_formed()
    {
        MatchCollection pictures = Pictures().Matches(RunReport.Build(Content()));

        Assert.True(pictures.Count >= 6, $"{pictures.Count} pictures");
        foreach (Match picture in pictures)
        {
            new XmlDocument().LoadXml(picture.Value);
        }
    }

    [Fact]
    public void A_run_without_a_step_has_a_page_too() =>
        Assert.Contains("</html>", RunReport.Build(new ReportContent { Title = "t", Subtitle = "s", Runs = [new ReportRun("MoE", [])] }), StringComparison.Ordinal);

    [Fact]
    public void Writing_replaces_the_page_before()
    {
        RunReport.Write(_folder, Content());
        RunReport.Write(_folder, Content() with { Title = "second" });

        Assert.Contains("<h1>second</h1>", File.ReadAllText(Path.Combine(_folder, RunReport.FileName)), StringComparison.Ordinal);
        Assert.Single(Directory.GetFiles(_folder, "report*"));
    }

    [Theory]
    [InlineData(0, 10, "0 2 4 6 8 10")]
    [InlineData(1.3, 2.1, "1.4 1.6 1.8 2")]
    [InlineData(-1, 1, "-1 -0.5 0 0.5 1")]
    public void Ticks_are_round(double min, double max, string expected) =>
        Assert.Equal(expected, string.Join(' ', LineChart.Ticks(min, max).Select(LineChart.Number)));

    private ReportContent Content()
    {
        using (LoadLog loads = new(_folder, 0))
        using (MetricsLog log = new(_folder, 0))
        {
            LoadTable load = new();
            load.Add(MetricsLogTests.Routing([3, 1], [4, 0]));
            for (int step = 1; step <= 900; step++)
            {
                log.Step(MetricsLogTests.Metrics(step) with { Loss = 1 + (4.0 / step) }, 100);
                if (step % 100 == 0)
                {
                    log.Validation(new ValidationResult(step, step * 100, 1, 1.5 + (1.0 / step), 10));
                    loads.Write(step, step * 100, load);
                }
            }
        }

        JsonElement[] lines = [.. MetricsLog.Read(_folder)];
        return new ReportContent
        {
            Title = "A run",
            Subtitle = "small model",
            Tiles = [new ReportTile("1.42", "bits per byte")],
            Findings = ["The experts bought 0.1 bits per byte."],
            Runs = [new ReportRun("DeepSeekMoE", lines) { Loads = [.. LoadLog.Read(_folder)] }, new ReportRun("dense", lines)],
            Baselines = [new ReportBaseline("unigram", 4.5), new ReportBaseline("bigram", 3.2)],
            Samples = [new ReportSample("facts", "The tower of", " Alvorn is 90 metres high.")],
            Tables = [new ReportTable("Tokens", "by lift", ["expert#", "tokens"], [["3", " the"]])],
            Commands = ["moe generate --model runs/a --prompt \"The\""],
        };
    }

    [GeneratedRegex("(src|href)=|url\\(|@import|https?://|fetch\\(", RegexOptions.None)]
    private static partial Regex Loads();

    [GeneratedRegex("<svg.*?</svg>", RegexOptions.Singleline)]
    private static partial Regex Pictures();
}
