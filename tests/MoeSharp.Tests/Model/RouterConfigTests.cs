using System.Text.Json.Nodes;
using MoeSharp.Model;
using MoeSharp.Model.Routers;
using MoeSharp.Moe.Routing;
using MoeSharp.Training;

namespace MoeSharp.Tests.Model;

/// <summary>Every router's settings: written and read, refused with the reason, chosen on the command line.</summary>
public sealed class RouterConfigTests
{
    private static readonly MoeConfig One = new() { NumExperts = 8, TopK = 1, IntermediateSize = 4 };

    private static readonly Dictionary<string, MoeConfig> s_configs = new()
    {
        ["switch"] = One with { Router = new SwitchRouterConfig { JitterNoise = 0.05f } },
        ["gshard"] = One with { TopK = 2, Router = new GShardRouterConfig() },
        ["gshard, all settings"] = One with { TopK = 2, Router = new GShardRouterConfig { SecondExpertPolicy = SecondExpertPolicy.Threshold, SecondExpertThreshold = 0.5f, RenormalizesAfterDrop = true, ExpertCapacity = 16, GroupSize = 64 } },
        ["gshard, sampling"] = One with { TopK = 2, Router = new GShardRouterConfig { SecondExpertPolicy = SecondExpertPolicy.Sampling } },
        ["noisy"] = One with { TopK = 2, Router = new NoisyTopKRouterConfig { NoiseEpsilon = 0.5f } },
        ["hash"] = One with { Router = new HashRouterConfig() },
        ["hash, to be balanced"] = One with { Router = new HashRouterConfig { Table = HashTableKind.Balanced } },
        ["hash, balanced"] = One with { Router = new HashRouterConfig { Table = HashTableKind.Balanced, Entries = [.. Enumerable.Range(0, 512).Select(id => id % 8)] } },
        ["hash, multi by the token before"] = One with { TopK = 2, Router = new HashRouterConfig { Table = HashTableKind.Multi, UsesPreviousToken = true, BoundaryTokenId = 7 } },
        ["tasks"] = One with { TopK = 2, NormTopKProb = true, Router = new TaskLevelRouterConfig { NumTasks = 3, TaskTokens = [4, 9, 2] } },
        ["base"] = One with { Router = new AssignmentRouterConfig() },
        ["sinkhorn"] = One with { TopK = 2, NormTopKProb = true, Router = new SinkhornRouterConfig() },
        ["sinkhorn, megatron"] = One with { Router = new SinkhornRouterConfig { Temperature = 0.5, Iterations = 7, Tolerance = 0, Epsilon = 1e-8, SubtractsRowMax = false, IsSigmoid = false } },
        ["expert choice"] = One with { TopK = 2, Router = new ExpertChoiceRouterConfig { CapacityFactor = 1.5, RoundsUp = true, MinExpertCapacity = 2, IsPerSequence = false, AcknowledgesFutureLeak = true } },
        ["reinforce"] = One with { Router = new ReinforceRouterConfig() },
        ["reinforce, given"] = One with { Router = new ReinforceRouterConfig { HasRunningBaseline = false, BaselineValue = -2.5f, EntropyCoef = 0, IsMean = false } },
        ["stablemoe"] = One with { Router = new StableMoeRouterConfig { FirstStage = 0.25, BalanceLossCoef = 0.5f, DistillLossCoef = 1, DistillHiddenSize = 8, IsMean = false } },
        ["tasks without tokens"] = One with { Router = new TaskLevelRouterConfig { NumTasks = 3 } },
    };

    public static TheoryData<string> Names => [.. s_configs.Keys];

    [Theory]
    [MemberData(nameof(Names))]
    public void Settings_survive_writing_and_reading(string name)
    {
        ModelConfig config = ModelPresets.Get("nano") with { Moe = s_configs[name] };

        Assert.Equal(config, ModelConfigJson.Parse(ModelConfigJson.Write(config), name));
    }

