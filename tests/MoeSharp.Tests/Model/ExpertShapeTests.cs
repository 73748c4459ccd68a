using MoeSharp.Checkpoints;
using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Tests.Checkpoints;
using MoeSharp.Tests.Kernels;
using MoeSharp.Tests.Training;
using MoeSharp.Training;

namespace MoeSharp.Tests.Model;

/// <summary>Experts cut finer, experts beside a dense feed-forward, experts in every n-th layer, and the dense models to compare with.</summary>
public sealed class ExpertShapeTests
{
    // GShard's 2 of 16 as DeepSeekMoE's 1 shared and 7 of 63 routed (arXiv 2401.06066, equations 9 to 11).
    [Theory]
    [InlineData(1, 0, 16, 2, 128)]
    [InlineData(2, 0, 32, 4, 64)]
    [InlineData(4, 1, 63, 7, 32)]
    [InlineData(8, 2, 126, 14, 16)]
    public void Segmentation_cuts_experts_and_keeps_their_parameters(int pieces, int shared, int experts, int topK, int width)
    {
        ModelConfig whole = Parse("");
        ModelConfig cut = Parse($"\"segmentation\": {pieces}", $"\"n_shared_experts\": {shared}");

        Assert.Equal(whole.Moe! with { NumExperts = experts, TopK = topK, IntermediateSize = width, NumSharedExperts = shared }, cut.Moe);
        Assert.Equal(WithoutRouters(whole), WithoutRouters(cut));
        Assert.Equal(cut, ModelConfigJson.Parse(ModelConfigJson.Write(cut), "written"));
    }

