using MoeSharp.Model;

namespace MoeSharp.Tests.Model;

/// <summary>Sizes against published figures and against independent counting.</summary>
public sealed class ModelSizeTests
{
    [Theory]
    [InlineData("deepseek-moe-16b", 16_375_728_128, 2_828_650_496, 2_618_935_296)]
    [InlineData("deepseek-moe-145b", 144_612_773_888, 22_187_331_584, 21_767_901_184)]
    [InlineData("deepseek-moe-142b-half", 142_501_990_400, 13_744_197_632, 13_324_767_232)]
    [InlineData("llama2-7b", 6_738_415_616, 6_738_415_616, 6_607_343_616)]
    [InlineData("deepseek-7b", 6_910_365_696, 6_910_365_696, 6_490_935_296)]
    [InlineData("deepseek-67b", 67_425_001_472, 67_425_001_472, 66_586_140_672)]
    public void Parameter_counts_equal_the_published_models(string preset, long total, long activated, long withoutEmbedding)
    {
        ParameterCounts counts = ModelSize.Of(ModelPresets.Get(preset)).Parameters;

        Assert.Equal(new ParameterCounts(total, activated, withoutEmbedding), counts);
    }

    [Theory]
    [InlineData("deepseek-v2-lite", 15_706_484_224)]
    [InlineData("deepseek-v2", 235_741_434_880)]
    [InlineData("deepseek-v3", 671_026_419_200)]
    [InlineData("mixtral-8x7b", 46_702_792_704)]
    [InlineData("qwen1.5-moe-a2.7b", 14_315_784_192)]
    [InlineData("olmoe-1b-7b", 6_919_161_856)]
    [InlineData("jetmoe-8b", 8_522_237_952)]
    public void Totals_equal_the_released_weights(string preset, long total) => Assert.Equal(total, ModelSize.Of(ModelPresets.Get(preset)).Parameters.Total);

    [Theory]
    [InlineData("mixtral-8x22b", 140.621, 39.152)]
    [InlineData("qwen3-30b-a3b", 30.53, 3.35)]
    [InlineData("qwen3-235b-a22b", 235.1, 22.2)]
    [InlineData("jetmoe-8b", 8.52, 2.33)]
    [InlineData("dbrx", 131.597, 36.470)]
    [InlineData("arctic", 478.6, 17.32)]
    [InlineData("llama-moe-3.5b", 6.741, 3.494)]
    [InlineData("grok-1", 315.685, 83.757)]
    [InlineData("minimax-text-01", 456.09, 48.40)] // activated 45.945 without both embeddings
    [InlineData("gpt-oss-20b", 20.91, 4.19)] // 21B and 3.6B without the embeddings' 0.58B
    [InlineData("gpt-oss-120b", 116.83, 5.71)]
    public void Totals_and_activated_parameters_are_near_the_published_ones(string preset, double billions, double activated)
    {
        ParameterCounts counts = ModelSize.Of(ModelPresets.Get(preset)).Parameters;

        Assert.Equal(billions, counts.Total / 1e9, billions * 0.001);
        Assert.Equal(activated, counts.Activated / 1e9, activated * 0.005);
    }

    [Theory]
    [InlineData("deepseek-v2", 60 * (512 + 64))] // arXiv 2405.04434, section 2.1.4: latent and rotated key
    [InlineData("qwen3-30b-a3b", 48 * 2 * 4 * 128)]
    [InlineData("minimax-text-01", 10 * 2 * 8 * 128)] // the linear layers keep a state, not keys
    public void The_cache_holds_what_each_attention_needs(string preset, int floats) =>
        Assert.Equal(4L * floats, ModelSize.Of(ModelPresets.Get(preset)).Memory(1).KeyValueCachePerToken);

    [Fact]
    public void The_142B_model_with_a_narrow_dense_layer_has_the_other_count()
    {
        ModelConfig config = ModelPresets.Get("deepseek-moe-142b-half") with { IntermediateSize = 10944 };

        Assert.Equal(new ParameterCounts(142_367_510_528, 13_609_717_760, 13_190_287_360), ModelSize.Of(config).Parameters);
    }

