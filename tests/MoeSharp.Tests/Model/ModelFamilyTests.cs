using System.Text.Json.Nodes;
using MoeSharp.Model;

namespace MoeSharp.Tests.Model;

/// <summary>What each family's config.json means.</summary>
public sealed class ModelFamilyTests
{
    [Theory]
    [MemberData(nameof(GoldenFolders))]
    public void Every_golden_file_is_read_and_survives_writing(string folder)
    {
        ModelConfig config = Golden(folder);

        Assert.Equal(config, ModelConfigJson.Parse(ModelConfigJson.Write(config), "written"));
    }

    public static TheoryData<string> GoldenFolders => Environment.GetEnvironmentVariable("MOE_FIXTURES") is { } root
        ? [.. Directory.GetDirectories(Path.Combine(root, "hf")).Select(folder => Path.GetFileName(folder)).Order(StringComparer.Ordinal)]
        : ["(set MOE_FIXTURES)"];

    [Fact]
    public void DeepSeek_V2_reads_latent_attention_and_groups()
    {
        ModelConfig config = Golden("deepseek_v2_group");

        Assert.Equal(new LatentAttentionConfig { QueryRank = 28, LatentRank = 32, NopeHeadDim = 16, RopeHeadDim = 8, ValueHeadDim = 16 }, config.LatentAttention);
        Assert.Equal(24, config.HeadDim);
        Assert.Equal((4, 2, GroupScoring.Max, 16f, false), (config.Moe!.NumGroups, config.Moe.TopKGroups, config.Moe.GroupScoring, config.Moe.RoutedScalingFactor, config.Moe.ScalesNormalizedWeights));
        double magnitude = ((0.0707 * Math.Log(40)) + 1) / ((0.1 * Math.Log(40)) + 1);
        Assert.Equal(magnitude, config.Rope.AttentionFactor, 1e-12);
        Assert.Equal(Math.Pow((0.1 * Math.Log(40)) + 1, 2) / Math.Sqrt(24), config.ScoreScale, 1e-12);
        Assert.True(config.Rope.IsInterleaved);
    }

    [Fact]
    public void A_null_query_rank_differs_from_an_absent_one()
    {
        Assert.Equal(0, Read("""{"model_type": "deepseek_v2", "q_lora_rank": null}""").LatentAttention!.QueryRank);
        Assert.Equal(1536, Read("""{"model_type": "deepseek_v2"}""").LatentAttention!.QueryRank);
    }

    [Fact]
    public void The_head_dim_of_a_saved_again_file_is_not_the_head_width() =>
        Assert.Equal(192, Read("""{"model_type": "deepseek_v3", "head_dim": 64}""").HeadDim);

    [Fact]
    public void Gpt_oss_alternates_windows_and_keeps_its_own_yarn()
    {
        ModelConfig config = Golden("gpt_oss");

        Assert.Equal([AttentionKind.Sliding, AttentionKind.Full, AttentionKind.Sliding], config.LayerAttention);
        Assert.Equal(7, config.SlidingWindow);
        Assert.True(config.HasAttentionSinks);
        Assert.True(config.AttentionOutputBias);
        Assert.Equal((RopeScaling.Yarn, 8.0, 16, false), (config.Rope.Scaling, config.Rope.Factor, config.Rope.OriginalMaxPositions, config.Rope.Truncates));
        Assert.Equal((0.1 * Math.Log(8)) + 1, config.Rope.AttentionFactor, 1e-12);
        Assert.Equal(RouterScoring.SoftmaxOverChosen, config.Moe!.Scoring);
        Assert.Equal(32, Read("""{"model_type": "gpt_oss"}""").Rope.Factor);
    }

