using MoeSharp.Checkpoints;
using MoeSharp.Checkpoints.Export;
using MoeSharp.Checkpoints.Gguf;
using MoeSharp.Kernels.Formats;
using MoeSharp.Model;

namespace MoeSharp.Tests.Checkpoints;

/// <summary>The tables of GGUF tensor names, for the configurations of every family.</summary>
public sealed class GgufNamesTests
{
    [Theory]
    [InlineData("deepseek")]
    [InlineData("deepseek_v2")]
    [InlineData("deepseek_v2_group")]
    [InlineData("deepseek_v3")]
    [InlineData("qwen2_moe")]
    [InlineData("qwen3_moe")]
    [InlineData("mixtral")]
    [InlineData("olmoe")]
    [InlineData("dbrx")]
    [InlineData("arctic")]
    [InlineData("gpt_oss")]
    public void Every_element_of_every_tensor_belongs_to_one_element_of_a_parameter(string family)
    {
        ModelConfig config = Config(family);
        using LanguageModel model = new(config);
        HashSet<(string, long)> parameters = [];
        foreach (CheckpointTensor tensor in CheckpointTensor.Group(GgufNames.Slices(config, _ => false)))
        {
            bool[] seen = new bool[tensor.Length];
            foreach (WeightSlice slice in tensor.Slices)
            {
                Assert.Equal(tensor.Shape, slice.CheckpointShape);
                for (long element = 0; element < slice.Length; element++)
                {
                    (long row, long column) = Math.DivRem(element, slice.NumColumns);
                    ref bool place = ref seen[slice.SourceOffset + (row * slice.SourceRowStep) + (column * slice.SourceColumnStep)];
                    Assert.False(place, $"{tensor.Name} is read twice");
                    place = true;
                    Assert.True(parameters.Add((slice.ParameterName, slice.FirstElement + element)), $"{slice.ParameterName} is filled twice");
                }
            }

            Assert.DoesNotContain(false, seen);
        }

        Assert.Equal(model.Parameters.Sum(parameter => parameter.Shape.Length), parameters.Count);
    }

    [Theory]
    [InlineData("llama_moe")]
    [InlineData("minimax")]
    public void A_family_that_the_format_does_not_have_is_refused(string family) =>
        Assert.Throws<ConfigurationException>(() => GgufNames.Slices(Config(family), _ => false).Count());

    [Theory]
    [InlineData(2, 0, "blk.2.attn_norm.weight", "blk.2.attn_norm.weight")]
    [InlineData(1, 0, "blk.0.attn_norm.weight", "blk.1.")]
    [InlineData(3, 1, "blk.3.nextn.eh_proj.weight", "blk.3.nextn.eh_proj.weight")]
    public void A_block_behind_the_layers_that_predicts_nothing_is_unknown(uint blocks, uint predicting, string extra, string unknown)
    {
        using TemporaryFolder folder = new();
        Assert.Contains($"unknown: '{unknown}", Assert.Throws<FileFormatException>(() => Rewritten(folder, blocks, predicting, extra)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Blocks_that_predict_later_tokens_are_left_out()
    {
        using TemporaryFolder folder = new();
        using ModelFiles files = Rewritten(folder, 4, 2, "blk.3.nextn.eh_proj.weight");
        Assert.Equal(2, files.Config.NumHiddenLayers);
    }

    // A model of two layers as a file whose metadata tells another number of blocks, with one more tensor unless it is there.
    private static ModelFiles Rewritten(TemporaryFolder folder, uint blocks, uint predicting, string extra)
    {
        ModelConfig config = TestModel.Llama with { NumHiddenLayers = 2 };
        ModelFolder.Save(config, TestModel.Parameters(config, 3), folder["hf"], new ModelFolderOptions());
        using (ModelFiles files = ModelFiles.Open(folder["hf"]))
        {
            ModelExport.Write(files, folder["two.gguf"], new ExportOptions(), TestContext.Current.CancellationToken);
        }

        using (GgufFile file = GgufFile.Open(folder["two.gguf"]))
        {
            GgufEntries entries = new();
            foreach (string key in file.Metadata.Keys.Where(key => key != "llama.block_count"))
            {
                entries.Copy(file.Metadata, key);
            }

            entries.Add("llama.block_count", blocks);
            entries.Add("llama.nextn_predict_layers", predicting);
            List<WeightTensor> tensors = [.. file.Tensors.Select(tensor => new WeightTensor(tensor.Name, tensor.Shape, tensor.Format))];
            WeightTensor[] more = file.Contains(extra) ? [] : [new WeightTensor(extra, [64], WeightFormat.F32)];
            using GgufWriter writer = new(folder["changed.gguf"], entries, [.. tensors, .. more]);
            foreach (GgufTensor tensor in file.Tensors)
            {
                writer.Append(file.Bytes(tensor, 0, (int)tensor.ByteLength));
            }

            writer.Append(new byte[more.Length * 64 * sizeof(float)]);
            writer.Complete();
        }

        return ModelFiles.Open(folder["changed.gguf"]);
    }

    private static ModelConfig Config(string family)
    {
        string? root = Environment.GetEnvironmentVariable("MOE_FIXTURES");
        if (root is null || !Directory.Exists(Path.Combine(root, "hf")))
        {
            Assert.Skip("MOE_FIXTURES is not set, or names no folder with hf/");
        }

        return ModelFolder.LoadConfig(Path.Combine(root, "hf", family));
    }
}