    [Theory]
    [InlineData("llama2-7b", 4096, 187.939)]
    [InlineData("deepseek-7b", 4096, 183.481)]
    [InlineData("deepseek-67b", 4096, 2057.461)]
    [InlineData("deepseek-moe-16b", 4096, 74.423)]
    [InlineData("gshard-137b", 4096, 572.708)]
    [InlineData("deepseek-moe-142b-half", 4096, 374.590)]
    [InlineData("deepseek-moe-145b", 4096, 585.490)]
    [InlineData("dense-2b", 2048, 2.880)]
    [InlineData("hash-2b", 2048, 2.880)]
    [InlineData("switch-2b", 2048, 2.880)]
    [InlineData("gshard-2b", 2048, 4.330)]
    [InlineData("deepseek-moe-2b", 2048, 4.330)]
    [InlineData("gshard-x1.5-2b", 2048, 5.779)]
    [InlineData("dense-x16-2b", 2048, 24.623)]
    public void Paper_flops_equal_the_tables(string preset, int sequenceLength, double tera)
    {
        ModelFlops flops = ModelSize.Of(ModelPresets.Get(preset)).Flops(sequenceLength);

        Assert.InRange(flops.Paper / 1e12, tera - 0.0005, tera + 0.0005); // the tables are rounded to 0.001T
    }

    [Theory]
    [InlineData("llama2-7b", 188.8)]
    [InlineData("deepseek-7b", 184.3)]
    [InlineData("deepseek-67b", 1793.1)]
    [InlineData("deepseek-moe-16b", 75.9)]
    public void Actual_flops_count_the_true_widths(string preset, double tera)
    {
        ModelFlops flops = ModelSize.Of(ModelPresets.Get(preset)).Flops(4096);

        Assert.InRange(flops.Actual / 1e12, tera - 0.05, tera + 0.05);
        Assert.True(flops.ActualCausal < flops.Actual);
    }

    [Theory]
    [InlineData("tiny", 256, 2048, 55.8, 11.81, 4.28)]
    [InlineData("small", 512, 4096, 792, 159.8, 30.1)]
    public void Laptop_presets_have_the_benchmark_sizes(string preset, int sequenceLength, int tokensPerStep, double gigaFlops, double millionTotal, double millionMatrices)
    {
        ModelConfig config = ModelPresets.Get(preset);
        ModelSize size = ModelSize.Of(config);

        long norms = ((2L * config.NumHiddenLayers) + 1) * config.HiddenSize;
        Assert.InRange(size.Parameters.Total / 1e6, millionTotal - 0.06, millionTotal + 0.06);
        Assert.InRange((size.Parameters.ActivatedWithoutEmbedding - norms) / 1e6, millionMatrices - 0.06, millionMatrices + 0.06);
        Assert.Equal(gigaFlops, size.Flops(sequenceLength).ActualCausal / sequenceLength * tokensPerStep / 1e9, gigaFlops * 0.005);
    }

    [Theory]
    [InlineData("deepseek-moe-2b", 1.89, 0.24)]
    [InlineData("gshard-2b", 1.89, 0.24)]
    [InlineData("gshard-x1.2-2b", 2.26, 0.28)] // 2.3 in the paper
    [InlineData("gshard-x1.5-2b", 2.83, 0.35)]
    [InlineData("switch-2b", 1.89, 0.12)]
    [InlineData("dense-x4-2b", 0.47, 0.47)]
    [InlineData("dense-x16-2b", 1.89, 1.89)]
    public void Expert_parameters_of_the_2B_models_equal_table_8(string preset, double totalBillion, double activatedBillion)
    {
        ModelConfig config = ModelPresets.Get(preset);
        double perWidth = 3.0 * config.HiddenSize * config.NumHiddenLayers;
        double total = config.Moe is { } moe ? ((double)moe.NumExperts + moe.NumSharedExperts) * moe.IntermediateSize : config.IntermediateSize;
        double activated = config.Moe is { } active ? ((double)active.TopK + active.NumSharedExperts) * active.IntermediateSize : config.IntermediateSize;

        Assert.Equal(totalBillion, perWidth * total / 1e9, 0.005);
        Assert.Equal(activatedBillion, perWidth * activated / 1e9, 0.005);
    }

