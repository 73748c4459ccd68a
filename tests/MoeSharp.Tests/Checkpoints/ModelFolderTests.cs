using System.Text.Json.Nodes;
using MoeSharp.Checkpoints;
using MoeSharp.Model;
using MoeSharp.Model.Routers;
using MoeSharp.Tensors;

namespace MoeSharp.Tests.Checkpoints;

/// <summary>Model folders: names, shards, what is missing and what is too much.</summary>
public sealed class ModelFolderTests
{
    private static string Fixture(string name) => Path.Combine(AppContext.BaseDirectory, "Fixtures", "hf", name);

    [Theory]
    [InlineData("deepseek")]
    [InlineData("deepseek_sharded_bf16")]
    public void Every_tensor_of_a_foreign_checkpoint_reaches_its_place(string name)
    {
        ModelConfig config = ModelFolder.LoadConfig(Fixture(name));
        List<Parameter> parameters = TestModel.Parameters(config, 1);

        ModelFolder.LoadWeights(Fixture(name), config, parameters);

        // Expert 5 of layer 1, up projection, row 3: found by hand in file and parameter.
        using SafetensorsFolder weights = SafetensorsFolder.Open(Fixture(name));
        int hidden = config.HiddenSize;
        float[] up = new float[24 * hidden];
        weights.FileOf("model.layers.1.mlp.experts.5.up_proj.weight")!.ReadFloats("model.layers.1.mlp.experts.5.up_proj.weight", up);
        Parameter experts = parameters.Single(parameter => parameter.Name == "layers.1.moe.experts.gate_up_projection"); // [12, 48, hidden]
        Assert.Equal(up.AsSpan(3 * hidden, hidden), experts.Value.Slice(((5 * 48) + 24 + 3) * hidden, hidden));

        float[] values = new float[hidden * hidden];
        weights.FileOf("model.layers.2.self_attn.v_proj.weight")!.ReadFloats("model.layers.2.self_attn.v_proj.weight", values);
        Parameter qkv = parameters.Single(parameter => parameter.Name == "layers.2.attention.qkv_projection");
        Assert.Equal(values, qkv.Value[(2 * hidden * hidden)..]);
    }

    [Fact]
    public void The_end_token_of_the_generation_config_wins_and_may_be_a_list()
    {
        using TemporaryFolder folder = new();
        File.WriteAllText(folder["config.json"], """{"model_type": "llama", "eos_token_id": 2}""");
        Assert.Equal(2, ModelFolder.LoadConfig(folder.Path).EosTokenId);
        Assert.Equal([2], ModelFolder.EndTokens(folder.Path));

        File.WriteAllText(folder["generation_config.json"], """{"eos_token_id": [7, 9]}""");

        Assert.Equal(7, ModelFolder.LoadConfig(folder.Path).EosTokenId);
        Assert.Equal([7, 9], ModelFolder.EndTokens(folder.Path));
    }

    [Theory]
    [MemberData(nameof(Configs))]
    public void The_name_table_covers_every_element_once(string name, ModelConfig config)
    {
        Dictionary<string, long> next = [];
        HashSet<string> names = [];
        foreach (WeightSlice slice in WeightNames.Of(config).OrderBy(slice => slice.FirstElement))
        {
            Assert.Equal(next.GetValueOrDefault(slice.ParameterName), slice.FirstElement);
            next[slice.ParameterName] = slice.FirstElement + slice.Length;
            Assert.True(names.Add(slice.CheckpointName), name);
        }

        List<Parameter> parameters = TestModel.Parameters(config, 1);
        Assert.Equal(parameters.ToDictionary(parameter => parameter.Name, parameter => parameter.Shape.Length), next);
        Assert.Equal(ModelSize.Of(config).Parameters.Total, parameters.Sum(parameter => parameter.Shape.Length));
    }

    public static TheoryData<string, ModelConfig> Configs => new()
    {
        { "all options", TestModel.Small },
        { "tied, no bias", TestModel.Small with { TieWordEmbeddings = true, AttentionBias = false } },
        { "dense", TestModel.Small with { Moe = null } },
        { "hash, no shared", TestModel.Small with { Moe = new MoeConfig { NumExperts = 3, TopK = 1, IntermediateSize = 5, Router = new HashRouterConfig() } } },
        { "nano", ModelPresets.Get("nano") },
    };

