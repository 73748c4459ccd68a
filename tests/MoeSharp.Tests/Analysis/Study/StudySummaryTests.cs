using MoeSharp.Analysis.Study;
using MoeSharp.Execution;
using MoeSharp.Moe.Dispatch;

namespace MoeSharp.Tests.Analysis.Study;

/// <summary>The sentences of a study say no more than its figures show.</summary>
public sealed class StudySummaryTests : IDisposable
{
    private readonly StudyBench _bench = new();

    public void Dispose() => _bench.Dispose();

    [Theory]
    [InlineData(0.05, 0.01, "is 0.0500 +- 0.0100 nats per token higher", "The steeper the rise")]
    [InlineData(-0.05, 0.01, "is 0.0500 +- 0.0100 nats per token lower", "says nothing about redundancy")]
    [InlineData(0.01, 0.01, "is the same within the error (+0.0100 +- 0.0100)", "as far as this text can tell")]
    public void Masking_is_told_by_its_sign_and_error(double increase, double error, string moves, string conclusion)
    {
        string sentence = Sentence(Result(masked: Point("best 1 of 16 disabled", 1 / 16.0, increase, error)), "best 1 of 16");

        Assert.Contains(moves, sentence, StringComparison.Ordinal);
        Assert.Contains(conclusion, sentence, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0.05, 0.01, "do not make up for the shared ones")]
    [InlineData(0.01, 0.01, "make up for the shared ones, as far as this text can tell")]
    [InlineData(-0.05, 0.01, "do harm on this text")]
    public void Shared_experts_are_judged_by_the_experiment_of_equal_work(double increase, double error, string conclusion)
    {
        StudyResult result = Result(shared: [Point("shared experts disabled", 0, 0.2, 0.01), Point("shared experts disabled, 3 instead of 2", 1, increase, error)]);

        Assert.Contains(StudySummary.Sentences(result), sentence => sentence.Contains(conclusion, StringComparison.Ordinal));
    }

    [Fact]
    public void One_piece_of_text_has_no_error_and_leads_to_no_conclusion()
    {
        StudyText text = new([StudyDocument.Of([1, 2, 3, 4, 5], "", 4)], 12, 6, 60);
        IReadOnlyList<string> sentences = StudySummary.Sentences(_bench.Study(text));

        Assert.Contains(sentences, sentence => sentence.Contains("no error is known", StringComparison.Ordinal));
        Assert.DoesNotContain(sentences, sentence => sentence.Contains("within the error", StringComparison.Ordinal) || sentence.Contains("make up for", StringComparison.Ordinal) || sentence.Contains("redundan", StringComparison.Ordinal) || sentence.Contains("NaN", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(0.30, 0.0625, 0.10, 0.0625, "this model has the less redundant experts")]
    [InlineData(0.10, 0.0625, 0.30, 0.0635, "the other model has the less redundant experts")]
    [InlineData(0.30, 0.0625, 0.28, 0.0625, "cannot be told")] // the gap's error is 0.0141
    [InlineData(0.30, 0.25, 0.10, 0.0833, "do not compare")]
    public void Two_models_are_compared_where_shares_and_errors_allow_it(double mine, double myShare, double theirs, double theirShare, string verdict)
    {
        StudyResult result = Result(masked: Point("mine", myShare, mine, 0.01));
        result = result with { Rival = new StudyRival("other", result.Config, result.Curves with { Masked = [result.Curves.Masked[0], Point("theirs", theirShare, theirs, 0.01)] }, null) };

        Assert.Contains(verdict, Sentence(result, "with the theirs"), StringComparison.Ordinal);
    }

    [Fact]
    public void A_domain_without_a_chosen_token_is_not_compared()
    {
        // Capacity for one token in the whole pass: the second document gets no expert.
        using StudyBench bench = new(StudyBench.Config with { Moe = StudyBench.Config.Moe! with { Capacity = new CapacityRule { EvaluationFactor = 0.01 } } });
        StudyText text = new([StudyDocument.Of([.. Enumerable.Repeat(3, 12)], "first", 11), StudyDocument.Of([.. Enumerable.Repeat(3, 12)], "second", 11)], 12, 12, 60);
        StudyResult result = bench.Study(text, new StudyRequest { Plan = StudyPlan.None });

        Assert.True(double.IsNaN(result.Statistics.Layers[0].DomainSimilarity(0, 1)), "the set-up: one domain has no slots");
        Assert.DoesNotContain(StudySummary.Sentences(result), sentence => sentence.Contains("NaN", StringComparison.Ordinal));
    }

    private static string Sentence(StudyResult result, string part) => Assert.Single(StudySummary.Sentences(result), sentence => sentence.Contains(part, StringComparison.Ordinal));

    private static StudyPoint Point(string name, double x, double increase, double error) => new(name, x, new RoutingIntervention(), new Estimate(3 + increase, 0.1), new Estimate(increase, error));

    // A study whose experiments came to the given points.
    private StudyResult Result(StudyPoint? masked = null, StudyPoint[]? shared = null)
    {
        StudyResult result = _bench.Study(StudyBench.Text(), new StudyRequest { Plan = StudyPlan.None });
        StudyPoint asItIs = new("as it is", 0, null, new Estimate(3, 0.1), new Estimate(0, 0));
        return result with { Curves = new SpecialisationCurves(result.Curves.Baseline, masked is null ? [] : [asItIs, masked], shared ?? [], [], null) };
    }
}
