using System.Text.Json.Nodes;
using MoeSharp.Training;
using MoeSharp.Training.Comparison;

namespace MoeSharp.Tests.Training.Comparison;

public sealed class ComparisonRunnerTests : IDisposable
{
    private readonly TinyComparison _tiny = new();

    public void Dispose() => _tiny.Dispose();

    [Fact]
    public void All_runs_are_made_and_the_same_alone_as_two_at_once()
    {
        ComparisonPlan plan = _tiny.Plan();
        Assert.True(Run(plan, "one", jobs: 1));
        Assert.True(Run(plan, "two", jobs: 2));

        double[] alone = Scores(plan, "one");
        Assert.Equal(4, alone.Length);
        Assert.Equal(alone, Scores(plan, "two"));
        Assert.All(ComparisonRunner.ReadFinished(plan, Path.Combine(_tiny.Folder, "one")), outcome => Assert.Equal([2, 4, 6], outcome.Curve.Select(point => point.Step)));
    }

    [Fact]
    public void Interrupted_runs_go_on_and_end_as_if_nothing_had_happened()
    {
        ComparisonPlan plan = _tiny.Plan();
        Assert.True(Run(plan, "whole", jobs: 1));
        CountingView first = new(stopAfter: 9); // in the second run
        Assert.False(Run(plan, "parts", jobs: 1, first));
        Assert.Equal(9, first.Steps);
        CountingView second = new();
        Assert.True(Run(plan, "parts", jobs: 1, second));

        Assert.Equal(4 * 6, first.Steps + second.Steps); // nothing is repeated
        Assert.Contains("pair-6-one-s2 from 3", second.Events);
        Assert.DoesNotContain("pair-6-two-s2 finished", second.Events);
        Assert.Equal(Scores(plan, "whole"), Scores(plan, "parts"));
        Assert.Equal(Saturation(plan, "whole"), Saturation(plan, "parts"));
    }

    [Fact]
    public void Saturation_of_the_routers_is_kept_and_changes_nothing_else()
    {
        ComparisonPlan plan = _tiny.Plan();
        ComparisonPlan without = _tiny.Plan(TinyComparison.Json.Replace("\"reference\"", "\"history\": [], \"reference\"", StringComparison.Ordinal));
        Run(plan, "with", jobs: 2);
        Run(without, "without", jobs: 2);

        IReadOnlyList<RunOutcome> outcomes = ComparisonRunner.ReadFinished(plan, Path.Combine(_tiny.Folder, "with"));
        Assert.All(outcomes, outcome =>
        {
            Assert.Equal([0L, 1, 2, 3, 4, 5, 6], outcome.Saturation.Select(point => point.Step)); // several shares fall into the first step
            Assert.Equal(1, outcome.Saturation[^1].Mean);
            Assert.All(outcome.Saturation, point => Assert.InRange(point.Mean, 0.01, 1));
            Assert.False(Directory.Exists(Path.Combine(ComparisonRunner.FolderOf(Path.Combine(_tiny.Folder, "with"), outcome.Run), "choices")));
        });
        Assert.Contains(outcomes, outcome => outcome.Saturation[0].Mean < 1);
        Assert.Equal(Scores(without, "without"), Scores(plan, "with"));
        Assert.All(ComparisonRunner.ReadFinished(without, Path.Combine(_tiny.Folder, "without")), outcome => Assert.Empty(outcome.Saturation));
        ComparisonResult result = new(plan, outcomes, [], 2);
        Assert.Contains("Router saturation", ComparisonReport.Page(result), StringComparison.Ordinal);
        Assert.Contains(ComparisonFindings.Conclusions(result), line => line.Contains("router saturation): Two of four ", StringComparison.Ordinal));
    }

    [Fact]
    public void Architectures_see_the_same_data_and_share_first_weights()
    {
        ComparisonPlan plan = _tiny.Plan();
        Run(plan, "runs", jobs: 2);

        Assert.Equal(FirstLoss(plan.Runs[0]), FirstLoss(plan.Runs[1]), 1); // close from the start: only the experts differ
        Assert.NotEqual(FirstLoss(plan.Runs[0]), FirstLoss(plan.Runs[2])); // another seed

        double FirstLoss(PlannedRun run) => MetricsLog.Read(ComparisonRunner.FolderOf(Path.Combine(_tiny.Folder, "runs"), run)).First().GetProperty("loss").GetDouble();
    }

    [Fact]
    public void A_changed_experiment_does_not_go_on_in_an_old_folder()
    {
        Run(_tiny.Plan(), "runs", jobs: 2);
        ComparisonPlan changed = _tiny.Plan(TinyComparison.Json.Replace("5e-3", "6e-3", StringComparison.Ordinal));

        string message = Assert.Throws<ConfigurationException>(() => Run(changed, "runs", jobs: 1)).Message;
        Assert.Contains("another configuration", message, StringComparison.Ordinal);
        Assert.Contains("--out", message, StringComparison.Ordinal);
    }

