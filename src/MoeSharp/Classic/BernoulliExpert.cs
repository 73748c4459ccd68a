namespace MoeSharp.Classic;

/// <summary>An expert for yes or no: each output is a logistic function of a linear one, independent of the others; targets lie in 0 to 1.</summary>
public sealed class BernoulliExpert : IExpertModel
{
    private readonly double[] _weights; // [target, input]

    /// <summary>Creates an expert.</summary>
    /// <param name="weights">[targetSize, inputSize]; copied.</param>
    /// <param name="inputSize">Numbers per input.</param>
    /// <param name="targetSize">Numbers per target.</param>
    public BernoulliExpert(ReadOnlySpan<double> weights, int inputSize, int targetSize)
    {
        if (inputSize < 1 || targetSize < 1 || weights.Length != inputSize * targetSize)
        {
            throw new ConfigurationException($"a Bernoulli expert for {inputSize} inputs and {targetSize} outputs needs {targetSize} x {inputSize} weights, not {weights.Length}");
        }

        _weights = weights.ToArray();
        (InputSize, TargetSize) = (inputSize, targetSize);
    }

    /// <inheritdoc/>
    public int InputSize { get; }

    /// <inheritdoc/>
    public int TargetSize { get; }

    /// <inheritdoc/>
    public int ParameterCount => _weights.Length;

    /// <summary>[target size, input size].</summary>
    public ReadOnlySpan<double> Weights => _weights;

    /// <inheritdoc/>
    public void CheckTargets(CaseSet cases)
    {
        for (int index = 0; index < cases.Count; index++)
        {
            foreach (double target in cases.Target(index))
            {
                if (target is not (>= 0 and <= 1))
                {
                    throw new ConfigurationException($"target {target} of case {index} is not between 0 and 1; experts for yes or no need 1 for yes and 0 for no");
                }
            }
        }
    }

    /// <inheritdoc/>
    public double LogDensity(ReadOnlySpan<double> x, ReadOnlySpan<double> y)
    {
        double sum = 0;
        for (int output = 0; output < TargetSize; output++)
        {
            sum += LogProbability(SmallMatrix.Dot(x, _weights.AsSpan(output * InputSize)), y[output]);
        }

        return sum;
    }

    /// <inheritdoc/>
    public void Mean(ReadOnlySpan<double> x, Span<double> mean)
    {
        for (int output = 0; output < TargetSize; output++)
        {
            mean[output] = UnitFunction.Value(UnitKind.Logistic, SmallMatrix.Dot(x, _weights.AsSpan(output * InputSize)));
        }
    }

    /// <inheritdoc/>
    public void Refit(CaseSet cases, ReadOnlySpan<double> weights, double before, EmOptions options, string what)
    {
        for (int output = 0; output < TargetSize; output++)
        {
            NewtonStep(cases, weights, output, options, what);
        }
    }

    // One damped Newton step on sum_t w_t (y s - log(1 + e^s)), s = v'x: gradient sum w (y - p) x, negative Hessian sum w p (1 - p) x x'.
    private void NewtonStep(CaseSet cases, ReadOnlySpan<double> weights, int output, EmOptions options, string what)
    {
        Span<double> own = _weights.AsSpan(output * InputSize, InputSize);
        double[] step = new double[InputSize];
        double[] hessian = new double[SmallMatrix.PackedSize(InputSize)];
        double[] scratch = new double[hessian.Length];
        for (int index = 0; index < cases.Count; index++)
        {
            ReadOnlySpan<double> x = cases.Input(index);
            double p = UnitFunction.Value(UnitKind.Logistic, SmallMatrix.Dot(x, own));
            SmallMatrix.AddScaled(step, weights[index] * (cases.Target(index)[output] - p), x);
            SmallMatrix.AddScaled(hessian, weights[index] * p * (1 - p), cases.Square(index, isGateInput: false, scratch));
        }

        double before = Objective(cases, weights, output);
        WeightedLeastSquares.DampedFactor(hessian, InputSize, options.Ridge, what).Solve(step);
        double[] old = own.ToArray();
        double share = 1;
        for (int halving = 0; halving <= options.LineSearchHalvings; halving++, share /= 2)
        {
            for (int i = 0; i < own.Length; i++)
            {
                own[i] = old[i] + (share * step[i]);
            }

            if (Objective(cases, weights, output) >= before)
            {
                return;
            }
        }

        old.CopyTo(own);
    }

    private double Objective(CaseSet cases, ReadOnlySpan<double> weights, int output)
    {
        double sum = 0;
        for (int index = 0; index < cases.Count; index++)
        {
            if (weights[index] != 0)
            {
                sum += weights[index] * LogProbability(SmallMatrix.Dot(cases.Input(index), _weights.AsSpan(output * InputSize)), cases.Target(index)[output]);
            }
        }

        return sum;
    }

    // y s - log(1 + e^s), without overflow.
    private static double LogProbability(double sum, double y) =>
        (y * sum) - Math.Max(sum, 0) - Math.Log(1 + Math.Exp(-Math.Abs(sum)));
}
