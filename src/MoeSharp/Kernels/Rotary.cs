namespace MoeSharp.Kernels;

/// <summary>Rotary position embedding in the half layout: lanes i and i + headDim/2 form a pair.</summary>
/// <remarks>RoFormer, arXiv 2104.09864, equation 34; the half layout is that of the published LLaMA-style checkpoints.</remarks>
public static class Rotary
{
    /// <summary>Rotates <paramref name="numHeads"/> consecutive heads of every row in place.</summary>
    /// <param name="workers">Worker pool.</param>
    /// <param name="rows">Rows of <paramref name="x"/>.</param>
    /// <param name="numHeads">Heads per row, starting at column 0 of x.</param>
    /// <param name="headDim">Width of a head; even.</param>
    /// <param name="positions">Position of each row, [rows].</param>
    /// <param name="cos">Cosines, [positions, headDim/2].</param>
    /// <param name="sin">Sines, same shape.</param>
    /// <param name="x">Rows with stride <paramref name="stride"/>; modified.</param>
    /// <param name="stride">Floats from one row to the next.</param>
    /// <param name="inverse">Rotates backwards: the gradient of the rotation.</param>
    public static void Apply(WorkerPool workers, int rows, int numHeads, int headDim, ReadOnlySpan<int> positions, ReadOnlySpan<float> cos, ReadOnlySpan<float> sin, Span<float> x, int stride, bool inverse)
    {
        int half = headDim / 2;
        for (int t = 0; t < rows; t++)
        {
            for (int head = 0; head < numHeads; head++)
            {
                Span<float> lane = x.Slice((t * stride) + (head * headDim), headDim);
                for (int i = 0; i < half; i++)
                {
                    float c = cos[(positions[t] * half) + i];
                    float s = inverse ? -sin[(positions[t] * half) + i] : sin[(positions[t] * half) + i];
                    float first = lane[i];
                    float second = lane[i + half];
                    lane[i] = (first * c) - (second * s);
                    lane[i + half] = (second * c) + (first * s);
                }
            }
        }
    }
}
