namespace MoeSharp.Classic;

/// <summary>What a mixture of local experts is trained to make small.</summary>
public enum ExpertError
{
    /// <summary>||d - sum_i p_i o_i||^2: the blend is compared, so experts cooperate (equation 1.1).</summary>
    Cooperative,

    /// <summary>sum_i p_i ||d - o_i||^2: each expert is compared with the whole target, so experts compete (equation 1.2).</summary>
    Competitive,

    /// <summary>-log sum_i p_i exp(-||d - o_i||^2 / 2): the density of the target under a mixture of Gaussians (equation 1.3).</summary>
    Mixture,
}

/// <summary>The three error functions of mixtures of local experts, with their gradients, for one case.</summary>
/// <remarks>
/// Jacobs, Jordan, Nowlan, Hinton: Adaptive mixtures of local experts, Neural Computation 3, 1991. d is the target, o_i the output of expert i, p = softmax(x) the
/// gate. With g_i = dE/dp_i, dE/dx_i = p_i (g_i - sum_j p_j g_j). For the mixture dE/do_i = -h_i (d - o_i) and dE/dx_i = p_i - h_i, where h is the
/// posterior; it is computed from logarithms, so that targets far from every expert do not underflow.
/// </remarks>
public static class ExpertErrors
{
    private const int OnStack = 128; // experts whose scratch numbers are kept on the stack

    /// <summary>The error of one case and its gradients.</summary>
    /// <param name="error">Which error.</param>
    /// <param name="outputs">[experts, target size].</param>
    /// <param name="gateLogits">[experts].</param>
    /// <param name="target">[target size].</param>
    /// <param name="outputGradient">= dE/do: [experts, target size].</param>
    /// <param name="logitGradient">= dE/dx: [experts].</param>
    /// <returns>The error.</returns>
    public static double Evaluate(ExpertError error, ReadOnlySpan<double> outputs, ReadOnlySpan<double> gateLogits, ReadOnlySpan<double> target, Span<double> outputGradient, Span<double> logitGradient) =>
        error switch
        {
            ExpertError.Cooperative => Cooperative(outputs, gateLogits, target, outputGradient, logitGradient),
            ExpertError.Competitive => Competitive(outputs, gateLogits, target, outputGradient, logitGradient),
            _ => Mixture(outputs, gateLogits, target, outputGradient, logitGradient),
        };

    /// <summary>The probability that each expert produced the target: h_i proportional to p_i exp(-||d - o_i||^2 / 2).</summary>
    /// <param name="outputs">[experts, target size].</param>
    /// <param name="gateLogits">[experts].</param>
    /// <param name="target">[target size].</param>
    /// <param name="posteriors">= h: [experts].</param>
    public static void Posteriors(ReadOnlySpan<double> outputs, ReadOnlySpan<double> gateLogits, ReadOnlySpan<double> target, Span<double> posteriors)
    {
        gateLogits.CopyTo(posteriors);
        for (int expert = 0; expert < posteriors.Length; expert++)
        {
            posteriors[expert] -= 0.5 * SquaredDistance(outputs.Slice(expert * target.Length, target.Length), target);
        }

        LogWeights.Normalize(posteriors);
    }

    private static double Cooperative(ReadOnlySpan<double> outputs, ReadOnlySpan<double> gateLogits, ReadOnlySpan<double> target, Span<double> outputGradient, Span<double> logitGradient)
    {
        int size = target.Length;
        Span<double> gate = gateLogits.Length <= OnStack ? stackalloc double[gateLogits.Length] : new double[gateLogits.Length];
        gateLogits.CopyTo(gate);
        LogWeights.Normalize(gate);
        Span<double> residual = size <= OnStack ? stackalloc double[size] : new double[size];
        target.CopyTo(residual);
        for (int expert = 0; expert < gate.Length; expert++)
        {
            for (int i = 0; i < size; i++)
            {
                residual[i] -= gate[expert] * outputs[(expert * size) + i];
            }
        }

        for (int expert = 0; expert < gate.Length; expert++)
        {
            logitGradient[expert] = -2 * SmallMatrix.Dot(residual, outputs.Slice(expert * size, size));
            for (int i = 0; i < size; i++)
            {
                outputGradient[(expert * size) + i] = -2 * gate[expert] * residual[i];
            }
        }

        ThroughSoftmax(gate, logitGradient);
        return SmallMatrix.Dot(residual, residual);
    }

    private static double Competitive(ReadOnlySpan<double> outputs, ReadOnlySpan<double> gateLogits, ReadOnlySpan<double> target, Span<double> outputGradient, Span<double> logitGradient)
    {
        int size = target.Length;
        Span<double> gate = gateLogits.Length <= OnStack ? stackalloc double[gateLogits.Length] : new double[gateLogits.Length];
        gateLogits.CopyTo(gate);
        LogWeights.Normalize(gate);
        double error = 0;
        for (int expert = 0; expert < gate.Length; expert++)
        {
            logitGradient[expert] = SquaredDistance(outputs.Slice(expert * size, size), target);
            error += gate[expert] * logitGradient[expert];
            for (int i = 0; i < size; i++)
            {
                outputGradient[(expert * size) + i] = -2 * gate[expert] * (target[i] - outputs[(expert * size) + i]);
            }
        }

        ThroughSoftmax(gate, logitGradient);
        return error;
    }

    private static double Mixture(ReadOnlySpan<double> outputs, ReadOnlySpan<double> gateLogits, ReadOnlySpan<double> target, Span<double> outputGradient, Span<double> logitGradient)
    {
        int size = target.Length;
        Span<double> gate = gateLogits.Length <= OnStack ? stackalloc double[gateLogits.Length] : new double[gateLogits.Length];
        Span<double> posterior = logitGradient;
        gateLogits.CopyTo(gate);
        double total = LogWeights.Normalize(gate);
        for (int expert = 0; expert < gate.Length; expert++)
        {
            posterior[expert] = gateLogits[expert] - total - (0.5 * SquaredDistance(outputs.Slice(expert * size, size), target));
        }

        double error = -LogWeights.Normalize(posterior);
        for (int expert = 0; expert < gate.Length; expert++)
        {
            for (int i = 0; i < size; i++)
            {
                outputGradient[(expert * size) + i] = -posterior[expert] * (target[i] - outputs[(expert * size) + i]);
            }

            logitGradient[expert] = gate[expert] - posterior[expert];
        }

        return error;
    }

    // g = p (g - sum p g)
    private static void ThroughSoftmax(ReadOnlySpan<double> gate, Span<double> gradient)
    {
        double mean = SmallMatrix.Dot(gate, gradient);
        for (int expert = 0; expert < gate.Length; expert++)
        {
            gradient[expert] = gate[expert] * (gradient[expert] - mean);
        }
    }

    private static double SquaredDistance(ReadOnlySpan<double> a, ReadOnlySpan<double> b)
    {
        double sum = 0;
        for (int i = 0; i < a.Length; i++)
        {
            double difference = a[i] - b[i];
            sum += difference * difference;
        }

        return sum;
    }
}