    [Theory]
    [InlineData(SafetensorsType.F32, long.MaxValue)]
    [InlineData(SafetensorsType.F32, 1000)]
    [InlineData(SafetensorsType.BF16, 300)]
    public void What_is_saved_is_loaded(SafetensorsType type, long largestFile)
    {
        using TemporaryFolder folder = new();
        List<Parameter> parameters = TestModel.Parameters(TestModel.Small, 5);
        List<Parameter> loaded = TestModel.Parameters(TestModel.Small, 99);
        string tokenizer = Directory.CreateDirectory(folder["tokenizer"]).FullName;
        File.WriteAllText(Path.Combine(tokenizer, "tokenizer.json"), "{}");

        ModelFolder.Save(TestModel.Small, parameters, folder["model"], new ModelFolderOptions { WeightType = type, LargestFileBytes = largestFile, TokenizerFolder = tokenizer });
        ModelConfig config = ModelFolder.LoadConfig(folder["model"]);
        ModelFolder.LoadWeights(folder["model"], config, loaded);

        Assert.Equal(TestModel.Small, config);
        Assert.Equal("{}", File.ReadAllText(Path.Combine(folder["model"], "tokenizer.json")));
        foreach ((Parameter original, Parameter copy) in parameters.Zip(loaded))
        {
            float tolerance = type == SafetensorsType.F32 ? 0 : 1f / 256 / 2; // values are below one half
            for (int i = 0; i < original.Value.Length; i++)
            {
                Assert.True(MathF.Abs(original.Value[i] - copy.Value[i]) <= tolerance, $"{original.Name}[{i}]: {original.Value[i]} became {copy.Value[i]}");
            }
        }

        Assert.Equal(largestFile != long.MaxValue, File.Exists(Path.Combine(folder["model"], "model.safetensors.index.json")));
        Assert.Empty(Directory.GetDirectories(folder.Path, "*.tmp-*"));
    }

    [Fact]
    public void A_folder_with_content_is_not_overwritten()
    {
        using TemporaryFolder folder = new();
        File.WriteAllText(folder["precious"], "");

        Assert.Throws<ConfigurationException>(() => ModelFolder.Save(TestModel.Small, TestModel.Parameters(TestModel.Small, 1), folder.Path, new ModelFolderOptions()));
    }

    [Fact]
    public void Missing_misshapen_and_unknown_tensors_are_all_listed()
    {
        using TemporaryFolder folder = new();
        ModelFolder.Save(TestModel.Small with { AttentionBias = false, VocabSize = 13 }, TestModel.Parameters(TestModel.Small with { AttentionBias = false, VocabSize = 13 }, 1), folder["model"], new ModelFolderOptions());

        FileFormatException error = Assert.Throws<FileFormatException>(() =>
            ModelFolder.LoadWeights(folder["model"], TestModel.Small with { Moe = null }, TestModel.Parameters(TestModel.Small with { Moe = null }, 1)));

        Assert.Contains("missing: model.layers.0.self_attn.q_proj.bias", error.Message, StringComparison.Ordinal);
        Assert.Contains("model.embed_tokens.weight is [13, 8], not [12, 8]", error.Message, StringComparison.Ordinal);
        Assert.Contains("unknown: 'model.layers.1.mlp.gate.weight'", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Tensors_without_use_are_passed_over()
    {
        using TemporaryFolder folder = new();
        ModelConfig tied = TestModel.Small with { TieWordEmbeddings = true };
        List<NamedTensor> tensors = [.. WeightNames.Of(TestModel.Small).Select(slice => new NamedTensor(slice.CheckpointName, [.. slice.CheckpointShape.Select(dimension => (int)dimension)], new float[slice.Length]))];
        tensors.Add(new NamedTensor("model.layers.0.self_attn.rotary_emb.inv_freq", [1], new float[1]));
        SafetensorsWriter.WriteFile(folder["model.safetensors"], tensors);

        ModelFolder.LoadWeights(folder.Path, tied, TestModel.Parameters(tied, 1));
    }

    [Theory]
    [InlineData("../outside.safetensors")]
    [InlineData("/etc/outside.safetensors")]
    [InlineData("sub/outside.safetensors")]
    [InlineData("sub\\outside.safetensors")]
    [InlineData(".hidden.safetensors")]
    [InlineData("model.bin")]
    [InlineData("missing.safetensors")]
    public void A_shard_name_that_leaves_the_folder_or_is_missing_is_refused(string shard)
    {
        using TemporaryFolder folder = new();
        File.WriteAllText(folder["model.safetensors.index.json"], new JsonObject { ["weight_map"] = new JsonObject { ["x"] = shard } }.ToJsonString());

        Assert.Throws<FileFormatException>(() => SafetensorsFolder.Open(folder.Path));
    }

    [Fact]
    public void A_tensor_that_is_not_in_its_shard_is_refused()
    {
        using TemporaryFolder folder = new();
        SafetensorsWriter.WriteFile(folder["a.safetensors"], [new NamedTensor("y", [1], new float[1])]);
        File.WriteAllText(folder["model.safetensors.index.json"], """{"weight_map": {"x": "a.safetensors"}}""");

        Assert.Throws<FileFormatException>(() => SafetensorsFolder.Open(folder.Path));
    }

    [Fact]
    public void A_folder_with_only_pickles_says_why_it_is_refused()
    {
        using TemporaryFolder folder = new();
        File.WriteAllText(folder["pytorch_model.bin"], "");

        Assert.Contains("convert", Assert.Throws<ConfigurationException>(() => SafetensorsFolder.Open(folder.Path)).Message, StringComparison.Ordinal);
    }
}
