namespace MoeSharp.Classic;

/// <summary>A linear expert with Gaussian noise of full covariance: y ~ N(U x, S).</summary>
/// <remarks>
/// Refitted in closed form: U by weighted least squares, S as the weighted mean of the new residuals' products. Ridge and floor make this an approximation of the
/// maximum, so the new parameters are taken only if they raise the expected log-likelihood.
/// </remarks>
public sealed class GaussianExpert : IExpertModel
{
    private const double LogTwoPi = 1.8378770664093453; // log(2 pi)
    private const double LeastWeight = 1e-10; // cases; an expert that takes less keeps its parameters

    private double[] _coefficients; // [target, input]
    private double[] _covariance; // [target, target]
    private CholeskyFactor _factor;

    /// <summary>Creates an expert.</summary>
    /// <param name="coefficients">U: [targetSize, inputSize]; copied.</param>
    /// <param name="covariance">S: [targetSize, targetSize], positive definite; copied.</param>
    /// <param name="inputSize">Numbers per input.</param>
    /// <param name="targetSize">Numbers per target.</param>
    /// <exception cref="ConfigurationException">The sizes do not fit or the covariance is not positive definite.</exception>
    public GaussianExpert(ReadOnlySpan<double> coefficients, ReadOnlySpan<double> covariance, int inputSize, int targetSize)
    {
        if (inputSize < 1 || targetSize < 1 || coefficients.Length != inputSize * targetSize || covariance.Length != targetSize * targetSize)
        {
            throw new ConfigurationException($"a Gaussian expert for {inputSize} inputs and {targetSize} outputs needs {targetSize} x {inputSize} coefficients and {targetSize} x {targetSize} covariances, not {coefficients.Length} and {covariance.Length}");
        }

        _factor = CholeskyFactor.TryFactor(covariance, targetSize, out CholeskyFactor? factor)
            ? factor
            : throw new ConfigurationException("the covariance of a Gaussian expert is not positive definite; give a symmetric matrix whose diagonal outweighs the rest");
        (_coefficients, _covariance) = (coefficients.ToArray(), covariance.ToArray());
        (InputSize, TargetSize) = (inputSize, targetSize);
    }

    /// <inheritdoc/>
    public int InputSize { get; }

    /// <inheritdoc/>
    public int TargetSize { get; }

    /// <inheritdoc/>
    public int ParameterCount => _coefficients.Length + SmallMatrix.PackedSize(TargetSize);

    /// <summary>U: [target size, input size].</summary>
    public ReadOnlySpan<double> Coefficients => _coefficients;

    /// <summary>S: [target size, target size].</summary>
    public ReadOnlySpan<double> Covariance => _covariance;

    /// <inheritdoc/>
    public void CheckTargets(CaseSet cases)
    {
        // Every finite number has a density.
    }

    /// <inheritdoc/>
    public double LogDensity(ReadOnlySpan<double> x, ReadOnlySpan<double> y)
    {
        Span<double> residual = TargetSize <= 64 ? stackalloc double[TargetSize] : new double[TargetSize];
        Residual(_coefficients, x, y, residual);
        return -0.5 * ((TargetSize * LogTwoPi) + _factor.LogDeterminant + _factor.SquaredLength(residual));
    }

    /// <inheritdoc/>
    public void Mean(ReadOnlySpan<double> x, Span<double> mean) => SmallMatrix.Multiply(_coefficients, x, mean);

    /// <inheritdoc/>
    public void Refit(CaseSet cases, ReadOnlySpan<double> weights, double before, EmOptions options, string what)
    {
        double total = 0;
        WeightedLeastSquares system = new(InputSize, TargetSize);
        for (int index = 0; index < cases.Count; index++)
        {
            total += weights[index];
            if (weights[index] != 0)
            {
                system.Add(cases, index, isGateInput: false, weights[index], cases.Target(index));
            }
        }

        if (total < LeastWeight)
        {
            return;
        }

        double[] coefficients = system.Solve(options.Ridge, what);
        double[] products = ResidualProducts(cases, weights, coefficients);
        double[] covariance = new double[products.Length];
        for (int i = 0; i < products.Length; i++)
        {
            covariance[i] = (products[i] / total) + (i % (TargetSize + 1) == 0 ? options.VarianceFloor : 0);
        }

        if (CholeskyFactor.TryFactor(covariance, TargetSize, out CholeskyFactor? factor) && Expected(factor, products, total) >= before)
        {
            (_coefficients, _covariance, _factor) = (coefficients, covariance, factor);
        }
    }

    // sum_t w_t log N(r_t; 0, S) = -(W (P log 2 pi + log |S|) + tr(S^-1 sum w r r')) / 2
    private double Expected(CholeskyFactor factor, double[] products, double total)
    {
        double trace = 0;
        double[] column = new double[TargetSize];
        for (int i = 0; i < TargetSize; i++)
        {
            products.AsSpan(i * TargetSize, TargetSize).CopyTo(column);
            factor.Solve(column);
            trace += column[i];
        }

        return -0.5 * ((total * ((TargetSize * LogTwoPi) + factor.LogDeterminant)) + trace);
    }

    private double[] ResidualProducts(CaseSet cases, ReadOnlySpan<double> weights, double[] coefficients)
    {
        double[] products = new double[TargetSize * TargetSize];
        double[] residual = new double[TargetSize];
        for (int index = 0; index < cases.Count; index++)
        {
            if (weights[index] != 0)
            {
                Residual(coefficients, cases.Input(index), cases.Target(index), residual);
                for (int row = 0; row < TargetSize; row++)
                {
                    SmallMatrix.AddScaled(products.AsSpan(row * TargetSize, TargetSize), weights[index] * residual[row], residual);
                }
            }
        }

        return products;
    }

    private static void Residual(double[] coefficients, ReadOnlySpan<double> x, ReadOnlySpan<double> y, Span<double> residual)
    {
        SmallMatrix.Multiply(coefficients, x, residual);
        for (int i = 0; i < residual.Length; i++)
        {
            residual[i] = y[i] - residual[i];
        }
    }
}
