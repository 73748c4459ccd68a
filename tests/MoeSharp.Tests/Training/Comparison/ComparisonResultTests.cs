using System.Text.Json;
using MoeSharp.Training;
using MoeSharp.Training.Comparison;

namespace MoeSharp.Tests.Training.Comparison;

public sealed class ComparisonResultTests : IDisposable
{
    private readonly TinyComparison _tiny = new();

    public void Dispose() => _tiny.Dispose();

    [Theory]
    [InlineData(12.7062, 1, 0.05)] // quantiles of Student's t from tables
    [InlineData(4.3027, 2, 0.05)]
    [InlineData(2.7764, 4, 0.05)]
    [InlineData(4.6041, 4, 0.01)]
    [InlineData(1.9842, 99, 0.05)]
    [InlineData(0, 7, 1)]
    public void Probabilities_of_t_are_those_of_the_tables(double t, int degreesOfFreedom, double expected)
    {
        Assert.Equal(expected, StudentT.TwoSided(t, degreesOfFreedom), 5);
        Assert.Equal(expected, StudentT.TwoSided(-t, degreesOfFreedom), 5);
    }

    [Fact]
    public void Mean_and_error_are_those_of_a_hand_calculation()
    {
        SampleMean mean = SampleMean.Of([1, 2, 3, 6]);

        Assert.Equal((4, 3.0), (mean.Count, mean.Mean));
        Assert.Equal(Math.Sqrt(14.0 / 3 / 4), mean.StandardError, 12);
        Assert.True(double.IsNaN(SampleMean.Of([1]).StandardError));
        Assert.True(double.IsNaN(SampleMean.Of([]).Mean));
    }

    [Fact]
    public void Differences_are_taken_seed_by_seed()
    {
        ComparisonResult result = Result(Seeds(5), index => 1 + index, index => 1 + index - 0.1 - (0.01 * index));
        PairedDifference difference = Assert.Single(result.Conditions[0].Differences);

        Assert.Equal(-0.12, difference.Difference.Mean, 9);
        Assert.True(difference.Difference.StandardError < 0.01, "the seeds' own spread is not in it");
        Assert.Equal(("one", "two"), (difference.Of.Architecture.Name, difference.Against.Architecture.Name));
    }

    [Fact]
    public void Words_follow_the_figures()
    {
        string[] better = Conclusions(0.9);
        string[] worse = Conclusions(1.1);
        string[] level = Conclusions(1.0);

        Assert.Contains(better, line => line.StartsWith("One of two has regret below Two of four", StringComparison.Ordinal) && line.Contains("Beyond chance", StringComparison.Ordinal));
        Assert.Contains(better, line => line.Contains("One of two < Two of four", StringComparison.Ordinal));
        Assert.Contains(worse, line => line.StartsWith("One of two has regret above Two of four", StringComparison.Ordinal));
        Assert.Contains(worse, line => line.Contains("Two of four < One of two", StringComparison.Ordinal));
        Assert.Contains(level, line => line.Contains("cannot be told apart", StringComparison.Ordinal));
        Assert.Contains(level, line => line.Contains('~', StringComparison.Ordinal));

        string[] Conclusions(double mean) => [.. ComparisonFindings.Conclusions(Result(Seeds(5), _ => 1, index => mean + (0.004 * (index - 2))))];
    }

    [Fact]
    public void More_than_two_errors_with_few_seeds_are_likely_and_not_shown()
    {
        ComparisonResult result = Result(Seeds(3), _ => 1, index => 1 + new[] { 0.6, 1.0, 2.0 }[index]); // t = 2.9, p = 0.1

        Assert.Contains(ComparisonFindings.Conclusions(result), line => line.Contains("likely, not shown", StringComparison.Ordinal));
    }

    [Fact]
    public void One_seed_says_nothing()
    {
        IReadOnlyList<string> sentences = ComparisonFindings.Conclusions(Result(Seeds(1), _ => 1, _ => 0.5));

        Assert.Contains(sentences, line => line.Contains("one seed only", StringComparison.Ordinal));
        Assert.DoesNotContain(sentences, line => line.Contains("below", StringComparison.Ordinal));
    }

