using System.Text.Json;
using MoeSharp.Analysis.Study;
using MoeSharp.Checkpoints;
using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;

namespace MoeSharp.Tests.Analysis.Study;

/// <summary>Experiments on tiny models of every published family, plain and packed.</summary>
public sealed class PublishedFamilyStudyTests
{
    [Theory]
    [InlineData("deepseek", "native")]
    [InlineData("deepseek", "bf16")]
    [InlineData("deepseek_v2_group", "native")]
    [InlineData("deepseek_v3", "native")]
    [InlineData("mixtral", "native")]
    [InlineData("qwen2_moe", "native")]
    [InlineData("qwen3_moe", "native")]
    [InlineData("olmoe", "native")]
    [InlineData("dbrx", "native")]
    [InlineData("arctic", "native")]
    [InlineData("gpt_oss", "native")]
    [InlineData("llama_moe", "native")]
    [InlineData("minimax", "native")]
    public void Every_family_can_be_studied(string family, string weights)
    {
        string? root = Environment.GetEnvironmentVariable("MOE_FIXTURES");
        if (root is null)
        {
            Assert.Skip("MOE_FIXTURES is not set");
        }

        string folder = Path.Combine(root, "hf", family);
        using ModelFiles files = ModelFiles.Open(folder);
        using LanguageModel model = files.Load(new LoadOptions { Weights = WeightTarget.Parse(weights) }, TestContext.Current.CancellationToken);
        using WorkerPool workers = new(2);
        using JsonDocument tokens = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "tokens.json")));
        StudyDocument[] documents = [.. tokens.RootElement.GetProperty("input_ids").EnumerateArray().Select(row => StudyDocument.Of([.. row.EnumerateArray().Select(id => id.GetInt32())], "", 0))];
        StudyText text = new(documents, 64, 32, 512);
        MoeConfig moe = model.Config.Moe!;
        StudyRequest request = new() { Plan = new StudyPlan { MaskedShares = [1.0 / moe.NumExperts] } };
        StudyResult result = ModelStudy.Run(new StudySubject(family, model), text, "tokens", new TokenNames(null), request, workers, TestContext.Current.CancellationToken);

        Assert.Null(result.Curves.Refusal);
        Assert.Equal(Enumerable.Range(0, model.Config.NumHiddenLayers).Count(model.Config.IsMoeLayer), result.Statistics.Layers.Count);
        Assert.All(result.Statistics.Layers, layer => Assert.Equal(text.NumScored * moe.TopK, layer.NumSlots));
        Assert.NotEqual(0, result.Curves.Masked[1].Increase.Mean);
        Assert.Equal(moe.SharedWidth > 0, result.Curves.Shared.Count > 0);
        Assert.All(result.Curves.Shared, point => Assert.NotEqual(0, point.Increase.Mean));
        Assert.Equal(moe.TopK > 1 ? moe.TopK : 0, result.Curves.Fewer.Count);

        // The fullest expert of every layer off: no slot goes there, and none is lost.
        using StudyPasses passes = new(model, text, workers, TestContext.Current.CancellationToken);
        int[] off = [.. result.Statistics.Layers.Select(layer => Enumerable.Range(0, layer.NumExperts).MaxBy(expert => layer.RelativeLoad(expert)))];
        RoutingStatistics without = new(text, model.Config, workers);
        passes.Run(new RoutingIntervention { SwitchedOff = [.. result.Statistics.Layers.Select((layer, index) => new ExpertPlace(layer.Layer, off[index]))] }, without);
        for (int index = 0; index < off.Length; index++)
        {
            Assert.Equal(0, without.Layers[index].Load[off[index]]);
            Assert.Equal(0, without.Layers[index].DropRate);
        }
    }
}