    [Fact]
    public void Both_spellings_of_MiniMax_describe_the_same_model()
    {
        const string Shared = "\"num_hidden_layers\": 2, \"hidden_size\": 64, \"num_attention_heads\": 4, \"head_dim\": 16, \"num_key_value_heads\": 2, \"rotary_dim\": 8";
        ModelConfig native = Read($$"""{"model_type": "minimax", {{Shared}}, "layer_types": ["linear_attention", "full_attention"], "full_attn_alpha_factor": 3.5, "linear_attn_beta_factor": 2, "mlp_alpha_factor": 1.5}""");
        ModelConfig remote = Read($$"""{"architectures": ["MiniMaxText01ForCausalLM"], "model_type": "minimax_text_01", {{Shared}}, "attn_type_list": [0, 1], "postnorm": true, "layernorm_full_attention_alpha": 3.5, "layernorm_linear_attention_beta": 2, "layernorm_mlp_alpha": 1.5, "shared_intermediate_size": 0, "shared_moe_mode": "sigmoid"}""");

        Assert.Equal(native, remote);
        Assert.Equal((3.5f, 2f, 1.5f), (native.ResidualScales.FullAttentionAlpha, native.ResidualScales.LinearAttentionBeta, native.ResidualScales.FeedForwardAlpha));
        Assert.Equal(8, native.Rope.RotaryDim);
    }

    [Fact]
    public void Dbrx_reads_its_nested_sections()
    {
        ModelConfig config = Golden("dbrx");

        Assert.Equal((64, 2, 4, 2, 40), (config.HiddenSize, config.NumHiddenLayers, config.NumAttentionHeads, config.NumKeyValueHeads, config.IntermediateSize));
        Assert.Equal((1.5f, 500000, true), (config.ClipQkv, config.RopeTheta, config.UsesLayerNorm));
        Assert.Equal((8, 3, true, 1f), (config.Moe!.NumExperts, config.Moe.TopK, config.Moe.NormTopKProb, config.Moe.NormOrder));
        Assert.False(Read("""{"model_type": "dbrx", "ffn_config": {"moe_normalize_expert_weights": null}}""").Moe!.NormTopKProb);
    }

    [Fact]
    public void Qwen_windows_count_only_when_switched_on()
    {
        Assert.Equal(AttentionKind.Full, Golden("qwen2_moe").AttentionOf(0));
        ModelConfig windowed = Read("""{"model_type": "qwen2", "use_sliding_window": true, "sliding_window": 64, "max_window_layers": 30}""");
        Assert.Equal((AttentionKind.Full, AttentionKind.Sliding, 64), (windowed.AttentionOf(29), windowed.AttentionOf(30), windowed.SlidingWindow));
        Assert.True(windowed.AttentionBias);
        Assert.False(windowed.AttentionOutputBias);
    }

    [Fact]
    public void Mixtral_windows_hold_in_every_layer() =>
        Assert.All(Read("""{"model_type": "mixtral", "sliding_window": 4096}""").LayerAttention, kind => Assert.Equal(AttentionKind.Sliding, kind));

    [Fact]
    public void The_newer_spelling_of_Qwen3_describes_the_same_model() => Assert.Equal(Golden("qwen3_moe"), Golden("qwen3_moe_fp8_v5cfg"));

    [Fact]
    public void Sparse_steps_end_with_the_MoE_layer()
    {
        ModelConfig config = Read("""{"model_type": "qwen3_moe", "num_hidden_layers": 6, "decoder_sparse_step": 2, "mlp_only_layers": [3]}""");

        Assert.Equal([1, 5], Enumerable.Range(0, 6).Where(config.IsMoeLayer));
    }