    [Fact]
    public void Costs_and_collapse_are_told_where_they_are()
    {
        ComparisonResult cheap = Result(Seeds(5), _ => 1, index => 0.9 + (0.001 * index));
        ComparisonResult dear = Result(Seeds(5), _ => 1, index => 0.9 + (0.001 * index), stepSeconds: 0.2, idle: 1);

        Assert.DoesNotContain(ComparisonFindings.Conclusions(cheap), line => line.Contains("times the seconds", StringComparison.Ordinal) || line.Contains("collapsed", StringComparison.Ordinal));
        Assert.Contains(ComparisonFindings.Conclusions(dear), line => line.Contains("2.00 times the seconds", StringComparison.Ordinal) && line.Contains("stood at 1.9020 against 1.0000", StringComparison.Ordinal)); // half-way is the first measurement
        Assert.Contains(ComparisonFindings.Conclusions(dear), line => line.StartsWith("One of two collapsed in 5 of 5 runs: over all held-out data at the end 1 of 2 experts get less than 1 %", StringComparison.Ordinal) && line.Contains("raise balance.expert_alpha (now 0.01)", StringComparison.Ordinal));
        Assert.Contains("1 (collapsed)", ComparisonReport.Text(dear), StringComparison.Ordinal);
        Assert.DoesNotContain(ComparisonFindings.Conclusions(dear), line => line.StartsWith("Two of four collapsed", StringComparison.Ordinal));
    }

    [Fact]
    public void A_collapse_that_passed_is_told_as_such()
    {
        ComparisonResult result = Result(Seeds(5), _ => 1, _ => 1.1, alarms: ["told"]);

        Assert.Contains("One of two had collapsed experts on the way in 5 of 5 runs; at the end none has.", ComparisonFindings.Conclusions(result));
    }

    [Fact]
    public void A_constant_learning_rate_is_not_said_to_fall()
    {
        ComparisonResult falling = Result(Seeds(5), _ => 1, index => 0.9 + (0.001 * index), stepSeconds: 0.2);
        ComparisonResult constant = Result(Seeds(5), _ => 1, index => 0.9 + (0.001 * index), stepSeconds: 0.2, json: TinyComparison.Json.Replace("\"cosine\"", "\"constant\"", StringComparison.Ordinal));

        Assert.Contains([.. ComparisonFindings.Conclusions(falling), .. ComparisonFindings.Limits(falling)], line => line.Contains("not yet down", StringComparison.Ordinal));
        Assert.Contains(ComparisonFindings.Limits(falling), line => line.Contains("higher learning rate", StringComparison.Ordinal));
        Assert.Contains(ComparisonFindings.Conclusions(constant), line => line.Contains("it stood at", StringComparison.Ordinal));
        Assert.DoesNotContain([.. ComparisonFindings.Conclusions(constant), .. ComparisonFindings.Limits(constant)], line => line.Contains("not yet down", StringComparison.Ordinal) || line.Contains("higher learning rate", StringComparison.Ordinal));
    }

    [Fact]
    public void Limits_name_what_was_not_done()
    {
        Assert.Contains(ComparisonFindings.Limits(Result(Seeds(2), _ => 1, _ => 2)), line => line.Contains("rest on 2 seeds", StringComparison.Ordinal));
        Assert.DoesNotContain(ComparisonFindings.Limits(Result(Seeds(5), _ => 1, _ => 2)), line => line.Contains("rest on", StringComparison.Ordinal));
    }

    [Fact]
    public void Rows_of_different_seeds_are_ordered_by_the_seeds_that_they_share()
    {
        // Seeds 5 and 6 are hard, and only "one" has them: its mean is the larger one, though it is better seed by seed.
        double[] hard = [1, 1.1, 1.2, 5, 5];
        ComparisonResult result = Result(Seeds(5), index => hard[index], index => hard[index] - 0.1 - (0.001 * index), isFinished: run => run.Architecture.Name == "one" || run.Seed < 5);
        PairedDifference difference = Assert.Single(result.Conditions[0].Differences);

        Assert.True(result.Conditions[0].Rows[1].Score.Mean > result.Conditions[0].Rows[0].Score.Mean);
        Assert.Contains(ComparisonFindings.Conclusions(result), line => line.Contains("over the seeds that all have (2, 3, 4): One of two < Two of four", StringComparison.Ordinal));
        Assert.Contains(ComparisonFindings.Limits(result), line => line.Contains("not all rows rest on the same seeds (Two of four: 3, One of two: 5)", StringComparison.Ordinal));
        Assert.Contains("compare them by the paired differences", ComparisonReport.Text(result), StringComparison.Ordinal);
        Assert.Equal(1.1, difference.Against.Score.Mean, 9); // what a relative difference refers to
        Assert.Equal([2, 3, 4], difference.Of.Runs.Select(run => (int)run.Run.Seed));
        Assert.DoesNotContain(ComparisonFindings.Limits(Result(Seeds(5), index => hard[index], _ => 1)), line => line.Contains("not all rows", StringComparison.Ordinal));
    }