    [Fact]
    public void Finished_runs_on_another_corpus_are_no_results()
    {
        Run(_tiny.Plan(), "runs", jobs: 2);
        (string, string)[] changes = [("\"factors\": 1", "\"factors\": 1, \"factor_scale\": 0.5"), ("\"validation_lines\": 10", "\"validation_lines\": 11")]; // none changes a run's configuration
        foreach ((string text, string replacement) in changes)
        {
            ComparisonPlan changed = _tiny.Plan(TinyComparison.Json.Replace(text, replacement, StringComparison.Ordinal));
            Assert.Contains("other data", Assert.Throws<ConfigurationException>(() => ComparisonRunner.ReadFinished(changed, Path.Combine(_tiny.Folder, "runs"))).Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Damaged_measurements_of_a_finished_run_are_named()
    {
        ComparisonPlan plan = _tiny.Plan();
        Run(plan, "runs", jobs: 2);
        string metrics = Path.Combine(ComparisonRunner.FolderOf(Path.Combine(_tiny.Folder, "runs"), plan.Runs[0]), MetricsLog.FileName);
        File.AppendAllText(metrics, "{\"validation_regret\": 0.5}\n");

        Assert.Contains(metrics, Assert.Throws<FileFormatException>(() => ComparisonRunner.ReadFinished(plan, Path.Combine(_tiny.Folder, "runs"))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_hash_table_that_is_balanced_from_the_data_is_no_change_of_the_experiment()
    {
        const string Hash = "\"norm_topk_prob\": false, \"moesharp\": { \"router\": \"hash\", \"hash_table\": \"balanced\" } }, \"balance\": { \"expert_alpha\": 0 }";
        ComparisonPlan plan = _tiny.Plan(TinyComparison.Json.Replace("\"norm_topk_prob\": false }", Hash, StringComparison.Ordinal));

        Assert.True(Run(plan, "runs", jobs: 2));
        Assert.Equal(4, ComparisonRunner.ReadFinished(plan, Path.Combine(_tiny.Folder, "runs")).Count);
    }

    [Fact]
    public void A_run_without_a_later_versions_keys_is_the_same_run()
    {
        ComparisonPlan plan = _tiny.Plan();
        Run(plan, "runs", jobs: 2);
        string description = Path.Combine(ComparisonRunner.FolderOf(Path.Combine(_tiny.Folder, "runs"), plan.Runs[0]), RunFolder.DescriptionFile);
        JsonNode json = JsonNode.Parse(File.ReadAllText(description))!;
        Assert.True(json["config"]!["balance"]!.AsObject().Remove("z_loss_alpha"));
        File.WriteAllText(description, json.ToJsonString());

        Assert.Equal(4, ComparisonRunner.ReadFinished(plan, Path.Combine(_tiny.Folder, "runs")).Count);
    }

    [Fact]
    public void A_run_that_cannot_go_on_is_told_and_the_others_are_finished()
    {
        ComparisonPlan plan = _tiny.Plan(TinyComparison.Json.Replace("\"title\": \"One of two\"", "\"title\": \"One\", \"schedule\": { \"learning_rate\": 1e30 }", StringComparison.Ordinal));
        CountingView view = new();
        Assert.True(Run(plan, "runs", jobs: 2, view));

        Assert.Equal(2, view.Events.Count(line => line.Contains("-one-", StringComparison.Ordinal) && line.Contains("not finite", StringComparison.Ordinal)));
        Assert.Equal(2, ComparisonRunner.ReadFinished(plan, Path.Combine(_tiny.Folder, "runs")).Count);
    }

    [Fact]
    public void Text_takes_the_place_of_a_language()
    {
        const string Text = """{ "kind": "embedded", "bytes": 30000 } }, "unused": {""";
        string json = TinyComparison.Json
            .Replace("""{ "kind": "pair", "factors": 1, "values": 3, "symbols": 6, "line_symbols": 4, "lines_per_step": 8, "validation_lines": 10 }""", Text[..Text.IndexOf(" }, ", StringComparison.Ordinal)], StringComparison.Ordinal)
            .Replace("\"log_every_steps\": 1", "\"batch\": { \"sequence_length\": 16, \"tokens\": 64 }, \"log_every_steps\": 1", StringComparison.Ordinal);
        ComparisonPlan plan = _tiny.Plan(json);
        using ComparisonSources sources = _tiny.Sources();
        ComparisonRunner runner = new(plan, sources, Path.Combine(_tiny.Folder, "runs"), new CountingView(), TimeProvider.System);

        Assert.True(runner.Run([plan.Runs[0]], 1, CancellationToken.None));
        RunOutcome outcome = Assert.Single(ComparisonRunner.ReadFinished(plan, Path.Combine(_tiny.Folder, "runs")));
        Assert.Equal(outcome.Loss, outcome.Score); // no truth: the cross-entropy itself
        Assert.InRange(outcome.Score, 1, 7);
    }

    private bool Run(ComparisonPlan plan, string name, int jobs, CountingView? view = null)
    {
        view ??= new CountingView();
        return new ComparisonRunner(plan, _tiny.Sources(), Path.Combine(_tiny.Folder, name), view, TimeProvider.System).Run([.. plan.Runs], jobs, view.Stop);
    }

    private double[] Saturation(ComparisonPlan plan, string name) => [.. ComparisonRunner.ReadFinished(plan, Path.Combine(_tiny.Folder, name)).SelectMany(outcome => outcome.Saturation.SelectMany(point => point.Shares))];

    private double[] Scores(ComparisonPlan plan, string name) => [.. ComparisonRunner.ReadFinished(plan, Path.Combine(_tiny.Folder, name)).Select(outcome => outcome.Score)];
}