    [Theory]
    [InlineData("{\"model_type\": \"deepseek_v2\", \"topk_method\": \"noaux_tc\"}", "topk_method 'noaux_tc'")]
    [InlineData("{\"model_type\": \"deepseek_v3\", \"scoring_func\": \"softmax\"}", "scoring_func 'softmax'")]
    [InlineData("{\"model_type\": \"deepseek_v3\", \"rope_interleave\": false}", "rope_interleave false")]
    [InlineData("{\"model_type\": \"deepseek_v3\", \"n_group\": 7}", "n_group 7")]
    [InlineData("{\"model_type\": \"mixtral\", \"sliding_window\": 0}", "sliding_window 0")]
    [InlineData("{\"model_type\": \"minimax\", \"layer_types\": [\"mamba\"], \"num_hidden_layers\": 1}", "layer_types holds \"mamba\"")]
    [InlineData("{\"model_type\": \"minimax_text_01\", \"postnorm\": false}", "postnorm false")]
    [InlineData("{\"model_type\": \"minimax_text_01\", \"shared_intermediate_size\": 9}", "shared_intermediate_size 9")]
    [InlineData("{\"model_type\": \"llama_moe\", \"gate_use_softmax\": false}", "gate_use_softmax false")]
    [InlineData("{\"model_type\": \"llama_moe\", \"score_scale_factor\": [1, 2]}", "score_scale_factor")]
    [InlineData("{\"model_type\": \"llama_moe\", \"size_experts\": [[1, 2]]}", "size_experts")]
    [InlineData("{\"model_type\": \"dbrx\", \"attn_config\": {\"kv_heads\": 3}}", "attn_config.kv_heads")]
    [InlineData("{\"model_type\": \"dbrx\", \"ffn_config\": {\"ffn_act_fn\": {\"name\": \"gelu\"}}}", "ffn_config.ffn_act_fn.name 'gelu'")]
    [InlineData("{\"model_type\": \"mixtral\", \"quantization_config\": {\"quant_method\": \"awq\"}}", "quantization_config.quant_method 'awq'")]
    [InlineData("{\"model_type\": \"qwen3_moe\", \"quantization_config\": {\"quant_method\": \"fp8\"}}", "weight_block_size")]
    [InlineData("{\"model_type\": \"llama\", \"rope_scaling\": {\"type\": \"yarn\"}}", "rope_scaling.factor")]
    [InlineData("{\"model_type\": \"llama\", \"rope_scaling\": {\"type\": \"yarn\", \"factor\": 4, \"beta_quick\": 4}}", "rope_scaling.beta_quick")]
    [InlineData("{\"model_type\": \"llama\", \"rope_scaling\": {\"type\": \"llama3\", \"factor\": 4, \"high_freq_factor\": 1}}", "rope_scaling.high_freq_factor 1")]
    [InlineData("{\"model_type\": \"llama\", \"rope_scaling\": {\"type\": \"llama3\", \"factor\": 4, \"beta_fast\": 1}}", "rope_scaling.beta_fast")]
    [InlineData("{\"model_type\": \"deepseek_v3\", \"v_head_dim\": 1000000}", "v_head_dim 1000000")]
    [InlineData("{\"model_type\": \"deepseek_v3\", \"kv_lora_rank\": 1000000}", "kv_lora_rank plus qk_rope_head_dim 1000064")]
    [InlineData("{\"model_type\": \"minimax\", \"num_hidden_layers\": 1, \"layer_types\": [\"linear_attention\"], \"head_dim\": 8192}", "make a state of")]
    [InlineData("{\"model_type\": \"grok-1\", \"hidden_act\": \"relu\"}", "hidden_act 'relu'")]
    public void What_a_family_does_not_know_is_refused_by_name(string json, string named) =>
        Assert.Contains(named, Assert.Throws<ConfigurationException>(() => Read(json)).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("{\"type\": \"linear\", \"factor\": 4}", RopeScaling.Linear, 4, 1)]
    [InlineData("{\"rope_type\": \"dynamic\", \"factor\": 2.5}", RopeScaling.Dynamic, 2.5, 1)]
    [InlineData("{\"rope_type\": \"yarn\", \"type\": \"yarn\", \"factor\": 4, \"attention_factor\": 1.25}", RopeScaling.Yarn, 4, 1.25)]
    [InlineData("{\"rope_type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 8192}", RopeScaling.Llama3, 8, 1)]
    [InlineData("{\"type\": \"llama3\", \"factor\": 3, \"low_freq_factor\": 2, \"high_freq_factor\": 2.5, \"original_max_position_embeddings\": 77}", RopeScaling.Llama3, 3, 1)]
    [InlineData("{\"type\": \"yarn\", \"factor\": 4, \"mscale\": 0.5}", RopeScaling.Yarn, 4, 1.1386294361119891)] // one of the pair alone counts for nothing
    public void Every_kind_of_rope_scaling_is_read(string scaling, RopeScaling kind, double factor, double attentionFactor)
    {
        ModelConfig config = Read($$"""{"model_type": "llama", "rope_scaling": {{scaling}}}""");

        Assert.Equal((kind, factor), (config.Rope.Scaling, config.Rope.Factor));
        Assert.Equal(attentionFactor, config.Rope.AttentionFactor, 1e-12);
        Assert.Equal(config, ModelConfigJson.Parse(ModelConfigJson.Write(config), "written"));
    }