    [Theory]
    [InlineData("deepseek-moe-2b", 2.0, 0.3)]
    [InlineData("gshard-2b", 2.0, 0.3)]
    [InlineData("switch-2b", 2.0, 0.2)]
    [InlineData("hash-2b", 2.0, 0.2)]
    [InlineData("dense-2b", 0.2, 0.2)]
    [InlineData("gshard-137b", 136.5, 21.7)] // 21.6 in the paper
    public void Rounded_totals_equal_table_1(string preset, double totalBillion, double activatedBillion)
    {
        ParameterCounts counts = ModelSize.Of(ModelPresets.Get(preset)).Parameters;

        Assert.Equal(totalBillion, Math.Round(counts.Total / 1e9, 1));
        Assert.Equal(activatedBillion, Math.Round(counts.Activated / 1e9, 1));
    }

    [Theory]
    [InlineData("nano")]
    [InlineData("quickstart")]
    [InlineData("tiny")]
    [InlineData("small")]
    public void Dense_twin_differs_in_activated_parameters_only_by_the_router(string preset)
    {
        ModelConfig sparse = ModelPresets.Get(preset);
        long routers = (long)sparse.NumHiddenLayers * sparse.Moe!.NumExperts * sparse.HiddenSize; // the preset has experts

        Assert.Equal(
            ModelSize.Of(sparse).Parameters.Activated - routers,
            ModelSize.Of(ModelPresets.Get(preset + "-dense")).Parameters.Activated);
    }

    [Fact]
    public void A_downloaded_config_counts_like_its_preset()
    {
        ModelConfig downloaded = ModelPresets.Get("deepseek-moe-16b") with { InitializerRange = 0.02f, EosTokenId = 7, RopeTheta = 1e6 };

        Assert.Equal("deepseek-moe-16b", ModelPresets.NameOf(downloaded));
        Assert.Equal(74.423, ModelSize.Of(downloaded).Flops(4096).Paper / 1e12, 0.0005);
    }

    [Fact]
    public void An_unpublished_model_counts_its_true_widths()
    {
        ModelConfig config = ModelPresets.Get("tiny");
        double matrices = (4.0 * 4 * 256 * 256) + (4.0 * 4 * 3 * 256 * 176) + (4096.0 * 256); // attention, experts, head

        double expected = (6 * 128 * matrices) + (12.0 * 4 * 256 * 128 * 128);

        Assert.Equal(expected, ModelSize.Of(config).Flops(128).Paper);
    }

    [Fact]
    public void Memory_counts_bytes()
    {
        ModelMemory memory = ModelSize.Of(ModelPresets.Get("deepseek-67b")).Memory(4096);

        Assert.Equal(4 * 67_425_001_472, memory.WeightsFloat32);
        Assert.Equal(2 * 67_425_001_472, memory.WeightsBFloat16);
        Assert.Equal(2 * 95 * 8 * 128 * 4, memory.KeyValueCachePerToken);
        Assert.Equal(16 * 67_425_001_472, memory.TrainingWeights);
        Assert.Equal(memory.TrainingWeights + memory.TrainingActivations, memory.Training);
    }

    [Fact]
    public void Tied_embeddings_are_counted_once_and_stay_activated()
    {
        ModelConfig untied = ModelPresets.Get("nano");
        ModelConfig tied = untied with { TieWordEmbeddings = true };
        long embedding = 512 * 64;

        ParameterCounts counts = ModelSize.Of(tied).Parameters;

        Assert.Equal(ModelSize.Of(untied).Parameters.Total - embedding, counts.Total);
        Assert.Equal(ModelSize.Of(untied).Parameters.ActivatedWithoutEmbedding, counts.ActivatedWithoutEmbedding);
    }
}
