using System.Text.Json.Nodes;
using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;

namespace MoeSharp.Tests.Model;

/// <summary>Sections <c>moesharp</c> of random keys and values: each is refused with a reason, or read, written, read back, and run forwards and backwards.</summary>
public sealed class SectionFuzzTests
{
    private static readonly string[] s_routers = ["top_k", "top_k", "switch", "gshard", "noisy_top_k", "hash", "task_level", "base", "sinkhorn", "expert_choice", "reinforce", "stablemoe"];
    private static readonly string[] s_numbers = ["0", "1", "2", "3", "4", "8", "-1", "0.5", "1.25", "1e-30", "1e30", "1e308", "2147483647", "-2147483648", "4294967296", "null", "\"2\""];

    // Values that a key takes; numbers where none are named.
    private static readonly (string Key, string[] Values)[] s_keys =
    [
        ("scoring_func", ["\"softmax\"", "\"sigmoid\""]), ("score_order", ["\"score_then_top_k\"", "\"top_k_then_softmax\""]), ("topk_method", ["\"greedy\"", "\"group_limited_greedy\"", "\"noaux_tc\""]),
        ("n_group", []), ("topk_group", []), ("selection_bias", ["true", "false", "1"]),
        ("capacity_factor", []), ("eval_capacity_factor", []), ("drop_policy", ["\"position\"", "\"position_token_major\"", "\"probability\"", "\"batch_prioritized\"", "\"reroute\"", "\"none\""]),
        ("capacity_group_size", []), ("min_expert_capacity", []), ("capacity_multiple", []), ("capacity_rounding", ["\"ceil\"", "\"floor\""]), ("capacity_counts_slots", ["true", "false"]),
        ("capacity_counts_padding", ["true", "false"]), ("renormalize_after_drop", ["true", "false"]), ("max_rounds", []), ("device_capacity_factor", []), ("num_devices", []), ("protected_sequence_share", []),
        ("second_expert_policy", ["\"all\"", "\"none\"", "\"threshold\"", "\"random\"", "\"sampling\""]), ("second_expert_threshold", []), ("renormalize", ["\"before_drop\"", "\"after_drop\""]),
        ("expert_capacity", []), ("group_size", []), ("router_jitter_noise", []), ("noise_epsilon", []),
        ("hash_table", ["\"random\"", "\"balanced\"", "\"multi\""]), ("hash_input", ["\"token\"", "\"previous_token\""]), ("boundary_token_id", []), ("hash_table_entries", ["[]", "[0, 1]", "[-1]", "[1.5]"]),
        ("routing_level", ["\"task\"", "\"sentence\""]), ("num_tasks", []), ("task_tokens", ["[]", "[3]", "[3, 7]", "[3, 3]", "[64]", "[4294967296]"]),
        ("sinkhorn_temperature", []), ("sinkhorn_iterations", []), ("sinkhorn_tolerance", []), ("sinkhorn_epsilon", []), ("subtract_row_max", ["true", "false"]),
        ("scope", ["\"sequence\"", "\"batch\""]), ("acknowledge_future_leak", ["true"]), ("baseline", ["\"running_mean\"", "\"given\""]), ("baseline_value", []), ("baseline_decay", []), ("entropy_coef", []),
        ("reduction", ["\"mean\"", "\"sum\""]), ("first_stage", []), ("balance_loss_coef", []), ("distill_loss_coef", []), ("distill_hidden_size", []),
        ("segmentation", ["1", "2", "4", "3"]), ("dense_residual", ["\"none\"", "\"parallel\"", "\"arctic\""]),
        ("attention", ["\"dense\"", "\"mixture\"", "\"switch_head\""]), ("num_attention_experts", ["3", "4", "2147483647"]), ("attention_experts_per_tok", ["1", "2", "5"]), ("norm_attention_topk_prob", ["true", "false"]),
    ];

    [Fact]
    public void Any_section_is_refused_with_a_reason_or_read_back_and_run()
    {
        Random random = new(1);
        using WorkerPool workers = new(1);
        HashSet<string> run = [];
        for (int index = 0; index < 4000; index++)
        {
            string json = Json(random, out string router);
            ModelConfig config;
            try
            {
                config = ModelConfigJson.Parse(json, "config.json");
            }
            catch (ConfigurationException refused)
            {
                Assert.StartsWith("config.json: ", refused.Message, StringComparison.Ordinal);
                continue;
            }

            Assert.Equal(config, ModelConfigJson.Parse(ModelConfigJson.Write(config), json));
            if (index % 4 == 0 && Runs(config, workers, json))
            {
                run.Add(router);
            }
        }

        Assert.Equal(s_routers.Distinct().Order(), run.Order());
    }

    private static bool Runs(ModelConfig config, WorkerPool workers, string json)
    {
        try
        {
            using LanguageModel model = new(config);
            WeightInit.Initialize(model, 1, WeightInitScheme.FanIn, workers);
            model.Parameters.ToList().ForEach(parameter => parameter.AllocateGradient());
            using ForwardContext context = new(workers);
            TokenBatch batch = TokenBatch.FromSequences([[3, 1, 4, 1, 5, 9, 2], [7, 6, 5, 3, 5, 8, 9]]);
            double loss = model.ForwardBackward(batch, new BalanceConfig(), 1f / batch.CountTargets(), 1f, context);
            Assert.True(double.IsFinite(loss), json);
            float[] logits = new float[batch.Count * config.VocabSize];
            model.Logits(batch, batch.Count, logits, context);
            Assert.True(Array.TrueForAll(logits, float.IsFinite), json);
            return true;
        }
        catch (ConfigurationException)
        {
            return false; // a table that is not made yet, texts whose task nobody tells
        }
    }

    private static string Json(Random random, out string router)
    {
        router = s_routers[random.Next(s_routers.Length)];
        JsonObject section = new() { ["router"] = router };
        if (router is "expert_choice" or "task_level" && random.Next(2) == 0)
        {
            section[router == "task_level" ? "task_tokens" : "acknowledge_future_leak"] = router == "task_level" ? new JsonArray(3, 7) : true;
        }

        for (int count = random.Next(4); count > 0; count--)
        {
            (string key, string[] values) = s_keys[random.Next(s_keys.Length)];
            values = values.Length == 0 ? s_numbers : values;
            section[key] = JsonNode.Parse(values[random.Next(values.Length)]);
        }

        int topK = router switch
        {
            "switch" or "base" or "reinforce" or "stablemoe" => 1,
            "gshard" => 2,
            _ => random.Next(1, 5),
        };
        return $$"""
            {"model_type": "deepseek", "vocab_size": 64, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "n_routed_experts": 8,
             "num_experts_per_tok": {{topK}}, "moe_intermediate_size": 4, "n_shared_experts": {{random.Next(2)}}, "norm_topk_prob": {{(random.Next(4) == 0 ? "true" : "false")}},
             "routed_scaling_factor": {{(random.Next(4) == 0 ? "2.5" : "1")}}, "moesharp": {{section.ToJsonString()}}}
            """;
    }
}