    [Fact]
    public void The_published_Llama_3_1_is_read()
    {
        ModelConfig config = Read("""
            {"architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "bos_token_id": 128000, "eos_token_id": [128001, 128008, 128009], "hidden_act": "silu",
            "hidden_size": 4096, "initializer_range": 0.02, "intermediate_size": 14336, "max_position_embeddings": 131072, "mlp_bias": false, "model_type": "llama", "num_attention_heads": 32,
            "num_hidden_layers": 32, "num_key_value_heads": 8, "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_scaling": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192, "rope_type": "llama3"}, "rope_theta": 500000.0, "tie_word_embeddings": false, "torch_dtype": "bfloat16", "use_cache": true, "vocab_size": 128256}
            """);

        Assert.Equal(new RopeConfig { Theta = 500000, Scaling = RopeScaling.Llama3, Factor = 8, OriginalMaxPositions = 8192, LowFrequencyFactor = 1, HighFrequencyFactor = 4 }, config.Rope);
        Assert.Equal(8_030_261_248, ModelSize.Of(config).Parameters.Total);
    }

    [Fact]
    public void Records_with_lists_compare_by_value()
    {
        Assert.Equal(ModelPresets.Get("gpt-oss-20b"), ModelPresets.Get("gpt-oss-20b") with { LayerAttention = [.. ModelPresets.Get("gpt-oss-20b").LayerAttention] });
        Assert.NotEqual(ModelPresets.Get("gpt-oss-20b"), ModelPresets.Get("gpt-oss-20b") with { LayerAttention = [] });
        Assert.Equal(new MoeConfig { NumExperts = 1, TopK = 1, IntermediateSize = 1, DenseLayers = [1, 2] }, new MoeConfig { NumExperts = 1, TopK = 1, IntermediateSize = 1, DenseLayers = [1, 2] });
    }

    [Fact]
    public void No_value_of_any_key_ends_in_another_error()
    {
        string[] values =
        [
            "null", "true", "false", "0", "-1", "1", "3", "7.5", "1e300", "-2147483648", "2147483647", "99999999999999999999", "\"\"", "\"silu\"", "[]", "[0]", "[1e9, -1]", "[\"full_attention\"]", "{}",
            "{\"type\": \"yarn\", \"factor\": 0}", "{\"rope_type\": \"dynamic\", \"factor\": 1e300}", "{\"quant_method\": \"fp8\", \"weight_block_size\": [0]}",
        ];
        int accepted = 0;
        foreach (string preset in ModelPresets.Names.Where(name => name.Contains('b', StringComparison.Ordinal) || name.Length < 7))
        {
            JsonObject root = JsonNode.Parse(ModelConfigJson.Write(ModelPresets.Get(preset)))!.AsObject(); // written just now
            foreach (string key in root.Select(pair => pair.Key).Append("sliding_window").Append("rope_parameters").Append("quantization_config").ToArray())
            {
                foreach (string value in values)
                {
                    JsonObject changed = root.DeepClone().AsObject();
                    changed[key] = JsonNode.Parse(value);
                    accepted += IsAccepted(changed.ToJsonString()) ? 1 : 0;
                }
            }
        }

        Assert.True(accepted > 1000, $"only {accepted} were accepted: the test changes what is not read");
    }

    [Theory]
    [InlineData("\"num_hidden_layers\": 100000", "num_hidden_layers 100000")]
    [InlineData("\"mlp_only_layers\": [0, 1, 2], \"num_hidden_layers\": 2", "mlp_only_layers has 3")]
    public void Layers_are_bounded(string keys, string named) => What_a_family_does_not_know_is_refused_by_name($$"""{"model_type": "qwen3_moe", {{keys}}}""", named);

    private static bool IsAccepted(string json)
    {
        try
        {
            ModelConfig config = Read(json);
            _ = ModelSize.Of(config).Parameters;
            return true;
        }
        catch (MoeSharpException)
        {
            return false;
        }
    }

    private static ModelConfig Read(string json) => ModelConfigJson.Parse(json, "config.json");

    private static ModelConfig Golden(string folder)
    {
        string? root = Environment.GetEnvironmentVariable("MOE_FIXTURES");
        Assert.SkipWhen(root is null, "set MOE_FIXTURES to the folder with hf/");
        return ModelConfigJson.Load(Path.Combine(root!, "hf", folder, "config.json")); // skipped when null
    }
}
