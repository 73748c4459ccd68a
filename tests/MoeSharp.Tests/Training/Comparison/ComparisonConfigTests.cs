using MoeSharp.Training.Comparison;

namespace MoeSharp.Tests.Training.Comparison;

public sealed class ComparisonConfigTests : IDisposable
{
    private readonly TinyComparison _tiny = new();

    public void Dispose() => _tiny.Dispose();

    public static TheoryData<string> Experiments() => new(ComparisonConfigJson.Names);

    [Theory]
    [MemberData(nameof(Experiments))]
    public void Shipped_experiments_are_valid_and_of_equal_size(string name)
    {
        ComparisonConfig config = ComparisonConfigJson.Load(name);
        config = config with { Corpora = [.. config.Corpora.Where(corpus => corpus.Language is not null)], Seeds = [config.Seeds[0]] }; // text is slow to prepare
        if (config.Corpora.Count > 0)
        {
            ComparisonPlan plan = ComparisonPlan.Create(config, _tiny.Sources());
            Assert.Equal(config.Corpora.Count * config.Steps.Count * config.Architectures.Count, plan.Runs.Count);
        }
    }

    [Fact]
    public void Runs_go_seed_by_seed_and_pairs_share_everything_but_the_architecture()
    {
        ComparisonPlan plan = _tiny.Plan();

        Assert.Equal(["pair-6-two-s2", "pair-6-one-s2", "pair-6-two-s3", "pair-6-one-s3"], plan.Runs.Select(run => run.FolderName));
        Assert.Equal(plan.Runs[0].Config.Batch, plan.Runs[1].Config.Batch);
        Assert.Equal((5, 40), (plan.Runs[0].Config.Batch.SequenceLength, plan.Runs[0].Config.Batch.Tokens)); // 2 tags and 4 symbols without the last; 8 lines
        Assert.Equal(plan.Runs[0].Config.Schedule, plan.Runs[1].Config.Schedule);
    }

