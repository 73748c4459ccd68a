using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Moe.Routing;
using MoeSharp.Tensors;
using MoeSharp.Tests.Kernels;
using MoeSharp.Tests.Reference;
using MoeSharp.Verification.Routing;

namespace MoeSharp.Tests.Moe.Routing;

public sealed class TaskProjectionTests
{
    private const int Hidden = 4;
    private const int Experts = 3;

    [Fact]
    public void The_last_task_token_decides_until_the_next_one()
    {
        using WorkerPool workers = new(1);
        using RouterProbe probe = new(workers, 9);
        ((int[])[1, 50, 2, 52, 3, 51, 1, 1, 50]).CopyTo(probe.Batch.TokenIds);
        probe.Batch.AddSegment(new AttentionSegment(0, 5, 0, 5), 0);
        probe.Batch.AddSegment(new AttentionSegment(5, 2, 5, 2), 0);
        probe.Batch.AddSegment(new AttentionSegment(7, 2, 7, 2), 0);

        float[] logits = Project(probe, tasks: 3, [50, 51, 52], out _).Data.ToArray();

        Assert.Equal([0, 0, 0, 2, 2, 1, 1, 0, 0], logits.Where((_, index) => index % Experts == 0).Select(value => (int)value)); // task t has the logits t, t, t
    }

    [Fact]
    public void A_later_segment_of_a_document_has_the_task_that_the_document_begins_with()
    {
        using WorkerPool workers = new(1);
        using RouterProbe probe = new(workers, 8);
        ((int[])[1, 50, 2, 3, 1, 1, 1, 1]).CopyTo(probe.Batch.TokenIds);
        probe.Batch.AddSegment(new AttentionSegment(0, 3, 0, 3), 0, firstToken: 52);
        probe.Batch.AddSegment(new AttentionSegment(3, 2, 3, 2), 0, firstToken: 51);
        probe.Batch.AddSegment(new AttentionSegment(5, 2, 5, 2), 0, firstToken: 7); // announces nothing
        probe.Batch.AddSegment(new AttentionSegment(7, 1, 7, 1), 0);

        float[] logits = Project(probe, tasks: 3, [50, 51, 52], out _).Data.ToArray();

        Assert.Equal([2, 0, 0, 1, 1, 0, 0, 0], logits.Where((_, index) => index % Experts == 0).Select(value => (int)value));
    }

    [Fact]
    public void Tasks_of_the_batch_decide_for_whole_sequences()
    {
        using WorkerPool workers = new(1);
        using RouterProbe probe = new(workers, 5);
        probe.Batch.SetSequences([2, 3]);
        probe.Batch.SetTaskIds([1, 0]);

        Assert.Equal([1, 1, 0, 0, 0], Project(probe, tasks: 2, [], out _).Data.ToArray().Where((_, index) => index % Experts == 0).Select(value => (int)value));
        probe.Batch.SetTaskIds([1, 2]);
        Assert.Contains("task 2", Assert.Throws<ConfigurationException>(() => Project(probe, tasks: 2, [], out _)).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => probe.Batch.SetTaskIds([1]));
    }

    [Fact]
    public void A_text_whose_task_nobody_tells_is_refused()
    {
        using WorkerPool workers = new(1);
        using RouterProbe probe = new(workers, 2);

        Assert.Contains("task_tokens", Assert.Throws<ConfigurationException>(() => Project(probe, tasks: 2, [], out _)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Gradients_of_task_vectors_and_weight_equal_differences()
    {
        (float[] vectors, float[] weight, float[] cotangent) = (KernelCheck.Random(2 * Hidden, 31), KernelCheck.Random(Experts * Hidden, 32), KernelCheck.Random(5 * Experts, 33));
        int[] tasks = [1, 1, 0, 0, 0];
        using WorkerPool workers = new(2);
        using RouterProbe probe = new(workers, 5);
        probe.Batch.SetSequences([2, 3]);
        probe.Batch.SetTaskIds([1, 0]);

        Tensor logits = Project(probe, tasks: 2, [], out List<Parameter> parameters, vectors, weight);
        probe.Backward(logits, cotangent);

        double Loss(double[] e, double[] w) => Enumerable.Range(0, 5).Sum(row => Enumerable.Range(0, Experts).Sum(expert => cotangent[(row * Experts) + expert] * Enumerable.Range(0, Hidden).Sum(h => e[(tasks[row] * Hidden) + h] * w[(expert * Hidden) + h])));
        KernelCheck.Close(Numerical.Gradient(w => Loss(KernelCheck.Double(vectors), w), KernelCheck.Double(weight)), parameters[0].Gradient.ToArray(), 1e-6, 1e-5, "weight");
        KernelCheck.Close(Numerical.Gradient(e => Loss(e, KernelCheck.Double(weight)), KernelCheck.Double(vectors)), parameters[1].Gradient.ToArray(), 1e-6, 1e-5, "task vectors");
    }

    [Fact]
    public void A_sentence_has_the_mean_of_its_real_tokens()
    {
        using WorkerPool workers = new(1);
        using RouterProbe probe = new(workers, 5);
        probe.Batch.SetSequences([3, 2]);
        probe.Batch.MarkPadding(2);
        Tensor x = probe.Input([1f, 3f, 100f, 5f, 6f]);

        Tensor means = MoeSharp.Ops.Op.MeanOfSequences(x, probe.Context);

        Assert.Equal([2f, 5.5f], means.Data.ToArray());
        probe.Backward(means, [4f, 10f]);
        Assert.Equal([2f, 2f, 0f, 5f, 5f], x.Gradient.ToArray());
    }

    private static Tensor Project(RouterProbe probe, int tasks, int[] tokens, out List<Parameter> parameters, float[]? vectors = null, float[]? weight = null)
    {
        parameters = [];
        LinearRouterProjection linear = new("router", Hidden, Experts, false, parameters);
        TaskProjection projection = new("tasks", Hidden, tasks, tokens, linear, parameters);
        (weight ?? [.. Enumerable.Repeat(1f, Experts * Hidden)]).CopyTo(parameters[0].Value);
        (vectors ?? [.. Enumerable.Range(0, tasks * Hidden).Select(i => i % Hidden == 0 ? (float)(i / Hidden) : 0f)]).CopyTo(parameters[1].Value);
        parameters.ForEach(parameter => parameter.AllocateGradient());
        return projection.Forward(probe.Input(new float[probe.Batch.Count]), probe.Context);
    }
}
