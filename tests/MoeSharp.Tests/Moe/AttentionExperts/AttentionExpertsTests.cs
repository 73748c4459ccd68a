using MoeSharp.Checkpoints;
using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Kernels.Formats;
using MoeSharp.Model;
using MoeSharp.Tensors;
using MoeSharp.Tests.Checkpoints;
using MoeSharp.Tests.Kernels;
using MoeSharp.Tests.Model;
using MoeSharp.Tests.Training;
using MoeSharp.Training;

namespace MoeSharp.Tests.Moe.AttentionExperts;

/// <summary>What attention experts are beside their formulas, which <see cref="ArchitectureTests"/> checks: limits, files, threads, training.</summary>
public sealed class AttentionExpertsTests
{
    private const string Mixture = "\"attention\": \"mixture\", \"num_attention_experts\": 4, \"attention_experts_per_tok\": 2";
    private const string SwitchHead = "\"attention\": \"switch_head\", \"num_attention_experts\": 4, \"attention_experts_per_tok\": 2";

    private static readonly ModelConfig s_plain = new()
    {
        VocabSize = 19,
        HiddenSize = 16,
        IntermediateSize = 20,
        NumHiddenLayers = 2,
        NumAttentionHeads = 4,
        NumKeyValueHeads = 2,
        HeadDim = 6,
        MaxPositionEmbeddings = 64,
    };

    [Fact]
    public void A_mixture_of_one_expert_is_plain_attention()
    {
        ModelConfig config = s_plain with { AttentionExperts = new AttentionExpertsConfig { Kind = AttentionExpertsKind.Mixture, NumExperts = 1, TopK = 1 } };
        float[] mixed = LogitsOf(config, (weight, plain) => weight switch
        {
            "query_projection" => plain("qkv_projection")[..(24 * 16)],
            "key_value_projection" => plain("qkv_projection")[(24 * 16)..],
            "output_projection" => plain("output_projection"),
            _ => null,
        });

        KernelCheck.SameBits(LogitsOf(s_plain, (_, _) => null), mixed, "logits");
    }

    // A gate with zero weights is a half, here once for values and once for the output: a quarter of plain attention. Halves do not round, but heads are added in another order.
    [Fact]
    public void Switch_head_with_one_expert_is_plain_attention_times_its_gates()
    {
        ModelConfig config = s_plain with { AttentionExperts = new AttentionExpertsConfig { Kind = AttentionExpertsKind.SwitchHead, NumExperts = 1, TopK = 1 } };
        float[] switched = LogitsOf(config, (weight, plain) => weight switch
        {
            "query_key_projection" => plain("qkv_projection")[..(36 * 16)],
            "value_projection" => plain("qkv_projection")[(36 * 16)..],
            "output_projection" => ByHead(plain("output_projection")),
            "value_router" => new float[2 * 16],
            "output_router" => new float[4 * 16],
            _ => null,
        });

        float[] quarter = LogitsOf(s_plain, (weight, plain) => weight == "output_projection" ? [.. plain(weight).Select(value => value / 4)] : null);
        KernelCheck.Close(KernelCheck.Double(quarter), switched, 1e-6, 1e-6, "logits");
    }

    [Theory]
    [InlineData(Mixture, true)]
    [InlineData(Mixture + ", \"norm_attention_topk_prob\": false", true)]
    [InlineData(SwitchHead, false)]
    public void A_steady_training_step_allocates_nothing_and_its_losses_fall(string section, bool isBalanced)
    {
        using TinyText text = new();
        using WorkerPool workers = new(2);
        TrainingConfig config = Config(text, section);
        using LanguageModel model = new(config.Model!);
        WeightInit.Initialize(model, 1, WeightInitScheme.FanIn, workers);
        using TrainingStep step = new(config, model, text.Loader(config), workers, TimeProvider.System);
        double first = step.Run(0, 0).Loss;
        for (int i = 0; i < 5; i++)
        {
            step.Run(0, 0);
        }

        long before = GC.GetAllocatedBytesForCurrentThread();
        StepMetrics metrics = step.Run(0, 0);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.True(metrics.Loss < first - 0.1, $"{first}, then {metrics.Loss}");
        Assert.Equal(isBalanced ? config.Model!.NumHiddenLayers : 0, step.Context.AttentionRouting.NumLayers);
        Assert.All(step.Context.AttentionRouting.Layers, layer => Assert.Equal(config.Batch.Tokens * 2, layer.TokensPerExpert.Sum()));
    }

