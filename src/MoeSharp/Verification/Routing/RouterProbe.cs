using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Moe.Routing;
using MoeSharp.Tensors;

namespace MoeSharp.Verification.Routing;

/// <summary>Runs a piece of a model on given numbers and walks its gradients back: a training pass in small.</summary>
internal sealed class RouterProbe : IDisposable
{
    /// <summary>Opens a pass.</summary>
    /// <param name="workers">Workers.</param>
    /// <param name="rows">Tokens.</param>
    /// <param name="isTraining">Whether operations are recorded for <see cref="Backward(Tensor, ReadOnlySpan{float})"/>.</param>
    /// <param name="balance">Auxiliary losses; null for none.</param>
    public RouterProbe(WorkerPool workers, int rows, bool isTraining = true, BalanceConfig? balance = null)
    {
        Context = new ForwardContext(workers);
        Batch.Resize(rows, rows);
        if (isTraining)
        {
            Context.BeginTraining(Batch, balance ?? new BalanceConfig(), 1f);
        }
        else
        {
            Context.BeginInference(Batch);
        }
    }

    /// <summary>The pass.</summary>
    public ForwardContext Context { get; }

    /// <summary>Its rows; token ids, sequences and padding may be set before anything runs.</summary>
    public TokenBatch Batch { get; } = new();

    /// <summary>A tensor with given values, [rows, values / rows].</summary>
    public Tensor Input(ReadOnlySpan<float> values)
    {
        Tensor input = Context.Pool.Rent(new Shape(Batch.Count, values.Length / Batch.Count));
        values.CopyTo(input.Data);
        return input;
    }

    /// <summary>Starts the gradient: d(sum of output * cotangent), and walks back to the inputs.</summary>
    public void Backward(Tensor output, ReadOnlySpan<float> cotangent)
    {
        Span<float> gradient = output.WriteGradient(out bool accumulate);
        for (int index = 0; index < gradient.Length; index++)
        {
            gradient[index] = (accumulate ? gradient[index] : 0f) + cotangent[index];
        }

        Backward();
    }

    /// <summary>Walks back what losses have left on the tape.</summary>
    public void Backward() => Context.Tape!.Backward(Context); // a probe that walks back was opened for training

    /// <summary>The gradient of an input; zeros where nothing reached it.</summary>
    public static float[] GradientOf(Tensor input) => input.HasGradient ? input.Gradient.ToArray() : new float[input.Data.Length];

    /// <summary>Says what each row's target cost, as the head does in a model.</summary>
    public void GiveLosses(ReadOnlySpan<float> losses)
    {
        Tensor given = Context.Pool.Rent(new Shape(losses.Length));
        losses.CopyTo(given.Data);
        Context.KeepRowLosses(given);
    }

    /// <summary>Takes sequences and padding of a case, where it has any.</summary>
    public void SetRows(RoutingCase fixture)
    {
        if (fixture.HasInput("sequence_lengths"))
        {
            Batch.SetSequences(fixture.Ids("sequence_lengths"));
        }

        int[] mask = fixture.HasInput("padding_mask") ? fixture.Ids("padding_mask") : [];
        for (int row = 0; row < mask.Length; row++)
        {
            if (mask[row] == 0)
            {
                Batch.MarkPadding(row);
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Context.EndPass();
        Context.Dispose();
    }
}

/// <summary>Logits that are given instead of projected.</summary>
/// <param name="logits">[tokens, experts].</param>
internal sealed class GivenLogits(Tensor logits) : IRouterProjection
{
    /// <inheritdoc/>
    public int NumExperts => logits.Columns;

    /// <inheritdoc/>
    public Tensor Forward(Tensor x, ForwardContext context) => logits;
}
