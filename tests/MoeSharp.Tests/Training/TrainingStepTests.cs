using MoeSharp.Data;
using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Training;

namespace MoeSharp.Tests.Training;

public sealed class TrainingStepTests
{
    [Fact]
    public void A_steady_step_allocates_nothing()
    {
        using TinyRun model = new(workers: 2, "batch.micro_batch_tokens=64");
        for (int i = 0; i < 4; i++)
        {
            model.Step.Run(0, 0);
        }

        // Only what the steps allocate on this thread counts; workers run jobs that are structs.
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 3; i++)
        {
            model.Step.Run(0, 0);
        }

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    [Fact]
    public void The_loss_falls_on_text_that_can_be_learnt()
    {
        using TinyRun model = new(workers: 1, "schedule.learning_rate=0.01", "schedule.warmup_steps=5");
        double first = model.Step.Run(0, 0).Loss;
        double last = 0;
        for (int i = 0; i < 60; i++)
        {
            last = model.Step.Run(0, 0).Loss;
        }

        Assert.True(last < first - 1, $"loss {first:0.000} fell to {last:0.000} only");
    }

    [Fact]
    public void One_and_two_workers_compute_the_same_bits()
    {
        using TinyRun one = new(workers: 1);
        using TinyRun two = new(workers: 2);
        for (int i = 0; i < 3; i++)
        {
            StepMetrics a = one.Step.Run(0, 0);
            StepMetrics b = two.Step.Run(0, 0);
            Assert.Equal((a.Loss, a.GradientNorm, a.Losses[AuxiliaryLoss.ExpertLevel]), (b.Loss, b.GradientNorm, b.Losses[AuxiliaryLoss.ExpertLevel]));
        }

        Assert.Equal(one.Weights(), two.Weights());
    }

    [Fact]
    public void Accumulated_passes_give_the_gradient_of_the_whole_batch()
    {
        using TinyRun whole = new(workers: 1, "batch.micro_batch_tokens=0");
        using TinyRun parts = new(workers: 1, "batch.micro_batch_tokens=32");

        StepMetrics a = whole.Step.Run(0, 0);
        StepMetrics b = parts.Step.Run(0, 0);

        Assert.Equal(a.Loss, b.Loss, 1e-5); // float32 sums in another order
        Assert.Equal(a.GradientNorm, b.GradientNorm, 1e-4 * a.GradientNorm);
        Assert.Equal(a.Losses[AuxiliaryLoss.ExpertLevel], b.Losses[AuxiliaryLoss.ExpertLevel], 1e-5); // per sequence, so micro-batches do not change it
        Assert.Equal(a.Tokens, b.Tokens);
    }

    [Fact]
    public void Numbers_that_are_not_finite_leave_the_weights_alone()
    {
        using TinyRun model = new(workers: 1);
        model.Step.Run(0, 0);
        Parameter(model, "final_norm").Value[3] = float.NaN;
        float[] before = model.Weights();

        StepMetrics metrics = model.Step.Run(0, 0);

        Assert.False(metrics.IsFinite);
        Assert.Equal(before, model.Weights());
        Assert.False(double.IsFinite(model.Step.LargestGradient().Norm));
    }

    [Fact]
    public void Metrics_tell_the_rate_and_the_load()
    {
        using TinyRun model = new(workers: 1);

        StepMetrics metrics = model.Step.Run(0.5, 1000);

        Assert.Equal((1L, 1000L + 128), (metrics.Step, metrics.Tokens));
        Assert.InRange(metrics.Loss, 1, 8);
        Assert.InRange(metrics.Losses[AuxiliaryLoss.ExpertLevel], 0.9, 4);
        Assert.True(metrics.TokensPerSecond > 0 && metrics.Gflops > 0);
        Assert.Equal(128 * 3, Enumerable.Range(0, model.Step.Load.NumLayers).Select(layer => model.Step.Load.TokensPerExpert(layer).ToArray().Sum()).Distinct().Single());
    }

    [Theory]
    [InlineData(0)]
    [InlineData(32)] // four passes
    public void Arithmetic_counts_the_pairs_that_attention_computes(int microBatchTokens)
    {
        using TinyRun model = new(workers: 1, $"batch.micro_batch_tokens={microBatchTokens}", "batch.sequence_length=32");
        TokenBatch batch = new();
        BatchLoader loader = model.Loader();
        double pairs = 0;
        for (int pass = 0; pass < 128 / loader.RowsPerBatch; pass++)
        {
            loader.Next(batch);
            foreach (int position in batch.Positions)
            {
                pairs += position + 1; // a row sees its own document up to itself
            }
        }

        StepMetrics metrics = model.Step.Run(0, 0);

        double one = ModelSize.Of(model.Model.Config).Flops(1).ActualCausal; // matrices and one pair
        double two = ModelSize.Of(model.Model.Config).Flops(2).ActualCausal; // twice the matrices and three pairs
        double perPair = two - (2 * one);
        double expected = (128 * (one - perPair)) + (pairs * perPair);
        Assert.Equal(expected, metrics.Gflops * metrics.Seconds * 1e9, expected * 1e-9);
        Assert.True(pairs < 128 * 33 / 2.0, "the texts are short enough that a sequence holds several");
    }

    private static MoeSharp.Tensors.Parameter Parameter(TinyRun model, string name) => model.Model.Parameters.Single(parameter => parameter.Name == name);
}