    [Fact]
    public void The_balance_loss_reaches_the_router_of_attention_and_devices_do_not_matter_to_it()
    {
        Assert.Equal(Gradient(new BalanceConfig()), Gradient(new BalanceConfig { DeviceAlpha = 3, NumDeviceGroups = 3, CommunicationAlpha = 2 }));
        Assert.NotEqual(Gradient(new BalanceConfig()), Gradient(new BalanceConfig { ExpertAlpha = 0.1f }));
        Assert.NotEqual(Gradient(new BalanceConfig()), Gradient(new BalanceConfig { ExpertAlpha = 0.1f, Scope = BalanceScope.AllLayers }));
        Assert.NotEqual(Gradient(new BalanceConfig()), Gradient(new BalanceConfig { ZLossAlpha = 0.1f }));

        static float[] Gradient(BalanceConfig balance) => Gradients(s_mixture, balance, 1, name => name.EndsWith("attention.router", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(AttentionExpertsKind.Mixture)]
    [InlineData(AttentionExpertsKind.SwitchHead)]
    public void Threads_do_not_change_a_bit(AttentionExpertsKind kind)
    {
        ModelConfig config = s_mixture with { AttentionExperts = s_mixture.AttentionExperts! with { Kind = kind } };
        BalanceConfig balance = new() { ExpertAlpha = 0.1f };
        KernelCheck.SameBits(Gradients(config, balance, 1, _ => true), Gradients(config, balance, 3, _ => true), "gradients");
    }

    [Theory]
    [InlineData(Mixture)]
    [InlineData(SwitchHead)]
    public void A_model_is_the_same_after_it_was_saved_and_loaded(string section)
    {
        ModelConfig config = Parse(section);
        using WorkerPool workers = new(1);
        using ForwardContext context = new(workers);
        using TemporaryFolder folder = new();
        using LanguageModel model = new(config);
        WeightInit.Initialize(model, 5, WeightInitScheme.FanIn, workers);
        ModelFolder.Save(model, folder["model"], new ModelFolderOptions());
        using LanguageModel loaded = ModelFolder.Load(folder["model"]);

        Assert.Equal(config, loaded.Config);
        KernelCheck.SameBits(Logits(model, context), Logits(loaded, context), "logits");
    }

    [Theory]
    [InlineData(Mixture, "router")]
    [InlineData(SwitchHead, "output_router, value_router")]
    public void Packed_experts_give_the_logits_of_the_same_numbers_unpacked(string section, string unpacked)
    {
        using WorkerPool workers = new(1);
        using ForwardContext context = new(workers);
        using TemporaryFolder folder = new();
        using LanguageModel model = new(Parse(section));
        WeightInit.Initialize(model, 5, WeightInitScheme.FanIn, workers);
        ModelFolder.Save(model, folder["model"], new ModelFolderOptions { WeightType = SafetensorsType.BF16 });
        using LanguageModel rounded = ModelFolder.Load(folder["model"]);
        using ModelFiles files = ModelFiles.Open(folder["model"]);
        using LanguageModel packed = files.Load(new LoadOptions { Weights = WeightTarget.Parse("bf16") }, TestContext.Current.CancellationToken);

        string kept = string.Join(", ", packed.Parameters.Where(parameter => parameter.Name.StartsWith("layers.0.attention.", StringComparison.Ordinal) && parameter.Packed is null).Select(parameter => parameter.Name[19..]).Order());
        Assert.Equal(unpacked, kept);
        KernelCheck.Close(KernelCheck.Double(Logits(rounded, context)), Logits(packed, context), 1e-4, 1e-4, "logits");
    }

    [Theory]
    [InlineData("\"attention\": \"mixtures\"", "", "moesharp.attention")]
    [InlineData("\"attention\": \"mixture\", \"num_attention_experts\": 4", "", "attention_experts_per_tok 0 is outside 1..4")]
    [InlineData("\"attention\": \"mixture\", \"attention_experts_per_tok\": 1", "", "num_attention_experts 0 is outside")]
    [InlineData("\"attention\": \"mixture\", \"num_attention_experts\": 4, \"attention_experts_per_tok\": 1, \"norm_attention_topk_prob\": true", "", "the router got no gradient")]
    [InlineData(SwitchHead + ", \"norm_attention_topk_prob\": true", "", "unknown key 'moesharp.norm_attention_topk_prob'")]
    [InlineData("\"num_attention_experts\": 4", "", "unknown key 'moesharp.num_attention_experts'")]
    [InlineData(Mixture, "\"attention_bias\": true,", "do not go with attention_bias")]
    [InlineData("\"attention\": \"mixture\", \"num_attention_experts\": 9999999, \"attention_experts_per_tok\": 2", "", "use fewer experts")]
    [InlineData(Mixture + ", \"router\": \"hash\"", "\"n_routed_experts\": null,", "unknown key 'moesharp.router'")]
    public void What_does_not_fit_is_refused_with_the_reason(string section, string more, string says)
    {
        Assert.Contains(says, Assert.Throws<ConfigurationException>(() => Parse(section, more)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Attention_without_keys_and_values_of_its_own_has_no_experts()
    {
        ModelConfig latent = s_mixture with { HeadDim = 10, LatentAttention = new LatentAttentionConfig { LatentRank = 7, NopeHeadDim = 6, RopeHeadDim = 4, ValueHeadDim = 5 } };
        Assert.Contains("latent attention", Assert.Throws<ConfigurationException>(() => latent.Validate()).Message, StringComparison.Ordinal);
        ModelConfig windows = s_mixture with { SlidingWindow = 3, LayerAttention = [AttentionKind.Sliding, AttentionKind.Full] };
        Assert.Contains("layer_types", Assert.Throws<ConfigurationException>(() => windows.Validate()).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_token_activates_its_experts_alone()
    {
        const long Query = 24 * 16; // of one expert, as its output
        ParameterCounts mixture = ModelSize.Of(s_mixture).Parameters;
        Assert.Equal(2 * 3 * 2 * Query, mixture.Total - mixture.Activated); // 2 layers, 3 of 5 experts rest
        ParameterCounts heads = ModelSize.Of(s_mixture with { AttentionExperts = s_mixture.AttentionExperts! with { Kind = AttentionExpertsKind.SwitchHead } }).Parameters;
        Assert.Equal(2 * 3 * ((12 * 16) + Query), heads.Total - heads.Activated);
    }

    private static readonly ModelConfig s_mixture = s_plain with { AttentionExperts = new AttentionExpertsConfig { Kind = AttentionExpertsKind.Mixture, NumExperts = 5, TopK = 2 } };

    private static ModelConfig Parse(string section, string more = "")
    {
        string json = ModelConfigJson.Write(ModelPresets.Get("nano"));
        json = more.Length == 0 ? json : string.Join('\n', json.Split('\n').Where(line => !line.Contains(more.Split(':')[0], StringComparison.Ordinal)));
        return ModelConfigJson.Parse(json.Replace("\"model_type\"", $"{more} \"moesharp\": {{ {section} }}, \"model_type\"", StringComparison.Ordinal), "test");
    }

    private static TrainingConfig Config(TinyText text, string section)
    {
        TrainingConfig config = TinyText.Config($"model.moesharp={{ {section} }}");
        config = config with { Model = config.Model! with { VocabSize = text.VocabSize } };
        config.Validate("test");
        return config;
    }

    private static float[] Gradients(ModelConfig config, BalanceConfig balance, int threads, Func<string, bool> wanted)
    {
        using WorkerPool workers = new(threads);
        using ForwardContext context = new(workers);
        using LanguageModel model = new(config);
        WeightInit.Initialize(model, 7, WeightInitScheme.FanIn, workers);
        model.Parameters.ToList().ForEach(parameter => parameter.AllocateGradient());
        model.ForwardBackward(LanguageModelTests.PackedBatch(config.VocabSize), balance, 0.1f, 1f, context);
        return [.. model.Parameters.Where(parameter => wanted(parameter.Name)).SelectMany(parameter => parameter.Gradient.ToArray())];
    }

    private static float[] Logits(LanguageModel model, ForwardContext context)
    {
        float[] logits = new float[8 * model.Config.VocabSize];
        model.Logits(TokenBatch.FromSequences([[3, 1, 4, 1, 5, 9, 2, 6]]), 8, logits, context);
        return logits;
    }

    // Weights of the plain model, and those of attention as a function of the plain ones gives them.
    private static float[] LogitsOf(ModelConfig config, Func<string, Func<string, float[]>, float[]?> attention)
    {
        using WorkerPool workers = new(2);
        using ForwardContext context = new(workers);
        using LanguageModel plain = new(s_plain);
        WeightInit.Initialize(plain, 7, WeightInitScheme.FanIn, workers);
        using LanguageModel model = new(config);
        WeightInit.Initialize(model, 7, WeightInitScheme.FanIn, workers);
        foreach (Parameter parameter in model.Parameters.Where(parameter => parameter.Name.Contains(".attention.", StringComparison.Ordinal)))
        {
            int dot = parameter.Name.LastIndexOf('.') + 1;
            string path = parameter.Name[..dot];
            attention(parameter.Name[dot..], name => plain.Parameters.Single(other => other.Name == path + name).Value.ToArray())?.CopyTo(parameter.Value);
        }

        return Logits(model, context);
    }

    // [hidden, heads * head_dim] to [heads, hidden, head_dim]
    private static float[] ByHead(float[] output) =>
        [.. Enumerable.Range(0, 4).SelectMany(head => Enumerable.Range(0, 16).SelectMany(row => output.Skip((row * 24) + (head * 6)).Take(6)))];
}
