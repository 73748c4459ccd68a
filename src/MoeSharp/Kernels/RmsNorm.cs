namespace MoeSharp.Kernels;

/// <summary>Root-mean-square normalisation of rows.</summary>
/// <remarks>y = w x / sqrt(mean(x^2) + eps) (RMSNorm, arXiv 1910.07467, equation 4). Legend: t row, h column.</remarks>
public static class RmsNorm
{
    /// <summary>Normalises rows of <paramref name="x"/> into <paramref name="y"/> (may be the same span) and stores 1/rms per row.</summary>
    public static void Forward(WorkerPool workers, int rows, int cols, ReadOnlySpan<float> x, ReadOnlySpan<float> weight, float epsilon, Span<float> y, Span<float> inverseRms)
    {
        for (int t = 0; t < rows; t++)
        {
            float sum = 0;
            for (int h = 0; h < cols; h++)
            {
                sum += x[(t * cols) + h] * x[(t * cols) + h];
            }

            float r = 1f / MathF.Sqrt((sum / cols) + epsilon);
            inverseRms[t] = r;
            for (int h = 0; h < cols; h++)
            {
                y[(t * cols) + h] = x[(t * cols) + h] * r * weight[h];
            }
        }
    }

    /// <summary>Gradients; needs the forward's <paramref name="x"/> and <paramref name="inverseRms"/>.</summary>
    /// <param name="workers">Worker pool.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="cols">Columns.</param>
    /// <param name="dy">Gradient of y, [rows, cols].</param>
    /// <param name="x">Forward input.</param>
    /// <param name="weight">Scale, [cols].</param>
    /// <param name="inverseRms">Forward's 1/rms, [rows].</param>
    /// <param name="dx">Gradient of x: = or, when <paramref name="accumulate"/>, +=.</param>
    /// <param name="dWeight">Gradient of the scale, [cols]; always +=.</param>
    /// <param name="accumulate">Whether dx is added to.</param>
    public static void Backward(WorkerPool workers, int rows, int cols, ReadOnlySpan<float> dy, ReadOnlySpan<float> x, ReadOnlySpan<float> weight, ReadOnlySpan<float> inverseRms, Span<float> dx, Span<float> dWeight, bool accumulate)
    {
        for (int t = 0; t < rows; t++)
        {
            float r = inverseRms[t];
            float dot = 0;
            for (int h = 0; h < cols; h++)
            {
                int i = (t * cols) + h;
                dot += dy[i] * weight[h] * x[i];
                dWeight[h] += dy[i] * x[i] * r;
            }

            float scale = dot * r * r * r / cols;
            for (int h = 0; h < cols; h++)
            {
                int i = (t * cols) + h;
                float value = (dy[i] * weight[h] * r) - (x[i] * scale);
                dx[i] = accumulate ? dx[i] + value : value;
            }
        }
    }
}
