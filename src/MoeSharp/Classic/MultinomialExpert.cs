namespace MoeSharp.Classic;

/// <summary>An expert for one of several classes: a softmax over linear functions; targets are one-hot rows or probabilities.</summary>
/// <param name="logit">First weights.</param>
public sealed class MultinomialExpert(MultinomialLogit logit) : IExpertModel
{
    private const double SumTolerance = 1e-6; // what rounding may add to a row of probabilities

    /// <inheritdoc/>
    public int InputSize => logit.InputSize;

    /// <inheritdoc/>
    public int TargetSize => logit.NumClasses;

    /// <inheritdoc/>
    public int ParameterCount => logit.Weights.Length;

    /// <summary>[classes, input size].</summary>
    public ReadOnlySpan<double> Weights => logit.Weights;

    /// <inheritdoc/>
    public void CheckTargets(CaseSet cases)
    {
        for (int index = 0; index < cases.Count; index++)
        {
            double sum = 0;
            bool isNegative = false;
            foreach (double target in cases.Target(index))
            {
                sum += target;
                isNegative |= target < 0;
            }

            if (isNegative || !(Math.Abs(sum - 1) <= SumTolerance))
            {
                throw new ConfigurationException($"target of case {index} is no probability distribution (sum {sum}); experts for classes need a one in the place of the class and zeros elsewhere");
            }
        }
    }

    /// <inheritdoc/>
    public double LogDensity(ReadOnlySpan<double> x, ReadOnlySpan<double> y)
    {
        Span<double> logs = TargetSize <= 64 ? stackalloc double[TargetSize] : new double[TargetSize];
        logit.LogProbabilities(x, logs);
        double sum = 0;
        for (int k = 0; k < logs.Length; k++)
        {
            sum += y[k] == 0 ? 0 : y[k] * logs[k];
        }

        return sum;
    }

    /// <inheritdoc/>
    public void Mean(ReadOnlySpan<double> x, Span<double> mean)
    {
        logit.LogProbabilities(x, mean);
        for (int k = 0; k < mean.Length; k++)
        {
            mean[k] = Math.Exp(mean[k]);
        }
    }

    /// <inheritdoc/>
    public void Refit(CaseSet cases, ReadOnlySpan<double> weights, double before, EmOptions options, string what)
    {
        double[] targets = new double[cases.Count * TargetSize];
        for (int index = 0; index < cases.Count; index++)
        {
            cases.Target(index).CopyTo(targets.AsSpan(index * TargetSize));
        }

        logit.NewtonStep(new SoftClasses(cases, isGateInput: false, targets, weights.ToArray()), options, what);
    }
}
