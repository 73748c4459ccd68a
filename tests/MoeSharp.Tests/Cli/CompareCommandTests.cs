using System.Diagnostics;
using System.Text.Json;
using MoeSharp.Tests.Training.Comparison;

namespace MoeSharp.Tests.Cli;

public sealed class CompareCommandTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("moe-compare-cli").FullName;

    public CompareCommandTests() => File.WriteAllText(Path.Combine(_folder, "tiny.json"), TinyComparison.Json);

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Json_is_one_document_and_the_reports_are_written()
    {
        MoeOutcome outcome = MoeProcess.Run(_folder, "compare", "tiny.json", "--json", "--jobs", "2");

        Assert.Equal((0, ""), (outcome.ExitCode, outcome.Error));
        using JsonDocument document = JsonDocument.Parse(outcome.Output);
        Assert.Equal(4, document.RootElement.GetProperty("finished").GetInt32());
        Assert.True(File.Exists(Path.Combine(_folder, "runs/compare-tiny/report.html")));
        Assert.True(File.Exists(Path.Combine(_folder, "runs/compare-tiny/report.md")));
        MoeOutcome study = MoeProcess.Run(_folder, "study", "runs/compare-tiny/runs/pair-6-two-s2", "--data", "pair", "--tokens", "200", "--statistics-only", "--json");
        Assert.True(study.ExitCode == 0, study.Error);
        using JsonDocument studied = JsonDocument.Parse(study.Output);
        Assert.Equal([0L, 1, 2, 3, 4, 5, 6], studied.RootElement.GetProperty("router_saturation").EnumerateArray().Select(point => point.GetProperty("step").GetInt64()));
    }

    [Fact]
    public void Parts_of_the_table_can_be_asked_for_and_come_together()
    {
        MoeOutcome first = MoeProcess.Run(_folder, "compare", "tiny.json", "--json", "--only", "one", "--seeds", "2-3", "--out", "here");
        MoeOutcome second = MoeProcess.Run(_folder, "compare", "tiny.json", "--seeds", "2,3", "--out", "here");

        Assert.Contains("\"finished\":2", first.Output, StringComparison.Ordinal);
        Assert.Equal(0, second.ExitCode);
        Assert.Contains("Paired differences", second.Output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("absent.json", "there is no experiment absent.json")]
    [InlineData("tiny.json --only three", "there is no such architecture")]
    [InlineData("tiny.json --seeds 5-2", "neither a number nor a range")]
    [InlineData("tiny.json --steps 0", "at least 1 step")]
    [InlineData("tiny.json --jobs 0", "--jobs 0")]
    public void Wrong_input_is_told_in_one_message(string arguments, string expected)
    {
        MoeOutcome outcome = MoeProcess.Run(_folder, ["compare", .. arguments.Split(' ')]);

        Assert.Equal(2, outcome.ExitCode);
        Assert.Contains(expected, outcome.Error, StringComparison.Ordinal);
        Assert.DoesNotContain(" at ", outcome.Error.Split('\n')[^1], StringComparison.Ordinal);
    }

    [Fact]
    public void Runs_that_do_not_fit_memory_are_refused()
    {
        string json = TinyComparison.Json.Replace("\"hidden_size\": 16", "\"hidden_size\": 1048576", StringComparison.Ordinal).Replace("\"title\": \"One of two\"", "\"matches\": \"nothing\"", StringComparison.Ordinal);
        File.WriteAllText(Path.Combine(_folder, "huge.json"), json); // some 70 TB
        MoeOutcome outcome = MoeProcess.Run(_folder, "compare", "huge.json", "--jobs", "2");

        Assert.Equal(2, outcome.ExitCode);
        Assert.Contains("2 run(s) at once need up to", outcome.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void An_interrupt_saves_and_the_same_command_goes_on()
    {
        MoeProcess.SkipUnlessInterruptible();
        using Process process = MoeProcess.Start(_folder, "compare", "tiny.json", "--steps", "2500", "--seeds", "2", "--jobs", "2");
        string metrics = Path.Combine(_folder, "runs/compare-tiny/runs/pair-2500-one-s2/metrics.jsonl");
        for (int wait = 0; wait < 600 && !(File.Exists(metrics) && new FileInfo(metrics).Length > 0); wait++)
        {
            Thread.Sleep(50); // until it trains
        }

        MoeProcess.Interrupt(process);
        MoeOutcome outcome = MoeProcess.Finish(process);

        Assert.Equal(130, outcome.ExitCode);
        Assert.Contains("then saving", outcome.Error, StringComparison.Ordinal);
        Assert.True(Directory.Exists(Path.Combine(_folder, "runs/compare-tiny/runs/pair-2500-one-s2/checkpoints")));
        MoeOutcome next = MoeProcess.Run(_folder, "compare", "tiny.json", "--steps", "2500", "--seeds", "2", "--jobs", "2");
        Assert.Equal(0, next.ExitCode);
        Assert.Contains("goes on from step", next.Output, StringComparison.Ordinal);
    }
}
