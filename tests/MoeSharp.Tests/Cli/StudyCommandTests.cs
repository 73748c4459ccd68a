using System.Text.Json;

namespace MoeSharp.Tests.Cli;

public sealed class StudyCommandTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("moe-study").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void A_run_is_studied_to_a_page_and_figures()
    {
        File.WriteAllLines(Path.Combine(_folder, "text.jsonl"), Enumerable.Range(0, 60).Select(i => $"{{\"text\": \"Line {i} says that {i} and {i} make {i + i}.\", \"domain\": \"{(i % 2 == 0 ? "even" : "odd")}\"}}"));
        MoeOutcome trained = MoeProcess.Run(_folder, "train", "--data", "text.jsonl", "--out", "run", "--steps", "2", "--preset", "nano", "--threads", "1", "--vocab-size", "300", "--set", "batch.tokens=256", "--set", "batch.sequence_length=64", "--set", "checkpoint.every_steps=1", "--set", "model.n_routed_experts=5", "--set", "model.hidden_size=32", "--json");
        Assert.True(trained.ExitCode == 0, trained.Error);
        MoeOutcome outcome = MoeProcess.Run(_folder, "study", "run", "--data", "text.jsonl", "--out", "study", "--ratios", "1/5", "--facts", "2", "--off", "1:0", "--json", "--threads", "1");
        Assert.True(outcome.ExitCode == 0, outcome.Error);
        using JsonDocument json = JsonDocument.Parse(outcome.Output);
        Assert.Equal(["even", "odd"], json.RootElement.GetProperty("domains").EnumerateArray().Select(domain => domain.GetProperty("name").GetString()));
        Assert.True(json.RootElement.GetProperty("loss").GetDouble() > 0);
        Assert.True(json.RootElement.GetProperty("fewer").GetArrayLength() > 1);
        Assert.Equal(2, json.RootElement.GetProperty("facts").GetProperty("questions").GetInt32());
        Assert.Equal(1, json.RootElement.GetProperty("router_saturation").EnumerateArray().Last().GetProperty("mean").GetDouble());
        Assert.Contains("</html>", File.ReadAllText(Path.Combine(_folder, "study/report.html")), StringComparison.Ordinal);
        Assert.True(File.Exists(Path.Combine(_folder, "study/study.json")));
        string report = File.ReadAllText(Path.Combine(_folder, "run/report.html"));
        MoeOutcome refused = MoeProcess.Run(_folder, "study", "run", "--data", "text.jsonl", "--out", "run");
        Assert.Equal(2, refused.ExitCode);
        Assert.Contains("holds a run", refused.Error, StringComparison.Ordinal);
        Assert.Equal(report, File.ReadAllText(Path.Combine(_folder, "run/report.html")));
    }

    [Theory]
    [InlineData("cannot be created", "--out", "ids.json")]
    [InlineData("--off: layer 1 has 12 experts", "--off", "1:0-11")]
    public void What_no_study_can_do_is_told_and_leaves_no_figures(string expected, params string[] arguments)
    {
        File.WriteAllText(Path.Combine(_folder, "ids.json"), "[[1, 2, 3, 4], [5, 6, 7]]");
        MoeOutcome outcome = MoeProcess.Run(_folder, ["study", Path.Combine(AppContext.BaseDirectory, "Fixtures", "hf", "deepseek"), "--ids", "ids.json", "--threads", "1", .. arguments]);

        Assert.Equal(2, outcome.ExitCode);
        Assert.Contains(expected, outcome.Error, StringComparison.Ordinal);
        Assert.Empty(Directory.EnumerateFiles(_folder, "study.json", SearchOption.AllDirectories));
    }

    [Theory]
    [InlineData("--ratios 2", "--data", "embedded", "--ratios", "2")]
    [InlineData("--ratios x/y", "--data", "embedded", "--ratios", "x/y")]
    [InlineData("--tokens 0", "--data", "embedded", "--tokens", "0")]
    [InlineData("--off 3 is not understood", "--data", "embedded", "--off", "3")]
    [InlineData("one of them", "--tokens", "5")]
    [InlineData("does not exist", "--data", "embedded")]
    public void Mistakes_are_told_in_one_line(string expected, params string[] arguments)
    {
        MoeOutcome outcome = MoeProcess.Run(_folder, ["study", "nowhere", .. arguments]);
        Assert.Equal(2, outcome.ExitCode);
        Assert.Contains(expected, outcome.Error, StringComparison.Ordinal);
        Assert.Single(outcome.Error.Trim().Split('\n'));
    }
}
