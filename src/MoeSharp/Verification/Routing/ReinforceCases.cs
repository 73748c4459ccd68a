using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model.Routers;
using MoeSharp.Moe.Routing;
using MoeSharp.Tensors;

namespace MoeSharp.Verification.Routing;

/// <summary>Cases of the router that learns from rewards.</summary>
internal static class ReinforceCases
{
    /// <summary>Probabilities, advantages, loss, gradient and the baseline's move.</summary>
    public static void Check(RoutingCase fixture, WorkerPool workers)
    {
        bool isRunning = fixture.Text("baseline") == "running_mean";
        ReinforceRouterConfig config = new()
        {
            HasRunningBaseline = isRunning,
            EntropyCoef = (float)fixture.Number("entropy_coef"),
            IsMean = fixture.Text("reduction") == "mean",
        };
        using Parameter running = new(RunningBaseline.WeightName, new Shape(1));
        running.Value[0] = (float)(fixture.OptionalNumber("baseline_value") ?? 0);
        IRewardBaseline baseline = isRunning ? new RunningBaseline(running) : new GivenBaseline(fixture.Floats("baseline"));
        int[] drawn = fixture.Ids("sampled_expert_ids");
        double[] rewards = fixture.Doubles("rewards");
        int experts = fixture.Int("num_experts");
        using RouterProbe probe = new(workers, drawn.Length);
        LayerRouting record = probe.Context.Routing.Next(0, experts);
        Tensor logits = probe.Input(fixture.Floats("logits"));
        RoutingPlan plan = config.Over(new GivenLogits(logits), new GivenNoise(Draws(fixture.Doubles("logits"), drawn, experts)), baseline, 1f).Route(logits, probe.Context);
        if (!plan.ExpertIds.SequenceEqual(drawn))
        {
            throw new InvalidOperationException("the router did not draw what the case says");
        }

        RouterScores scores = plan.Scores!.Value; // a router by scores has them
        fixture.Compare("probabilities", scores.Probs.Data);
        fixture.Compare("log_probabilities", LogProbabilities(scores, drawn));
        float[] expected = new float[drawn.Length];
        baseline.Fill(expected);
        fixture.Compare("advantages", [.. rewards.Select((reward, row) => reward - expected[row])]);
        probe.Batch.Targets.Clear(); // every row has a target
        probe.GiveLosses([.. rewards.Select(reward => (float)-reward)]);
        probe.Backward(plan.RoutingWeights, new float[drawn.Length]);
        fixture.Compare("loss", record.Losses[AuxiliaryLoss.Policy]);
        fixture.Compare("grad_logits", logits.Gradient);
        if (isRunning)
        {
            RunningBaseline.Move(running.Value, rewards.Average(), (float)fixture.Number("baseline_decay"));
            fixture.Compare("baseline_after", running.Value);
        }
    }

    // Numbers that lie in the middle of what the drawn experts have of 0 to 1.
    private static float[] Draws(double[] logits, int[] drawn, int experts) => [.. drawn.Select((expert, row) =>
    {
        double[] weights = [.. logits[(row * experts)..((row + 1) * experts)].Select(Math.Exp)];
        return (float)((weights[..expert].Sum() + (weights[expert] / 2)) / weights.Sum());
    })];

    private static float[] LogProbabilities(in RouterScores scores, int[] drawn)
    {
        float[] logs = new float[drawn.Length];
        for (int row = 0; row < drawn.Length; row++)
        {
            logs[row] = scores.Logits.Data[(row * scores.Logits.Columns) + drawn[row]] - scores.LogSumExp!.Data[row]; // a softmax has it
        }

        return logs;
    }

    private sealed class GivenBaseline(float[] values) : IRewardBaseline
    {
        public void Fill(Span<float> expected) => values.CopyTo(expected);
    }
}