    [Fact]
    public void Rows_without_a_common_seed_have_no_order()
    {
        ComparisonResult result = Result(Seeds(4), _ => 1, _ => 0.5, isFinished: run => (run.Architecture.Name == "one") == run.Seed < 4);

        Assert.DoesNotContain(ComparisonFindings.Conclusions(result), line => line.Contains("from best to worst", StringComparison.Ordinal));
        Assert.Empty(result.Conditions[0].Differences);
    }

    [Fact]
    public void A_pair_that_is_in_the_table_and_in_the_order_is_tested_once()
    {
        Assert.DoesNotContain(ComparisonFindings.Limits(Result(Seeds(5), _ => 1, _ => 2)), line => line.Contains("are tested", StringComparison.Ordinal));
    }

    [Fact]
    public void Names_cannot_break_a_table_of_the_text()
    {
        ComparisonPlan plan = _tiny.Plan(TinyComparison.Json.Replace("One of two", "One|of\\ntwo", StringComparison.Ordinal));

        Assert.Contains("| One\\|of two |", ComparisonReport.Text(new ComparisonResult(plan, [], [], 1)), StringComparison.Ordinal);
    }

    [Fact]
    public void A_single_value_has_no_t() => Assert.True(double.IsNaN(SampleMean.Of([0]).T));

    [Fact]
    public void The_page_stands_alone_and_escapes_what_it_shows()
    {
        string page = ComparisonReport.Page(Result(Seeds(5), _ => 1, index => 0.9 + (0.001 * index)));

        Assert.Contains("<h1>Tiny &amp; quick</h1>", page, StringComparison.Ordinal);
        Assert.Contains("prefers-color-scheme: dark", page, StringComparison.Ordinal);
        Assert.DoesNotContain("src=", page, StringComparison.Ordinal);
        Assert.DoesNotContain("href=", page, StringComparison.Ordinal);
        Assert.DoesNotContain("NaN", page, StringComparison.Ordinal);
        Assert.Equal(5, page.Split("<figure").Length); // scores, differences, two curves
    }

    [Fact]
    public void Text_and_document_hold_the_same_figures()
    {
        ComparisonResult result = Result(Seeds(5), _ => 1, index => 0.9 + (0.001 * index));
        string text = ComparisonReport.Text(result);
        using MemoryStream stream = new();
        using (Utf8JsonWriter json = new(stream))
        {
            ComparisonDocument.Write(json, result, "folder");
        }

        using JsonDocument document = JsonDocument.Parse(stream.ToArray());
        JsonElement difference = document.RootElement.GetProperty("conditions")[0].GetProperty("differences")[0];
        Assert.Equal(-0.098, difference.GetProperty("difference").GetProperty("mean").GetDouble(), 9);
        Assert.Contains("-0.0980", text, StringComparison.Ordinal);
        Assert.Contains("| One of two |", text, StringComparison.Ordinal);
    }

    private static string Seeds(int count) => string.Join(", ", Enumerable.Range(2, count));

    // Reference "two" and architecture "one", with a score for each seed.
    private ComparisonResult Result(string seeds, Func<int, double> two, Func<int, double> one, double stepSeconds = 0.1, int idle = 0, string[]? alarms = null, Func<PlannedRun, bool>? isFinished = null, string json = TinyComparison.Json)
    {
        ComparisonPlan plan = _tiny.Plan(json.Replace("\"seeds\": [2, 3]", $"\"seeds\": [{seeds}]", StringComparison.Ordinal));
        IEnumerable<RunOutcome> outcomes = plan.Runs.Where(isFinished ?? (_ => true)).Select(run =>
        {
            bool isOne = run.Architecture.Name == "one";
            double score = (isOne ? one : two)((int)run.Seed - 2);
            return new RunOutcome
            {
                Run = run,
                Curve = [new CurvePoint(3, 300, score + 1, 0.4), new CurvePoint(6, 600, score, 0.5)],
                Loss = score + 1,
                StepSeconds = isOne ? stepSeconds : 0.1,
                Load = new LoadSummary(1.2, isOne ? idle : 0, isOne && idle > 0 ? 1 : 0),
                Alarms = isOne ? alarms ?? [] : [],
            };
        });
        return new ComparisonResult(plan, [.. outcomes], [], 2);
    }
}
