namespace MoeSharp.Classic;

/// <summary>The lower triangular factor of a small symmetric positive definite matrix: A = L L'.</summary>
/// <remarks>
/// The matrices here have the size of an input or an output, a dozen rows; a linear algebra package would be a dependency for forty lines.
/// </remarks>
internal sealed class CholeskyFactor
{
    private readonly double[] _lower; // [size, size], the strict upper triangle is not used

    private CholeskyFactor(double[] lower, int size)
    {
        _lower = lower;
        Size = size;
        double sum = 0;
        for (int row = 0; row < size; row++)
        {
            sum += Math.Log(lower[(row * size) + row]);
        }

        LogDeterminant = 2 * sum;
    }

    /// <summary>Rows of the matrix.</summary>
    public int Size { get; }

    /// <summary>log |A|.</summary>
    public double LogDeterminant { get; }

    /// <summary>Factors a matrix.</summary>
    /// <param name="matrix">[size, size]; only the lower triangle is read.</param>
    /// <param name="size">Rows.</param>
    /// <param name="factor">The factor, when there is one.</param>
    /// <returns>False when a pivot is not above the rounding errors of its diagonal element: the matrix is singular, indefinite or not finite.</returns>
    public static bool TryFactor(ReadOnlySpan<double> matrix, int size, [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out CholeskyFactor? factor)
    {
        const double RoundingOfDouble = 2.2e-16;
        factor = null;
        double[] lower = new double[size * size];
        for (int row = 0; row < size; row++)
        {
            Span<double> own = lower.AsSpan(row * size, row + 1);
            for (int column = 0; column < row; column++)
            {
                own[column] = (matrix[(row * size) + column] - SmallMatrix.Dot(own[..column], lower.AsSpan(column * size, column))) / lower[(column * size) + column];
            }

            double diagonal = matrix[(row * size) + row];
            double pivot = diagonal - SmallMatrix.Dot(own[..row], own[..row]);
            if (!(pivot > size * RoundingOfDouble * Math.Abs(diagonal)) || !double.IsFinite(pivot))
            {
                return false;
            }

            own[row] = Math.Sqrt(pivot);
        }

        factor = new CholeskyFactor(lower, size);
        return true;
    }

    /// <summary>x = A^-1 x.</summary>
    public void Solve(Span<double> x)
    {
        SolveLower(x);
        for (int row = Size - 1; row >= 0; row--)
        {
            double value = x[row];
            for (int below = row + 1; below < Size; below++)
            {
                value -= _lower[(below * Size) + row] * x[below];
            }

            x[row] = value / _lower[(row * Size) + row];
        }
    }

    /// <summary>r' A^-1 r; overwrites <paramref name="r"/> with L^-1 r.</summary>
    public double SquaredLength(Span<double> r)
    {
        SolveLower(r);
        return SmallMatrix.Dot(r, r);
    }

    private void SolveLower(Span<double> x)
    {
        for (int row = 0; row < Size; row++)
        {
            x[row] = (x[row] - SmallMatrix.Dot(_lower.AsSpan(row * Size, row), x[..row])) / _lower[(row * Size) + row];
        }
    }
}
