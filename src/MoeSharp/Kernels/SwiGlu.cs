namespace MoeSharp.Kernels;

/// <summary>The gated activation of an expert: silu(gate) * up, with an optional weight per row.</summary>
/// <remarks>
/// GLU variants, arXiv 2002.05202, equation 6. Rows of <c>gateUp</c> hold gate then up: [rows, 2 intermediate].
/// Multiplying the routing weight in here, before the down projection, equals multiplying the expert's output by it, and its
/// gradient then needs no expert output to be kept. Legend: r row, f intermediate.
/// </remarks>
public static class SwiGlu
{
    /// <summary>y[r, f] = rowWeight[r] * silu(gate[r, f]) * up[r, f]; an empty <paramref name="rowWeights"/> means weight 1.</summary>
    public static void Forward(WorkerPool workers, int rows, int intermediate, ReadOnlySpan<float> gateUp, ReadOnlySpan<float> rowWeights, Span<float> y)
    {
        for (int r = 0; r < rows; r++)
        {
            float w = rowWeights.IsEmpty ? 1f : rowWeights[r];
            for (int f = 0; f < intermediate; f++)
            {
                float g = gateUp[(r * 2 * intermediate) + f];
                float u = gateUp[(r * 2 * intermediate) + intermediate + f];
                y[(r * intermediate) + f] = w * (g / (1f + MathF.Exp(-g))) * u;
            }
        }
    }

    /// <summary>Gradients of gate and up, written over <paramref name="gateUp"/> (the forward's input, consumed), and of the row weights.</summary>
    /// <param name="workers">Worker pool.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="intermediate">Width.</param>
    /// <param name="gateUp">Forward input [rows, 2 intermediate]; on return its gradient.</param>
    /// <param name="rowWeights">Forward's row weights, or empty.</param>
    /// <param name="dy">Gradient of y, [rows, intermediate]; on return the recomputed forward output y (weighted), for the down projection's weight gradient.</param>
    /// <param name="dRowWeights">= gradient of the row weights, [rows]; ignored when <paramref name="rowWeights"/> is empty.</param>
    public static void Backward(WorkerPool workers, int rows, int intermediate, Span<float> gateUp, ReadOnlySpan<float> rowWeights, Span<float> dy, Span<float> dRowWeights)
    {
        for (int r = 0; r < rows; r++)
        {
            float w = rowWeights.IsEmpty ? 1f : rowWeights[r];
            float dot = 0;
            for (int f = 0; f < intermediate; f++)
            {
                int gi = (r * 2 * intermediate) + f;
                int ui = gi + intermediate;
                float g = gateUp[gi];
                float u = gateUp[ui];
                float sigmoid = 1f / (1f + MathF.Exp(-g));
                float silu = g * sigmoid;
                float d = dy[(r * intermediate) + f];
                dot += d * silu * u;
                gateUp[gi] = d * w * u * sigmoid * (1f + (g * (1f - sigmoid)));
                gateUp[ui] = d * w * silu;
                dy[(r * intermediate) + f] = w * silu * u;
            }

            if (!rowWeights.IsEmpty)
            {
                dRowWeights[r] = dot;
            }
        }
    }
}
