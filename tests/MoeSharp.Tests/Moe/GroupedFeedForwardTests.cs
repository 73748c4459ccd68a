using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Tests.Moe;

/// <summary>Experts go through their products a few at a time, as many as the workers' caches hold: nobody may be able to tell.</summary>
public sealed class GroupedFeedForwardTests
{
    private const int Hidden = 64;
    private const int Intermediate = 32;
    private const int Tokens = 500;

    // One worker takes 585 rows of this width at once: several parts, of which two experts are more than a part by themselves; the one between them has no rows.
    private static readonly int[] s_offsets = [0, 200, 200, 550, 1250, 1250, 1950, 1951, 2300, 2600];

    [Fact]
    public void Number_of_experts_in_work_at_once_changes_no_bit()
    {
        float[][] alone = Run(workers: 1, hasBias: true);
        float[][] together = Run(workers: 8, hasBias: true);
        Assert.All(alone.Zip(together), pair => Assert.Equal(pair.First, pair.Second));
    }

    [Fact]
    public void Gradient_of_a_weight_is_what_the_output_changes_by()
    {
        float[][] results = Run(workers: 1, hasBias: false);
        float[] output = results[0], dDown = results[4];
        // The output is linear in the down projection, so <output, dy> with dy = 1 is the sum of weight times gradient.
        double direct = output.Sum(value => (double)value);
        double byWeights = results[5].Zip(dDown).Sum(pair => (double)pair.First * pair.Second);
        Assert.Equal(direct, byWeights, 1e-3 * output.Sum(value => Math.Abs((double)value)) / Math.Sqrt(output.Length));
    }

    // Output, gradients of rows, row weights, gate and up, down; the down projection; gradients of the biases.
    private static float[][] Run(int workers, bool hasBias)
    {
        int experts = s_offsets.Length - 1, rows = s_offsets[^1];
        using WorkerPool pool = new(workers);
        using ForwardContext context = new(pool);
        using Parameter gateUp = Fill("gate_up", new Shape(experts, 2 * Intermediate, Hidden), 1, pool);
        using Parameter gateUpBias = Fill("gate_up_bias", new Shape(experts * 2 * Intermediate), 2, pool);
        using Parameter down = Fill("down", new Shape(experts, Hidden, Intermediate), 3, pool);
        using Parameter downBias = Fill("down_bias", new Shape(experts * Hidden), 4, pool);
        TokenBatch batch = new();
        batch.Resize(Tokens, Tokens);
        context.BeginTraining(batch, new BalanceConfig(), 1f);
        Tensor tokens = context.Pool.Rent(new Shape(Tokens, Hidden));
        NormalFill.Fill(pool, 5, 1f, tokens.Data);
        int[] index = [.. Enumerable.Range(0, rows).Select(row => row * 7 % Tokens)];
        Tensor x = context.Pool.Gather(tokens, index, rows);
        Tensor rowWeights = context.Pool.Rent(new Shape(rows));
        NormalFill.Fill(pool, 6, 1f, rowWeights.Data);
        ExpertWeights weights = new(gateUp, hasBias ? gateUpBias : null, down, hasBias ? downBias : null, default);
        Tensor y = Op.GroupedFeedForward(x, rowWeights, s_offsets, weights, context);
        float[] output = y.Data.ToArray();
        y.WriteGradient(out _).Fill(1f);
        context.Tape!.Backward(context);
        float[][] biases = hasBias ? [gateUpBias.Gradient.ToArray(), downBias.Gradient.ToArray()] : [];
        float[][] results = [output, x.Gradient.ToArray(), rowWeights.Gradient.ToArray(), gateUp.Gradient.ToArray(), down.Gradient.ToArray(), down.Value.ToArray(), .. biases];
        context.EndPass();
        return results;
    }

    private static Parameter Fill(string name, Shape shape, ulong seed, WorkerPool pool)
    {
        Parameter parameter = new(name, shape);
        NormalFill.Fill(pool, seed, 0.3f, parameter.Value);
        parameter.AllocateGradient();
        return parameter;
    }
}
