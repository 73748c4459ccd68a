using MoeSharp.Analysis;
using MoeSharp.Data;
using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Tests.Training;
using MoeSharp.Training;

namespace MoeSharp.Tests.Analysis;

public sealed class TokenLiftTests
{
    [Fact]
    public void Lifts_are_the_ratio_of_the_shares_that_the_routing_record_gives()
    {
        using TinyText text = new();
        using WorkerPool workers = new(1);
        using ForwardContext context = new(workers);
        TrainingConfig config = TinyText.Config();
        using LanguageModel model = new(config.Model! with { VocabSize = text.VocabSize });
        WeightInit.Initialize(model, 1, WeightInitScheme.FanIn, workers);
        SequentialBatches batches = new(text.Text.Dataset.Validation, 32, 4, 512);

        TokenLift layer = TokenLift.Measure(model, batches, context)[1];

        // Counted again, the plain way.
        Dictionary<(int Expert, int Token), long> joint = [];
        batches.Reset();
        TokenBatch batch = new();
        context.Routing.CaptureTokens = true;
        while (batches.Next(batch))
        {
            model.Loss(batch, new float[batch.Count], context);
            int[] chosen = context.Routing.Layers[1].ExpertIds;
            for (int slot = 0; slot < chosen.Length; slot++)
            {
                int row = slot / 3;
                if (batch.Targets[row] >= 0)
                {
                    joint[(chosen[slot], batch.TokenIds[row])] = joint.GetValueOrDefault((chosen[slot], batch.TokenIds[row])) + 1;
                }
            }
        }

        double all = joint.Values.Sum();
        Assert.Equal(all, layer.NumSlots);
        LiftedToken top = layer.Top(2, 1, 3)[0];
        double ofExpert = joint.Where(pair => pair.Key.Expert == 2).Sum(pair => pair.Value);
        double ofToken = joint.Where(pair => pair.Key.Token == top.Token).Sum(pair => pair.Value);
        Assert.Equal(joint[(2, top.Token)], top.Count);
        Assert.Equal(top.Count / ofExpert / (ofToken / all), top.Lift, 1e-9);
        Assert.Equal(ofExpert / all, layer.Share(2), 1e-12);
        Assert.InRange(layer.MutualInformation(), 0.01, 3); // at most the entropy of 8 experts
        Assert.All(layer.Top(2, 100, 3), token => Assert.True(token.Count >= 3));
    }
}
