namespace MoeSharp.Kernels;

/// <summary>Coefficients of one AdamW update.</summary>
/// <param name="LearningRate">Step size.</param>
/// <param name="Beta1">Decay of the first moment.</param>
/// <param name="Beta2">Decay of the second moment.</param>
/// <param name="Epsilon">Added to the root of the second moment.</param>
/// <param name="WeightDecay">Decoupled decay.</param>
/// <param name="BiasCorrection1">1 - Beta1^step.</param>
/// <param name="BiasCorrection2">1 - Beta2^step.</param>
/// <param name="GradientScale">Factor on the gradient (clipping).</param>
public readonly record struct AdamWCoefficients(float LearningRate, float Beta1, float Beta2, float Epsilon, float WeightDecay, float BiasCorrection1, float BiasCorrection2, float GradientScale);

/// <summary>The AdamW update, one pass over weights, gradient and both moments.</summary>
/// <remarks>Decoupled weight decay regularisation, arXiv 1711.05101, algorithm 2: w = w (1 - lr wd) - lr (m / c1) / (sqrt(v / c2) + eps).</remarks>
public static class AdamW
{
    /// <summary>Updates weights and moments in place.</summary>
    public static void Step(WorkerPool workers, in AdamWCoefficients c, Span<float> weights, ReadOnlySpan<float> gradient, Span<float> firstMoment, Span<float> secondMoment)
    {
        for (int i = 0; i < weights.Length; i++)
        {
            float g = gradient[i] * c.GradientScale;
            firstMoment[i] = (c.Beta1 * firstMoment[i]) + ((1 - c.Beta1) * g);
            secondMoment[i] = (c.Beta2 * secondMoment[i]) + ((1 - c.Beta2) * g * g);
            weights[i] = (weights[i] * (1 - (c.LearningRate * c.WeightDecay))) - (c.LearningRate * (firstMoment[i] / c.BiasCorrection1) / (MathF.Sqrt(secondMoment[i] / c.BiasCorrection2) + c.Epsilon));
        }
    }
}
