using System.Text;
using System.Text.Json;
using MoeSharp.Analysis.Study;
using MoeSharp.Analysis.Study.Report;
using MoeSharp.Execution;
using MoeSharp.Model;

namespace MoeSharp.Tests.Analysis.Study;

public sealed class AttentionStudyTests
{
    [Fact]
    public void Experts_of_mixture_attention_are_counted_as_their_router_chose()
    {
        using StudyBench bench = new(StudyBench.Config with { AttentionExperts = new AttentionExpertsConfig { Kind = AttentionExpertsKind.Mixture, NumExperts = 4, TopK = 2 } });
        StudyText text = StudyBench.Text(stride: 12); // every row is scored once

        StudyResult result = bench.Study(text);

        Assert.Equal([0, 1, 2], result.Statistics.AttentionLayers.Select(layer => layer.Layer));
        Assert.Equal([1, 2], result.Statistics.Layers.Select(layer => layer.Layer)); // the first feed-forward is dense
        long[][] expected = Loads(bench, text);
        for (int layer = 0; layer < 3; layer++)
        {
            LayerStatistics counted = result.Statistics.AttentionLayers[layer];
            Assert.Equal(expected[layer], counted.Load.ToArray());
            Assert.Equal((ExpertPart.Attention, 4, 2), (counted.Part, counted.NumExperts, counted.TopK));
            Assert.Equal(text.NumScored * 2, counted.Lift.NumSlots);
            Assert.InRange(counted.RouterEntropy, 0.01, 1);
        }

        Told(result, "layer 0, attention");
    }

    [Fact]
    public void Experts_of_every_head_are_told_apart()
    {
        using StudyBench bench = new(StudyBench.Config with { AttentionExperts = new AttentionExpertsConfig { Kind = AttentionExpertsKind.SwitchHead, NumExperts = 3, TopK = 1 } });
        StudyText text = StudyBench.Text();

        StudyResult result = bench.Study(text);

        LayerStatistics[] layers = [.. result.Statistics.AttentionLayers];
        Assert.Equal([ExpertPart.AttentionValues, ExpertPart.AttentionOutputs], layers.Take(2).Select(layer => layer.Part));
        Assert.Equal((6, 6, 12), (layers.Length, layers[0].NumExperts, layers[1].NumExperts)); // 2 heads of keys and values, 4 of queries, 3 experts each
        foreach (LayerStatistics layer in layers)
        {
            long[][] heads = [.. layer.Load.ToArray().Chunk(3)];
            Assert.All(heads, head => Assert.Equal(text.NumScored, head.Sum())); // every head chooses one expert for each token
            Assert.Equal(0, layer.TokensOfBoth(0, 1)); // of one head
            Assert.True(layer.TokensOfBoth(0, 3) + layer.TokensOfBoth(0, 4) + layer.TokensOfBoth(0, 5) == layer.Load[0]);
            Assert.True(layer.RelativeMass(0) > 0);
        }

        Told(result, "layer 1, attention outputs");
    }

    [Fact]
    public void Models_without_experts_in_attention_say_nothing_of_them()
    {
        using StudyBench bench = new();
        StudyResult result = bench.Study(StudyBench.Text());

        Assert.Empty(result.Statistics.AttentionLayers);
        Assert.DoesNotContain(StudySummary.Sentences(result), sentence => sentence.Contains("attention", StringComparison.Ordinal));
        Assert.DoesNotContain("id=\"attention\"", StudyReport.Build(result), StringComparison.Ordinal);
    }

    private static long[][] Loads(StudyBench bench, StudyText text)
    {
        using ForwardContext context = new(bench.Workers);
        context.AttentionRouting.CaptureTokens = true;
        TokenBatch batch = new();
        long[][] loads = [new long[4], new long[4], new long[4]];
        for (int pass = 0; pass < text.NumPasses; pass++)
        {
            text.Fill(pass, batch);
            bench.Model.Loss(batch, new float[batch.Count], context);
            for (int layer = 0; layer < 3; layer++)
            {
                int[] chosen = context.AttentionRouting.Layers[layer].ExpertIds;
                for (int row = 0; row < batch.Count; row++)
                {
                    if (batch.Targets[row] >= 0)
                    {
                        loads[layer][chosen[2 * row]]++;
                        loads[layer][chosen[(2 * row) + 1]]++;
                    }
                }
            }
        }

        return loads;
    }

    private static void Told(StudyResult result, string name)
    {
        Assert.Contains(StudySummary.Sentences(result), sentence => sentence.StartsWith("Experts in attention: the fullest has", StringComparison.Ordinal));
        Assert.Contains(StudySummary.Sentences(result), sentence => sentence.Contains("feed-forward experts alone", StringComparison.Ordinal));
        Assert.Contains(name, StudyReport.Build(result), StringComparison.Ordinal);
        using MemoryStream stream = new();
        using (Utf8JsonWriter json = new(stream))
        {
            StudyJson.Write(json, result);
        }

        using JsonDocument document = JsonDocument.Parse(Encoding.UTF8.GetString(stream.ToArray()));
        Assert.Equal(result.Statistics.AttentionLayers.Count, document.RootElement.GetProperty("attention_layers").GetArrayLength());
        Assert.StartsWith("attention", document.RootElement.GetProperty("attention_layers")[0].GetProperty("part").GetString(), StringComparison.Ordinal);
    }
}