    [Fact]
    public void Parameters_that_differ_are_refused_unless_the_architecture_is_declared_a_bound()
    {
        string wider = TinyComparison.Json.Replace("\"moe_intermediate_size\": 32", "\"moe_intermediate_size\": 36", StringComparison.Ordinal);
        string message = Assert.Throws<ConfigurationException>(() => _tiny.Plan(wider)).Message;
        Assert.Contains("one has", message, StringComparison.Ordinal);
        Assert.Contains("total parameters", message, StringComparison.Ordinal);
        Assert.Contains("activated parameters", message, StringComparison.Ordinal);
        Assert.Contains("\"matches\"", message, StringComparison.Ordinal);

        _ = _tiny.Plan(wider.Replace("\"title\": \"One of two\"", "\"title\": \"One\", \"matches\": \"nothing\"", StringComparison.Ordinal));
        _ = _tiny.Plan(wider.Replace("\"reference\"", "\"tolerance\": 0.3, \"reference\"", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("\"steps\": [6]", "\"steps\": []", "steps must be")]
    [InlineData("\"steps\": [6]", "\"steps\": [0]", "steps must be")]
    [InlineData("\"seeds\": [2, 3]", "\"seeds\": [2, 2]", "seeds must be")]
    [InlineData("\"seeds\": [2, 3]", "\"seeds\": [2, -3]", "seeds holds -3")]
    [InlineData("\"seeds\": [2, 3]", "\"seeds\": [2, 3], \"seeds\": [4]", "'seeds'")]
    [InlineData("\"factors\": 1", "\"factors\": 1, \"seed\": -7", "corpora.pair.seed holds -7")]
    [InlineData("\"title\": \"Tiny & quick\"", "\"title\": \"\\ud800\"", "half of a surrogate pair")]
    [InlineData("\"pair\": {", "\"\\ud800\": {", "half of a surrogate pair")]
    [InlineData("\"model_type\": \"deepseek\"", "\"model_type\": \"\\udc00\"", "half of a surrogate pair")]
    [InlineData("\"reference\": \"two\"", "\"reference\": \"three\"", "reference 'three'")]
    [InlineData("\"title\": \"One of two\"", "\"against\": \"x\"", "against 'x'")]
    [InlineData("\"title\": \"One of two\"", "\"modle\": {}", "unknown key 'architectures.one.modle'")]
    [InlineData("\"title\": \"One of two\"", "\"matches\": \"much\"", "matches")]
    [InlineData("\"factors\": 1", "\"factors\": 99", "factors 99")]
    [InlineData("\"factors\": 1", "\"factor\": 1", "unknown key 'corpora.pair.factor'")]
    [InlineData("\"kind\": \"pair\"", "\"kind\": \"poem\"", "'poem' is not supported")]
    [InlineData("\"log_every_steps\": 1", "\"seed\": 1", "training.seed")]
    [InlineData("\"validation\": { \"every_steps\": 2,", "\"validation\": { \"saturation_at\": [0.5], \"every_steps\": 2,", "give history")]
    [InlineData("\"pair\": {", "\"a/b\": {", "becomes a folder")]
    [InlineData("\"title\": \"Tiny & quick\"", "\"title\": 3", "title is 3")]
    [InlineData("{\n  \"title\"", "[{\n  \"title\"", "not valid JSON")]
    public void What_is_wrong_is_named(string text, string replacement, string expected)
    {
        Assert.Contains(text, TinyComparison.Json, StringComparison.Ordinal);
        string json = TinyComparison.Json.Replace(text, replacement, StringComparison.Ordinal);

        Assert.Contains(expected, Assert.Throws<ConfigurationException>(() => TinyComparison.Config(json)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("\"moe_intermediate_size\": 16 }", "\"moe_intermediate_size\": 16 }, \"schedule\": { \"learning_rat\": 1 }", "schedule.learning_rat")]
    [InlineData("\"moe_intermediate_size\": 16 }", "\"moe_intermediate_size\": 16, \"num_expert\": 3 }", "num_expert")]
    [InlineData("\"reference\"", "\"history\": [1], \"reference\"", "saturation_at must be")]
    public void A_wrong_training_setting_is_named_with_its_architecture(string text, string replacement, string expected)
    {
        string message = Assert.Throws<ConfigurationException>(() => _tiny.Plan(TinyComparison.Json.Replace(text, replacement, StringComparison.Ordinal))).Message;

        Assert.Contains(expected, message, StringComparison.Ordinal);
        Assert.Contains("architecture two", message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("\"lines_per_step\": 8", "\"lines_per_step\": 2147483647", "batch.tokens")]
    [InlineData("\"line_symbols\": 4, \"lines_per_step\": 8, \"validation_lines\": 10", "\"line_symbols\": 4096, \"validation_lines\": 1000000", "1000000 held-out lines")]
    [InlineData("\"one\": {", "\"TWO\": {", "share the folder")]
    public void A_table_that_cannot_be_made_is_refused_before_the_first_run(string text, string replacement, string expected)
    {
        Assert.Contains(text, TinyComparison.Json, StringComparison.Ordinal);
        string json = TinyComparison.Json.Replace(text, replacement, StringComparison.Ordinal);

        Assert.Contains(expected, Assert.Throws<ConfigurationException>(() => _tiny.Plan(json)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Seeds_from_elsewhere_count_towards_the_largest_table()
    {
        ComparisonConfig config = TinyComparison.Config() with { Seeds = [.. Enumerable.Range(0, 6000).Select(seed => (ulong)seed)] };

        Assert.Contains("12000 runs", Assert.Throws<ConfigurationException>(() => ComparisonPlan.Create(config, _tiny.Sources())).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_unknown_experiment_is_refused_with_the_nearest_name() =>
        Assert.Contains("pair", Assert.Throws<ConfigurationException>(() => ComparisonConfigJson.Load("pari")).Message, StringComparison.Ordinal);

    [Fact]
    public void A_users_text_must_be_given()
    {
        string json = TinyComparison.Json.Replace("\"kind\": \"pair\", \"factors\": 1, \"values\": 3, \"symbols\": 6, \"line_symbols\": 4, \"lines_per_step\": 8, \"validation_lines\": 10", "\"kind\": \"text\"", StringComparison.Ordinal);

        Assert.Contains("--data", Assert.Throws<ConfigurationException>(() => _tiny.Plan(json)).Message, StringComparison.Ordinal);
    }
}
