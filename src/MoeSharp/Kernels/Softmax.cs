namespace MoeSharp.Kernels;

/// <summary>Softmax of rows and its gradient.</summary>
public static class Softmax
{
    /// <summary>Softmax of every row of <paramref name="x"/> into <paramref name="y"/> (may be the same span); also the log-sum-exp per row.</summary>
    public static void Forward(WorkerPool workers, int rows, int cols, ReadOnlySpan<float> x, Span<float> y, Span<float> logSumExp)
    {
        for (int t = 0; t < rows; t++)
        {
            float max = float.NegativeInfinity;
            for (int i = 0; i < cols; i++)
            {
                max = MathF.Max(max, x[(t * cols) + i]);
            }

            float sum = 0;
            for (int i = 0; i < cols; i++)
            {
                float e = MathF.Exp(x[(t * cols) + i] - max);
                y[(t * cols) + i] = e;
                sum += e;
            }

            for (int i = 0; i < cols; i++)
            {
                y[(t * cols) + i] /= sum;
            }

            logSumExp[t] = max + MathF.Log(sum);
        }
    }

    /// <summary>dx = y (dy - sum(dy y)) per row, from the forward's output y; dx may be dy.</summary>
    public static void Backward(WorkerPool workers, int rows, int cols, ReadOnlySpan<float> dy, ReadOnlySpan<float> y, Span<float> dx)
    {
        for (int t = 0; t < rows; t++)
        {
            float dot = 0;
            for (int i = 0; i < cols; i++)
            {
                dot += dy[(t * cols) + i] * y[(t * cols) + i];
            }

            for (int i = 0; i < cols; i++)
            {
                dx[(t * cols) + i] = y[(t * cols) + i] * (dy[(t * cols) + i] - dot);
            }
        }
    }
}
