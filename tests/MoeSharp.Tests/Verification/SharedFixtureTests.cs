using MoeSharp.Checkpoints;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Tensors;
using MoeSharp.Verification;

namespace MoeSharp.Tests.Verification;

/// <summary>Every folder with results computed elsewhere; found through MOE_FIXTURES.</summary>
public sealed class SharedFixtureTests : IDisposable
{
    private readonly WorkerPool _workers = new(2);

    [Theory]
    [InlineData("hf/arctic")]
    [InlineData("hf/dbrx")]
    [InlineData("hf/deepseek")]
    [InlineData("hf/deepseek_sharded_bf16")]
    [InlineData("hf/deepseek_v2")]
    [InlineData("hf/deepseek_v2_group")]
    [InlineData("hf/deepseek_v3")]
    [InlineData("hf/deepseek_v3_fp8")]
    [InlineData("hf/gpt_oss")]
    [InlineData("hf/gpt_oss_mxfp4")]
    [InlineData("hf/llama_moe")]
    [InlineData("hf/minimax")]
    [InlineData("hf/mixtral")]
    [InlineData("hf/olmoe")]
    [InlineData("hf/olmoe_fused")]
    [InlineData("hf/qwen2_moe")]
    [InlineData("hf/qwen3_moe")]
    [InlineData("hf/qwen3_moe_fp8_v5cfg")]
    [InlineData("llamacpp/deepseek")]
    [InlineData("llamacpp/deepseek-q4_0")]
    [InlineData("llamacpp/deepseek-q4_k_m")]
    [InlineData("llamacpp/deepseek-q8_0")]
    [InlineData("llamacpp/deepseek2")]
    [InlineData("llamacpp/deepseek2-legacy-kvb")]
    [InlineData("llamacpp/deepseek2-v3like")]
    [InlineData("llamacpp/deepseek2-yarn")]
    [InlineData("llamacpp/dequant")]
    [InlineData("llamacpp/mixtral")]
    [InlineData("llamacpp/olmoe")]
    [InlineData("llamacpp/qwen2moe")]
    [InlineData("llamacpp/qwen3moe")]
    [InlineData("ggml-quants")]
    public void Everything_that_a_folder_expects_is_met(string folder)
    {
        VerificationReport report = FixtureVerifier.Verify(Path.Combine(Root(), folder), null, _workers);
        Assert.Null(report.Failure);
        Assert.All(report.Checks, check => Assert.True(check.Passed, check.ToString()));
        Assert.True(report.Passed);
    }

    [Fact]
    public void A_model_of_every_family_that_is_written_and_read_again_is_the_same()
    {
        string target = Directory.CreateTempSubdirectory("moe-rewritten-").FullName;
        try
        {
            foreach (string folder in FixtureVerifier.Folders(Path.Combine(Root(), "hf")))
            {
                using LanguageModel model = ModelFolder.Load(folder);
                string copy = Path.Combine(target, Path.GetFileName(folder));
                ModelFolder.Save(model, copy, new ModelFolderOptions());
                using LanguageModel again = ModelFolder.Load(copy);
                Assert.Equal(model.Config, again.Config);
                foreach ((Parameter one, Parameter other) in model.Parameters.Zip(again.Parameters))
                {
                    Assert.True(one.Value.SequenceEqual(other.Value), $"{folder}: {one.Name}");
                }
            }
        }
        finally
        {
            Directory.Delete(target, recursive: true);
        }
    }

    [Fact]
    public void No_folder_is_left_out()
    {
        string root = Root();
        string[] known = [.. GetType().GetMethod(nameof(Everything_that_a_folder_expects_is_met))!.GetCustomAttributesData().Where(data => data.AttributeType == typeof(InlineDataAttribute))
            .SelectMany(data => (IEnumerable<System.Reflection.CustomAttributeTypedArgument>)data.ConstructorArguments[0].Value!).Select(argument => (string)argument.Value!)];
        string[] found = [.. new[] { "hf", "llamacpp", "ggml-quants" }.SelectMany(folder => FixtureVerifier.Folders(Path.Combine(root, folder))).Select(folder => Path.GetRelativePath(root, folder).Replace('\\', '/'))];
        Assert.Equal(found.Order(), known.Order());
    }

    public void Dispose() => _workers.Dispose();

    private static string Root()
    {
        string? root = Environment.GetEnvironmentVariable("MOE_FIXTURES");
        if (string.IsNullOrEmpty(root))
        {
            Assert.Skip("MOE_FIXTURES is not set");
        }

        return root;
    }
}
