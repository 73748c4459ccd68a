using MoeSharp.Checkpoints;
using MoeSharp.Checkpoints.Gguf;
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
