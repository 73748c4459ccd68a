using System.Text.Json.Nodes;
using MoeSharp.Model;
using MoeSharp.Model.Routers;

namespace MoeSharp.Tests.Model;

/// <summary>Reading and writing config.json.</summary>
public sealed class ModelConfigJsonTests
{
    private static string Fixture(string name) => File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "Fixtures", "hf", name, "config.json"));

    [Fact]
    public void A_deepseek_file_is_read_whole()
    {
        ModelConfig config = ModelConfigJson.Parse(Fixture("deepseek"), "config.json");

        Assert.Equal(
            new ModelConfig
            {
                ModelType = "deepseek",
                VocabSize = 256,
                HiddenSize = 64,
                IntermediateSize = 160,
                NumHiddenLayers = 3,
                NumAttentionHeads = 4,
                NumKeyValueHeads = 4,
                HeadDim = 16,
                MaxPositionEmbeddings = 128,
                RmsNormEps = 1e-6f,
                RopeTheta = 10000,
                InitializerRange = 0.006f,
                BosTokenId = 0,
                EosTokenId = 1,
                Moe = new MoeConfig { NumExperts = 12, TopK = 3, IntermediateSize = 24, NumSharedExperts = 2, FirstKDenseReplace = 1 },
            },
            config);
    }

    [Theory]
    [InlineData("\"model_type\": \"deepseek\"", "\"model_type\": \"\\ud800\"")]
    [InlineData("\"pretraining_tp\"", "\"\\udc00\"")]
    [InlineData("\"model_type\": \"deepseek\"", "\"model_type\": \"deep\\u0073eek\", \"unused\": {\"a\": [\"\\ud83d\\u0020\"]}")]
    public void Half_of_a_surrogate_pair_is_refused_wherever_it_stands(string text, string replacement)
    {
        string json = Fixture("deepseek");
        Assert.Contains(text, json, StringComparison.Ordinal);

        Assert.Contains("surrogate", Assert.Throws<FileFormatException>(() => ModelConfigJson.Parse(json.Replace(text, replacement, StringComparison.Ordinal), "config.json")).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Escapes_that_spell_text_are_read()
    {
        string json = Fixture("deepseek").Replace("\"model_type\": \"deepseek\"", "\"model_type\": \"deep\\u0073eek\", \"_name_or_path\": \"\\ud83d\\ude00\"", StringComparison.Ordinal);

        Assert.Equal("deepseek", ModelConfigJson.Parse(json, "config.json").ModelType);
    }

    [Theory]
    [MemberData(nameof(PresetNames))]
    public void Every_preset_survives_writing_and_reading(string preset)
    {
        ModelConfig config = ModelPresets.Get(preset);

        ModelConfig read = ModelConfigJson.Parse(ModelConfigJson.Write(config), preset);

        Assert.Equal(config, read);
        config.Validate(preset);
    }

    public static TheoryData<string> PresetNames => [.. ModelPresets.Names];

    [Fact]
    public void Every_switch_survives_writing_and_reading()
    {
        ModelConfig config = ModelPresets.Get("nano") with
        {
            HeadDim = 24,
            NumKeyValueHeads = 2,
            AttentionBias = true,
            TieWordEmbeddings = true,
            RmsNormEps = 1e-5f,
            RopeTheta = 500000,
            BosTokenId = 3,
            Moe = new MoeConfig { NumExperts = 8, TopK = 2, IntermediateSize = 40, NormTopKProb = true, RoutedScalingFactor = 2.5f, Router = new HashRouterConfig(), FirstKDenseReplace = 1, MoeLayerFreq = 1 },
        };

        Assert.Equal(config, ModelConfigJson.Parse(ModelConfigJson.Write(config, "bfloat16"), "switches"));
    }

    [Theory]
    [InlineData("\"rope_theta\": 500000.0")]
    [InlineData("\"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 500000}")]
    [InlineData("\"rope_theta\": 500000, \"rope_scaling\": null")]
    [InlineData("\"rope_theta\": 500000, \"rope_scaling\": {\"type\": \"default\"}")]
    public void Both_rope_spellings_are_read(string keys) => Assert.Equal(500000, Llama(keys).RopeTheta);

    [Fact]
    public void Absent_and_null_heads_take_their_defaults()
    {
        ModelConfig config = Llama("\"num_key_value_heads\": null, \"head_dim\": null");

        Assert.Equal(4, config.NumKeyValueHeads);
        Assert.Equal(16, config.HeadDim);
        Assert.Equal(24, Llama("\"head_dim\": 24").HeadDim);
    }

    [Fact]
    public void Whole_numbers_may_be_written_as_floats() => Assert.Equal(9, Llama("\"max_position_embeddings\": 9.0").MaxPositionEmbeddings);

    [Fact]
    public void A_list_of_end_tokens_gives_its_first() => Assert.Equal(7, Llama("\"eos_token_id\": [7, 9]").EosTokenId);

    [Theory]
    [InlineData("n_routed_experts")]
    [InlineData("num_experts")]
    [InlineData("num_local_experts")]
    [InlineData("moe_num_experts")]
    public void Every_name_of_the_expert_count_is_read(string key)
    {
        ModelConfig config = ModelConfigJson.Parse($$"""{"model_type": "deepseek", "{{key}}": 6, "num_experts_per_tok": 2, "dtype": "bfloat16"}""", "x");

        Assert.Equal(6, config.Moe?.NumExperts);
        Assert.Equal(102400, config.VocabSize);
        Assert.Equal(1407, config.Moe?.IntermediateSize);
    }

    [Fact]
    public void Without_routed_experts_a_deepseek_model_is_dense() =>
        Assert.Null(ModelConfigJson.Parse("""{"model_type": "deepseek", "n_routed_experts": null, "n_shared_experts": null}""", "x").Moe);

    [Theory]
    [InlineData("\"rope_scaling\": {\"type\": \"longrope\", \"factor\": 4}", "longrope")]
    [InlineData("\"rope_scaling\": {\"rope_type\": \"llama3\"}", "rope_scaling.factor")]
    [InlineData("\"hidden_act\": \"gelu\"", "gelu")]
    [InlineData("\"mlp_bias\": true", "mlp_bias")]
    [InlineData("\"sliding_window\": 4096", "sliding_window")]
    [InlineData("\"quantization_config\": {\"quant_method\": \"gptq\"}", "quantization_config.quant_method 'gptq'")]
    [InlineData("\"torch_dtype\": \"int3\"", "int3")]
    [InlineData("\"vocab_size\": \"many\"", "vocab_size")]
    [InlineData("\"vocab_size\": 1.5", "vocab_size")]
    [InlineData("\"vocab_size\": 1e300", "vocab_size")]
    [InlineData("\"tie_word_embeddings\": 1", "tie_word_embeddings")]
    [InlineData("\"hidden_size\": 66", "not divisible")]
    [InlineData("\"hiden_size\": 64", "did you mean 'hidden_size'?")]
    [InlineData("\"num_key_value_heads\": 3", "num_key_value_heads 3")]
    [InlineData("\"num_hidden_layers\": 2000000000", "num_hidden_layers")]
    [InlineData("\"head_dim\": 5", "odd")]
    public void What_cannot_be_run_is_refused_by_name(string keys, string named)
    {
        ConfigurationException error = Assert.Throws<ConfigurationException>(() => Llama(keys));

        Assert.Contains(named, error.Message, StringComparison.Ordinal);
        Assert.StartsWith("folder/config.json: ", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("\"sliding_window\": null")]
    [InlineData("\"use_sliding_window\": false")]
    [InlineData("\"_name_or_path\": \"x\"")]
    [InlineData("\"transformers_version\": \"4.36.0\"")]
    public void What_changes_nothing_is_tolerated(string keys) => Assert.Equal(64, Llama(keys).HiddenSize);

    [Fact]
    public void All_problems_are_reported_at_once()
    {
        ConfigurationException error = Assert.Throws<ConfigurationException>(() =>
            (ModelPresets.Get("tiny") with { VocabSize = 0, NumKeyValueHeads = 3, Moe = new MoeConfig { NumExperts = 4, TopK = 5, IntermediateSize = -1, FirstKDenseReplace = 9 } }).Validate("run.json"));

        foreach (string named in (string[])["run.json", "vocab_size 0", "num_key_value_heads 3", "num_experts_per_tok 5", "moe_intermediate_size -1", "first_k_dense_replace 9"])
        {
            Assert.Contains(named, error.Message, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("")]
    [InlineData("[]")]
    [InlineData("{\"model_type\": \"llama\"")]
    [InlineData("{\"model_type\": \"llama\", \"model_type\": \"deepseek\"}")]
    public void What_is_not_a_JSON_object_is_a_format_error(string json) =>
        Assert.Throws<FileFormatException>(() => ModelConfigJson.Parse(json, "config.json"));

    [Fact]
    public void An_unknown_family_is_named()
    {
        ConfigurationException error = Assert.Throws<ConfigurationException>(() => ModelConfigJson.Parse("""{"model_type": "mamba"}""", "config.json"));

        Assert.Contains("'mamba'", error.Message, StringComparison.Ordinal);
        Assert.Contains("'deepseek'", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_architecture_decides_before_the_model_type() =>
        Assert.Equal("deepseek", ModelConfigJson.Parse("""{"architectures": ["DeepseekForCausalLM"], "model_type": "odd"}""", "x").ModelType);

    [Fact]
    public void The_written_file_carries_the_published_keys()
    {
        JsonNode json = JsonNode.Parse(ModelConfigJson.Write(ModelPresets.Get("deepseek-moe-16b"), "bfloat16"))!; // written just now, never null

        Assert.Equal("DeepseekForCausalLM", (string?)json["architectures"]?[0]);
        Assert.Equal(64, (int?)json["n_routed_experts"]);
        Assert.Equal("bfloat16", (string?)json["torch_dtype"]);
    }

    [Fact]
    public void A_mistyped_preset_is_answered_with_the_nearest()
    {
        ConfigurationException error = Assert.Throws<ConfigurationException>(() => ModelPresets.Get("deepseek-moe-16"));

        Assert.Contains("did you mean 'deepseek-moe-16b'?", error.Message, StringComparison.Ordinal);
    }

    private static ModelConfig Llama(string keys)
    {
        JsonObject root = JsonNode.Parse("""{"model_type": "llama", "hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2, "intermediate_size": 160, "vocab_size": 256}""")!.AsObject(); // literal
        foreach (KeyValuePair<string, JsonNode?> pair in JsonNode.Parse("{" + keys + "}")!.AsObject()) // literal
        {
            root[pair.Key] = pair.Value?.DeepClone();
        }

        return ModelConfigJson.Parse(root.ToJsonString(), "folder/config.json");
    }
}
