using MoeSharp.Checkpoints;
using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Tests.Checkpoints;
using MoeSharp.Tests.Kernels;

namespace MoeSharp.Tests.Model;

/// <summary>JetMoE's own keys and tensors; what the parts compute is tested with every other architecture.</summary>
public sealed class JetMoeFamilyTests
{
    private const string Small = """
        {"architectures": ["JetMoeForCausalLM"], "model_type": "jetmoe", "activation_function": "silu", "attention_dropout": 0.0, "aux_loss_coef": 0.01, "bos_token_id": 1, "eos_token_id": 2,
        "hidden_size": 16, "initializer_range": 0.01, "intermediate_size": 12, "kv_channels": 6, "max_position_embeddings": 64, "num_attention_heads": 6, "num_experts_per_tok": 2,
        "num_hidden_layers": 2, "num_key_value_heads": 3, "num_local_experts": 4, "output_router_logits": false, "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "use_cache": true, "vocab_size": 19}
        """;

    [Fact]
    public void Keys_of_the_family_describe_experts_in_both_halves_of_a_layer()
    {
        ModelConfig config = ModelConfigJson.Parse(Small, "test");

        Assert.Equal(new AttentionExpertsConfig { Kind = AttentionExpertsKind.Mixture, NumExperts = 4, TopK = 2, NormTopKProb = true }, config.AttentionExperts);
        Assert.Equal((3, 3, 6), (config.NumAttentionHeads, config.NumKeyValueHeads, config.HeadDim)); // query heads of one expert
        Assert.Equal(new MoeConfig { NumExperts = 4, TopK = 2, IntermediateSize = 12, NormTopKProb = true, HasOutputBias = true }, config.Moe);
        Assert.Equal((1e-6f, 1e-5f, true), (config.RmsNormEps, config.FinalNormEps, config.TieWordEmbeddings));
        Assert.Equal(config, ModelConfigJson.Parse(ModelConfigJson.Write(config), "written"));
    }

    [Fact]
    public void The_preset_is_what_its_file_says()
    {
        ModelConfig preset = ModelPresets.Get("jetmoe-8b");
        Assert.Equal(preset, ModelConfigJson.Parse(ModelConfigJson.Write(preset), "written"));
    }

    [Fact]
    public void Tensors_have_the_released_names_and_shapes_and_come_back()
    {
        ModelConfig config = ModelConfigJson.Parse(Small, "test");
        using WorkerPool workers = new(1);
        using ForwardContext context = new(workers);
        using TemporaryFolder folder = new();
        using LanguageModel model = new(config);
        WeightInit.Initialize(model, 5, WeightInitScheme.FanIn, workers);
        ModelFolder.Save(model, folder["model"], new ModelFolderOptions());

        Dictionary<string, string> shapes = WeightNames.Of(config).ToDictionary(slice => slice.CheckpointName, slice => string.Join('x', slice.CheckpointShape));
        Assert.Equal("4x18x16", shapes["model.layers.1.self_attention.experts.input_linear.weight"]);
        Assert.Equal("4x16x18", shapes["model.layers.1.self_attention.experts.output_linear.weight"]);
        Assert.Equal("4x16", shapes["model.layers.1.self_attention.experts.router.layer.weight"]);
        Assert.Equal("16", shapes["model.layers.1.self_attention.experts.bias"]);
        Assert.Equal("36x16", shapes["model.layers.1.self_attention.kv_proj.weight"]);
        Assert.Equal("4x24x16", shapes["model.layers.0.mlp.input_linear.weight"]);
        Assert.Equal("4x16x12", shapes["model.layers.0.mlp.output_linear.weight"]);
        Assert.Equal("16", shapes["model.layers.0.mlp.bias"]);
        Assert.Equal("4x16", shapes["model.layers.0.mlp.router.layer.weight"]);
        Assert.Equal(1 + 1 + (2 * 11), shapes.Count);

        using LanguageModel loaded = ModelFolder.Load(folder["model"]);
        KernelCheck.SameBits(Logits(model, context), Logits(loaded, context), "logits");
    }

    [Theory]
    [InlineData("\"num_attention_heads\": 6", "\"num_attention_heads\": 4", "num_attention_heads 4 is not num_key_value_heads 3 times num_experts_per_tok 2")]
    [InlineData("\"activation_function\": \"silu\"", "\"activation_function\": \"gelu\"", "activation_function 'gelu'")]
    [InlineData("\"num_experts_per_tok\": 2", "\"num_experts_per_tok\": 1", "num_experts_per_tok 1 is not supported")]
    [InlineData("\"num_local_experts\": 4", "\"num_local_experts\": 1", "num_experts_per_tok 2 is outside 1..1")]
    public void What_the_family_cannot_be_is_refused(string key, string instead, string says)
    {
        string json = Small.Replace(key, instead, StringComparison.Ordinal);
        Assert.Contains(says, Assert.Throws<ConfigurationException>(() => ModelConfigJson.Parse(json, "test")).Message, StringComparison.Ordinal);
    }

    private static float[] Logits(LanguageModel model, ForwardContext context)
    {
        float[] logits = new float[8 * model.Config.VocabSize];
        model.Logits(TokenBatch.FromSequences([[3, 1, 4, 1, 5, 9, 2, 6]]), 8, logits, context);
        return logits;
    }
}
