using MoeSharp.Execution;
using MoeSharp.Model;
using MoeSharp.Training;

namespace MoeSharp.Tests.Training;

public sealed class TrainingConfigTests : IDisposable
{
    private const string Steps = "budget.steps=10";

    private readonly string _folder = Directory.CreateTempSubdirectory("moe-config").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("gpt-oss-20b", "attention sinks")]
    [InlineData("minimax-text-01", "linear attention")]
    public void A_model_without_a_backward_pass_is_refused_before_anything_is_read(string preset, string named)
    {
        ConfigurationException error = Assert.Throws<ConfigurationException>(() => (new TrainingConfig { Model = ModelPresets.Get(preset), Budget = new BudgetConfig { Steps = 1 } }).Validate("run.json"));

        Assert.Contains(named, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Later_layers_win_and_defaults_stay()
    {
        string file = Write("""
            {
              // comments and trailing commas are welcome
              "model": { "preset": "nano", "num_experts_per_tok": 4 },
              "optimizer": { "weight_decay": 0.05, },
              "schedule": { "kind": "cosine" },
              "balance": { "scope": "micro_batch", "device_alpha": 0.05, "num_device_groups": 5 },
              "budget": { "steps": 20 },
            }
            """);

        TrainingConfig config = TrainingConfigJson.Load("tiny", file, ["optimizer.weight_decay=0.2", "model.hidden_size=96", "model.head_dim=24", "init_scheme=normal"]);

        Assert.Equal(0.2f, config.Optimizer.WeightDecay);
        Assert.Equal(0.95f, config.Optimizer.Beta2);
        Assert.Equal(20, config.Budget.Steps);
        Assert.Equal(ScheduleKind.Cosine, config.Schedule.Kind);
        Assert.Equal(BalanceScope.MicroBatch, config.Balance.Scope);
        Assert.Equal(WeightInitScheme.Normal, config.InitScheme);
        Assert.Equal((96, 4, 15), (config.Model!.HiddenSize, config.Model.Moe!.TopK, config.Model.Moe.NumExperts)); // the file names a model
    }

    [Theory]
    [InlineData("{\"optimizer\": {\"weigth_decay\": 1}}", "optimizer.weight_decay")]
    [InlineData("{\"optimiser\": {}}", "optimizer")]
    [InlineData("{\"modle\": {}}", "model")]
    [InlineData("{\"model\": {\"preset\": \"nano\", \"num_expert_per_tok\": 2}}", "num_experts_per_tok")]
    [InlineData("{\"seeds\": 2}", "seed")]
    public void An_unknown_key_names_the_nearest_and_the_file(string json, string nearest)
    {
        string file = Write(json);

        ConfigurationException error = Assert.Throws<ConfigurationException>(() => TrainingConfigJson.Load(null, file, [Steps]));

        Assert.Contains($"did you mean '{nearest}'", error.Message, StringComparison.Ordinal);
        Assert.Contains(file, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void All_problems_are_reported_at_once()
    {
        ConfigurationException error = Assert.Throws<ConfigurationException>(() => TrainingConfigJson.Load("nano", null, ["batch.tokens=1000", "optimizer.beta2=1.5", "checkpoint.keep=0", "schedule.learning_rate=-1", Steps]));

        Assert.Contains("batch.tokens 1000 must be a multiple", error.Message, StringComparison.Ordinal);
        Assert.Contains("optimizer.beta2", error.Message, StringComparison.Ordinal);
        Assert.Contains("checkpoint.keep", error.Message, StringComparison.Ordinal);
        Assert.Contains("learning_rate", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("seed=many", "seed is \"many\"; expected a whole number")]
    [InlineData("schedule.kind=linear", "expected one of steps, cosine, constant")]
    [InlineData("batch=3", "batch is a section")]
    [InlineData("batch.tokens=1.5", "expected a whole number")]
    [InlineData("schedule.kind=7", "expected one of steps, cosine, constant")]
    [InlineData("balance.scope=99", "expected one of sequence, micro_batch")]
    [InlineData("balance.scope=\"1\"", "expected one of sequence, micro_batch")]
    [InlineData("init_scheme=9", "expected one of")]
    [InlineData("balance.expert_devices=null", "balance.expert_devices is null; expected a list of whole numbers")]
    [InlineData("balance.expert_devices=[0,\"a\"]", "expected a list of whole numbers")]
    [InlineData("data.text_field=null", "data.text_field is null; expected a text")]
    [InlineData("batch.tokens=null", "expected a whole number")]
    [InlineData("balance.expert_alpha=1e39", "balance.expert_alpha is 1e39, which is more than a number of this kind holds")] // infinite as float
    [InlineData("optimizer.clip_norm=1e39", "more than a number of this kind holds")]
    [InlineData("budget.minutes=1e999", "more than a number of this kind holds")]
    [InlineData("nonsense", "expected key=value")]
    public void A_wrong_value_says_what_is_expected(string setting, string expected) =>
        Assert.Contains(expected, Assert.Throws<ConfigurationException>(() => TrainingConfigJson.Load("nano", null, [setting])).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("", "not valid JSON")]
    [InlineData("[1]", "expected a JSON object")]
    [InlineData("{\"seed\": }", "line 1")]
    [InlineData("{\"seed\": 1, \"seed\": 2}", "seed")]
    public void A_file_that_is_no_configuration_says_so(string content, string expected) =>
        Assert.Contains(expected, Assert.Throws<ConfigurationException>(() => TrainingConfigJson.Load(null, Write(content), [])).Message, StringComparison.Ordinal);

    [Fact]
    public void A_missing_file_and_an_unknown_preset_name_what_there_is()
    {
        Assert.Contains("does not exist", Assert.Throws<ConfigurationException>(() => TrainingConfigJson.Load(null, "/nowhere.json", [])).Message, StringComparison.Ordinal);
        Assert.Contains("deepseek-moe-16b", Assert.Throws<ConfigurationException>(() => TrainingConfigJson.Load("deepseek-moe-16", null, [])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_run_without_an_end_is_refused() =>
        Assert.Contains("no end", Assert.Throws<ConfigurationException>(() => TrainingConfigJson.Load(null, null, [])).Message, StringComparison.Ordinal);

    [Fact]
    public void What_is_written_reads_back()
    {
        TrainingConfig config = TrainingConfigJson.Load("nano", null, [Steps, "seed=7", "batch.micro_batch_tokens=1024", "budget.minutes=2.5", "balance.scope=micro_batch"]);

        Assert.Equal(config, TrainingConfigJson.Parse(TrainingConfigJson.Write(config).ToJsonString(), "run.json"));
    }

    [Theory]
    [MemberData(nameof(Experiments))]
    public void Every_experiment_that_comes_along_is_valid(string name) => Assert.NotNull(TrainingConfigJson.Load(name, null, []).Model);

    public static TheoryData<string> Experiments() => [.. ExperimentFiles.Names];

    private string Write(string json)
    {
        string path = Path.Combine(_folder, "experiment.json");
        File.WriteAllText(path, json);
        return path;
    }

    [Fact]
    public void An_architecture_without_a_budget_trains_ten_minutes()
    {
        Assert.Equal(new BudgetConfig { Minutes = 10 }, TrainingConfigJson.Load("nano", null, []).Budget);
    }

    [Fact]
    public void A_preset_of_a_later_layer_replaces_the_whole_model()
    {
        string file = Write("""{ "model": { "preset": "nano" }, "budget": { "steps": 1 } }""");
        ModelConfig nano = TrainingConfigJson.Load("nano", null, [Steps]).Model!;

        Assert.Equal(nano, TrainingConfigJson.Load("quickstart", file, []).Model); // that experiment sets hidden_size and more
        Assert.Equal(nano, TrainingConfigJson.Load("quickstart", null, ["model.preset=nano", Steps]).Model);
        Assert.Equal(nano.HiddenSize * 2, TrainingConfigJson.Load("quickstart", null, [$"model.hidden_size={nano.HiddenSize * 2}", "model.preset=nano", Steps]).Model!.HiddenSize); // in any order
    }

    [Theory]
    [InlineData("budget.steps=5000")]
    [InlineData("budget={\"steps\": 5000}")]
    public void A_budget_given_as_a_section_or_a_key_is_the_only_one(string setting) =>
        Assert.Equal(new BudgetConfig { Steps = 5000 }, TrainingConfigJson.Load("starter", null, [setting]).Budget);

    [Fact]
    public void A_budget_given_replaces_the_budget_of_the_preset()
    {
        Assert.Equal(new BudgetConfig { Steps = 5000 }, TrainingConfigJson.Load("starter", null, ["budget.steps=5000"]).Budget);
    }
}
