namespace MoeSharp.Kernels;

/// <summary>Softmax cross-entropy of rows of logits.</summary>
public static class CrossEntropy
{
    /// <summary>Writes -log softmax(logits)[target] per row, 0 where the target is negative (ignored).</summary>
    public static void Forward(WorkerPool workers, int rows, int vocab, ReadOnlySpan<float> logits, ReadOnlySpan<int> targets, Span<float> losses)
    {
        for (int t = 0; t < rows; t++)
        {
            losses[t] = targets[t] < 0 ? 0f : LogSumExp(logits.Slice(t * vocab, vocab)) - logits[(t * vocab) + targets[t]];
        }
    }

    /// <summary>As <see cref="Forward"/>, and overwrites the logits by the gradient of the loss times <paramref name="gradientScale"/>; ignored rows become zero.</summary>
    public static void ForwardBackward(WorkerPool workers, int rows, int vocab, Span<float> logits, ReadOnlySpan<int> targets, float gradientScale, Span<float> losses)
    {
        for (int t = 0; t < rows; t++)
        {
            Span<float> row = logits.Slice(t * vocab, vocab);
            if (targets[t] < 0)
            {
                losses[t] = 0f;
                row.Clear();
                continue;
            }

            float lse = LogSumExp(row);
            losses[t] = lse - row[targets[t]];
            for (int i = 0; i < vocab; i++)
            {
                row[i] = MathF.Exp(row[i] - lse) * gradientScale;
            }

            row[targets[t]] -= gradientScale;
        }
    }

    private static float LogSumExp(ReadOnlySpan<float> row)
    {
        float max = float.NegativeInfinity;
        foreach (float value in row)
        {
            max = MathF.Max(max, value);
        }

        float sum = 0;
        foreach (float value in row)
        {
            sum += MathF.Exp(value - max);
        }

        return max + MathF.Log(sum);
    }
}