    [Theory]
    [InlineData("switch", 2, "", "one expert per token")]
    [InlineData("switch", 1, "\"router_jitter_noise\": 1.5", "router_jitter_noise 1.5")]
    [InlineData("switch", 1, "\"second_expert_policy\": \"all\"", "second_expert_policy")]
    [InlineData("gshard", 1, "", "two experts per token")]
    [InlineData("gshard", 2, "\"second_expert_policy\": \"some\"", "'some'")]
    [InlineData("gshard", 2, "\"second_expert_threshold\": 0", "second_expert_threshold 0")]
    [InlineData("gshard", 2, "\"second_expert_policy\": \"all\", \"second_expert_threshold\": 0.2", "unknown key 'moesharp.second_expert_threshold'")]
    [InlineData("gshard", 2, "\"second_expert_policy\": \"none\", \"renormalize\": \"after_drop\"", "no gradient")]
    [InlineData("gshard", 2, "\"expert_capacity\": 0", "expert_capacity 0")]
    [InlineData("gshard", 2, "\"group_size\": 64", "goes with an expert_capacity")]
    [InlineData("noisy_top_k", 1, "", "no gradient")]
    [InlineData("noisy_top_k", 2, "\"noise_epsilon\": 0", "noise_epsilon 0")]
    [InlineData("hash", 2, "\"hash_table\": \"balanced\"", "all be the same")]
    [InlineData("hash", 3, "\"hash_table\": \"multi\"", "does not divide n_routed_experts 8")]
    [InlineData("hash", 1, "\"hash_table\": \"balanced\", \"hash_table_entries\": [0, 1]", "2 entries for a vocabulary of 64")]
    [InlineData("hash", 1, "\"hash_input\": \"previous_token\", \"boundary_token_id\": 64", "boundary_token_id 64")]
    [InlineData("task_level", 1, "\"routing_level\": \"sentence\"", "the tokens to be predicted included")]
    [InlineData("task_level", 1, "\"num_tasks\": 2, \"task_tokens\": [1]", "one token per task")]
    [InlineData("task_level", 1, "\"task_tokens\": [1, 1]", "different tokens")]
    [InlineData("base", 2, "", "one expert")]
    [InlineData("base", 1, "\"sinkhorn_epsilon\": 0", "unknown key")]
    [InlineData("sinkhorn", 1, "\"sinkhorn_temperature\": 0", "sinkhorn_temperature 0")]
    [InlineData("sinkhorn", 1, "\"sinkhorn_iterations\": 0", "sinkhorn_iterations 0")]
    [InlineData("sinkhorn", 1, "\"sinkhorn_epsilon\": -1", "must not be negative")]
    [InlineData("expert_choice", 2, "", "depend on the tokens it is to predict")]
    [InlineData("expert_choice", 2, "\"acknowledge_future_leak\": true, \"capacity_factor\": 9", "capacity_factor 9")]
    [InlineData("reinforce", 2, "", "one expert")]
    [InlineData("reinforce", 1, "\"baseline\": \"given\"", "needs baseline_value")]
    [InlineData("reinforce", 1, "\"baseline\": \"given\", \"baseline_value\": -1, \"baseline_decay\": 0.9", "unknown key 'moesharp.baseline_decay'")]
    [InlineData("reinforce", 1, "\"baseline_decay\": 1", "baseline_decay 1")]
    [InlineData("stablemoe", 2, "", "one expert")]
    [InlineData("stablemoe", 1, "\"first_stage\": 2", "first_stage 2")]
    [InlineData("stablemoe", 1, "\"distill_hidden_size\": 0", "distill_hidden_size 0")]
    [InlineData("chance", 1, "", "'chance'")]
    [InlineData("top_k", 2, "\"score_order\": \"top_k_then_softmax\", \"topk_method\": \"group_limited_greedy\", \"n_group\": 4, \"topk_group\": 2", "groups (n_group)")]
    [InlineData("top_k", 2, "\"score_order\": \"top_k_then_softmax\", \"selection_bias\": true", "a selection bias would do nothing")]
    [InlineData("top_k", 2, "\"topk_method\": \"group_limited_greedy\"", "limits nothing")]
    [InlineData("top_k", 2, "\"topk_method\": \"group_limited_greedy\", \"n_group\": 3, \"topk_group\": 2", "n_group 3 does not divide")]
    [InlineData("top_k", 6, "\"topk_method\": \"group_limited_greedy\", \"n_group\": 4, \"topk_group\": 2", "more than topk_group 2 groups of 2")]
    [InlineData("sinkhorn", 1, "\"temperature\": 0.5", "unknown key 'moesharp.temperature'")] // harmless in a config.json of another program
    [InlineData("top_k", 2, "\"capacity_factor\": 1, \"top_k\": 3", "unknown key 'moesharp.top_k'")]
    public void Settings_that_make_no_sense_are_refused_with_the_reason(string router, int topK, string settings, string named)
    {
        string json = $$$"""
            {"model_type": "deepseek", "vocab_size": 64, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "n_routed_experts": 8,
             "num_experts_per_tok": {{{topK}}}, "moe_intermediate_size": 4, "moesharp": {"router": "{{{router}}}"{{{(settings.Length > 0 ? ", " + settings : "")}}}}}
            """;

        Assert.Contains(named, Assert.Throws<ConfigurationException>(() => ModelConfigJson.Parse(json, "x")).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("switch")]
    [InlineData("task_level")]
    [InlineData("sinkhorn")]
    [InlineData("top_k")]
    public void Dividing_one_weight_by_itself_is_refused_because_the_router_would_learn_nothing(string router)
    {
        string message = Assert.Throws<ConfigurationException>(() => Load("model.num_experts_per_tok=1", "model.norm_topk_prob=true", $"model.moesharp.router={router}")).Message;

        Assert.Contains("no gradient", message, StringComparison.Ordinal);
    }

    [Fact]
    public void Dividing_the_weights_of_a_hash_table_is_refused_because_it_would_do_nothing() =>
        Assert.Contains("norm_topk_prob does nothing", Assert.Throws<ConfigurationException>(() => Load("model.norm_topk_prob=true", "model.moesharp.router=hash", "balance.expert_alpha=0")).Message, StringComparison.Ordinal);

    [Fact]
    public void A_router_and_its_settings_are_chosen_one_by_one()
    {
        MoeConfig moe = Load("model.moesharp.expert_capacity=8", "model.num_experts_per_tok=2", "model.moesharp.router=gshard", "model.moesharp.second_expert_policy=all").Model!.Moe!;

        Assert.Equal(new GShardRouterConfig { SecondExpertPolicy = SecondExpertPolicy.All, ExpertCapacity = 8 }, moe.Router);
    }

    [Fact]
    public void Another_router_takes_the_settings_of_the_one_before_with_it()
    {
        TrainingConfig config = TrainingConfigJson.Load("gshard-2b", null, ["model.moesharp.router=switch", "model.num_experts_per_tok=1"]);
        Assert.Equal(new SwitchRouterConfig(), config.Model!.Moe!.Router);

        config = TrainingConfigJson.Load("switch-2b", null, ["model.moesharp.router_jitter_noise=0.2"]);
        Assert.Equal(new SwitchRouterConfig { JitterNoise = 0.2f }, config.Model!.Moe!.Router);

        string message = Assert.Throws<ConfigurationException>(() => TrainingConfigJson.Load("switch-2b", null, ["model.moesharp.expert_capacity=2"])).Message;
        Assert.Contains("expert_capacity", message, StringComparison.Ordinal);
    }

    [Fact]
    public void Baselines_of_the_paper_have_the_routers_of_their_names()
    {
        Assert.IsType<SwitchRouterConfig>(ModelPresets.Get("switch-2b").Moe!.Router);
        Assert.IsType<GShardRouterConfig>(ModelPresets.Get("gshard-2b").Moe!.Router);
        Assert.IsType<HashRouterConfig>(ModelPresets.Get("hash-2b").Moe!.Router);
        ModelConfig plain = ModelPresets.Get("gshard-2b") with { Moe = ModelPresets.Get("gshard-2b").Moe! with { Router = new TopKRouterConfig() } };
        Assert.Equal("gshard-2b", ModelPresets.NameOf(plain)); // the same weights
    }

    [Fact]
    public void Training_by_tasks_needs_tokens_that_announce_them() =>
        Assert.Contains("task_tokens", Assert.Throws<ConfigurationException>(() => Load("model.moesharp.router=task_level", "model.moesharp.num_tasks=2")).Message, StringComparison.Ordinal);

    [Fact]
    public void A_written_run_is_read_again()
    {
        TrainingConfig config = Load("model.num_experts_per_tok=2", "model.moesharp.router=gshard");
        JsonObject json = TrainingConfigJson.Write(config);

        Assert.Equal(config.Model, TrainingConfigJson.Parse(json.ToJsonString(), "run").Model);
    }

    private static TrainingConfig Load(params string[] settings) => TrainingConfigJson.Load("nano", null, ["budget.steps=1", .. settings]);
}