    [Theory]
    [InlineData("\"segmentation\": 3", "", "segmentation 3 does not divide moe_intermediate_size 128")]
    [InlineData("\"segmentation\": 0", "", "segmentation 0 does not divide")]
    [InlineData("\"segmentation\": 2", "\"n_shared_experts\": 4", "leaves no routed expert beside n_shared_experts 4")]
    [InlineData("\"dense_residual\": \"parallel\"", "\"n_shared_experts\": 1", "leave one of them out")]
    [InlineData("\"dense_residual\": \"behind\"", "", "moesharp.dense_residual 'behind'")]
    public void What_cannot_be_cut_or_joined_is_refused(string section, string more, string says)
    {
        Assert.Contains(says, Assert.Throws<ConfigurationException>(() => Parse(section, more)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("\"dense_residual\": \"parallel\"", "model.n_shared_experts=0")]
    [InlineData("\"dense_residual\": \"arctic\"")]
    [InlineData("\"segmentation\": 2", "model.n_shared_experts=1")]
    [InlineData("\"dense_residual\": \"parallel\"", "model.n_shared_experts=0", "model.moe_layer_freq=2", "model.num_hidden_layers=3")]
    [InlineData("\"dense_residual\": \"arctic\"", "model.moe_layer_freq=2", "model.num_hidden_layers=3", "model.first_k_dense_replace=1")]
    public void Every_shape_trains_without_garbage_and_survives_a_file(string section, params string[] more)
    {
        using TinyRun run = new(2, [$"model.moesharp={{ {section} }}", .. more]);
        (LanguageModel model, TrainingStep step) = (run.Model, run.Step);
        Assert.Equal(model.Parameters.Sum(parameter => parameter.Shape.Length), ModelSize.Of(model.Config).Parameters.Total);
        double first = step.Run(0, 0).Loss;
        for (int i = 0; i < 5; i++)
        {
            step.Run(0, 0);
        }

        long before = GC.GetAllocatedBytesForCurrentThread();
        double last = step.Run(0, 0).Loss;
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.True(last < first - 0.1, $"{first}, then {last}");
        Assert.Equal(model.Config.NumMoeLayers, step.Load.NumLayers);

        using TemporaryFolder folder = new();
        using ForwardContext context = new(run.Workers);
        ModelFolder.Save(model, folder["model"], new ModelFolderOptions());
        using LanguageModel loaded = ModelFolder.Load(folder["model"]);
        Assert.Equal(model.Config, loaded.Config);
        KernelCheck.SameBits(Logits(model, context), Logits(loaded, context), "logits");
    }

    [Fact]
    public void Experts_of_every_second_layer_are_where_the_period_says()
    {
        ModelConfig config = Parse("", "\"moe_layer_freq\": 2") with { NumHiddenLayers = 5 };
        Assert.Equal([true, false, true, false, true], Enumerable.Range(0, 5).Select(config.IsMoeLayer));
    }

    [Theory]
    [InlineData("", DenseMatch.Activated, 2 * 128)]
    [InlineData("", DenseMatch.Total, 16 * 128)]
    [InlineData("\"segmentation\": 4", DenseMatch.Activated, 2 * 128)]
    [InlineData("\"dense_residual\": \"parallel\"", DenseMatch.Activated, 512 + (2 * 128))]
    [InlineData("\"attention\": \"mixture\", \"num_attention_experts\": 4, \"attention_experts_per_tok\": 2", DenseMatch.Activated, 2 * 128)]
    [InlineData("\"attention\": \"mixture\", \"num_attention_experts\": 4, \"attention_experts_per_tok\": 2", DenseMatch.Total, 16 * 128)]
    public void A_dense_baseline_has_exactly_the_parameters_where_every_layer_has_experts(string section, DenseMatch match, int width)
    {
        ModelConfig config = Parse(section);
        DenseBaseline dense = DenseBaseline.Of(config, match);

        Assert.Equal((width, 0L), (dense.Config.IntermediateSize, dense.Difference));
        using LanguageModel model = new(dense.Config);
        ParameterCounts counts = ModelSize.Of(config).Parameters;
        Assert.Equal((match == DenseMatch.Activated ? counts.Activated : counts.Total) - dense.RouterParameters, model.Parameters.Sum(parameter => parameter.Shape.Length));
        string json = ModelConfigJson.Write(dense.Config);
        Assert.Equal(ModelSize.Of(dense.Config).Parameters, ModelSize.Of(ModelConfigJson.Parse(json, "written")).Parameters);
        Assert.Equal(json, ModelConfigJson.Write(ModelConfigJson.Parse(json, "written")));
    }

    [Theory]
    [InlineData("deepseek-moe-16b", DenseMatch.Total)]
    [InlineData("deepseek-moe-16b", DenseMatch.Activated)]
    [InlineData("mixtral-8x7b", DenseMatch.Activated)]
    [InlineData("qwen1.5-moe-a2.7b", DenseMatch.Activated)]
    [InlineData("jetmoe-8b", DenseMatch.Activated)]
    [InlineData("arctic", DenseMatch.Activated)]
    public void Dense_relatives_of_released_models_are_as_near_as_a_width_allows(string preset, DenseMatch match)
    {
        ModelConfig config = ModelPresets.Get(preset);
        DenseBaseline dense = DenseBaseline.Of(config, match);

        long step = 3L * config.HiddenSize * config.NumHiddenLayers;
        Assert.InRange(dense.Difference, -step / 2, step / 2);
        Assert.Equal(dense.Wanted + dense.Difference, ModelSize.Of(dense.Config).Parameters.Total);
        string json = ModelConfigJson.Write(dense.Config);
        Assert.Equal(ModelSize.Of(dense.Config).Parameters, ModelSize.Of(ModelConfigJson.Parse(json, "written")).Parameters);
        Assert.Equal(json, ModelConfigJson.Write(ModelConfigJson.Parse(json, "written")));
    }

    [Theory]
    [InlineData("llama2-7b", "dense itself")]
    [InlineData("deepseek-v3", "'deepseek_v3' has no dense relative")]
    public void A_model_without_a_dense_relative_is_refused(string preset, string says)
    {
        Assert.Contains(says, Assert.Throws<ConfigurationException>(() => DenseBaseline.Of(ModelPresets.Get(preset), DenseMatch.Total)).Message, StringComparison.Ordinal);
    }

    private static ModelConfig Parse(string section, string more = "") => ModelConfigJson.Parse(
        $$"""
        {"model_type": "deepseek", "vocab_size": 32, "hidden_size": 64, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 64,
        "n_routed_experts": 16, "num_experts_per_tok": 2, "moe_intermediate_size": 128, {{(more.Length == 0 ? "" : more + ",")}} "moesharp": { {{section}} } }
        """,
        "test");

    private static long WithoutRouters(ModelConfig config) => ModelSize.Of(config).Parameters.Total - ModelSize.Of(config).RouterParameters;

    private static float[] Logits(LanguageModel model, ForwardContext context)
    {
        float[] logits = new float[8 * model.Config.VocabSize];
        model.Logits(TokenBatch.FromSequences([[3, 1, 4, 1, 5, 9, 2, 6]]), 8, logits, context);
        return logits;
    }
}
