namespace MoeSharp.Classic;

/// <summary>Collects weighted cases and solves (X'WX + ridge I) B = X'WY.</summary>
internal sealed class WeightedLeastSquares(int inputSize, int targetSize)
{
    private readonly double[] _square = new double[SmallMatrix.PackedSize(inputSize)];
    private readonly double[] _cross = new double[targetSize * inputSize]; // [target, input]

    private readonly double[] _scratch = new double[SmallMatrix.PackedSize(inputSize)];

    /// <summary>Adds one case.</summary>
    /// <param name="cases">Cases.</param>
    /// <param name="index">Which of them.</param>
    /// <param name="isGateInput">Whether x is what the gates see.</param>
    /// <param name="weight">w.</param>
    /// <param name="y">[target size].</param>
    public void Add(CaseSet cases, int index, bool isGateInput, double weight, ReadOnlySpan<double> y)
    {
        ReadOnlySpan<double> x = isGateInput ? cases.GateInput(index) : cases.Input(index);
        SmallMatrix.AddScaled(_square, weight, cases.Square(index, isGateInput, _scratch));
        for (int output = 0; output < targetSize; output++)
        {
            SmallMatrix.AddScaled(_cross.AsSpan(output * inputSize, inputSize), weight * y[output], x);
        }
    }

    /// <summary>Solves for the coefficients.</summary>
    /// <param name="ridge">Added to the diagonal.</param>
    /// <param name="what">What is fitted, for the error message.</param>
    /// <returns>[target size, input size].</returns>
    /// <exception cref="ConfigurationException">The system is singular to working precision.</exception>
    public double[] Solve(double ridge, string what)
    {
        CholeskyFactor factor = DampedFactor(_square, inputSize, ridge, what);
        double[] coefficients = (double[])_cross.Clone();
        for (int output = 0; output < targetSize; output++)
        {
            factor.Solve(coefficients.AsSpan(output * inputSize, inputSize));
        }

        return coefficients;
    }

    /// <summary>Factors a packed symmetric matrix with a ridge.</summary>
    internal static CholeskyFactor DampedFactor(ReadOnlySpan<double> packed, int size, double ridge, string what)
    {
        double[] full = new double[size * size];
        for (int row = 0; row < size; row++)
        {
            for (int column = 0; column <= row; column++)
            {
                full[(row * size) + column] = SmallMatrix.Packed(packed, row, column) + (row == column ? ridge : 0);
            }
        }

        return Factor(full, size, what);
    }

    /// <summary>Factors a full symmetric matrix.</summary>
    internal static CholeskyFactor Factor(ReadOnlySpan<double> full, int size, string what) =>
        CholeskyFactor.TryFactor(full, size, out CholeskyFactor? factor)
            ? factor
            : throw new ConfigurationException($"{what}: the equations are singular to working precision; inputs are linearly dependent or of very different sizes. Scale the inputs to about one, or raise the ridge");
}
