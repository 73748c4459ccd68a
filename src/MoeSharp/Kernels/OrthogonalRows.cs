namespace MoeSharp.Kernels;

/// <summary>Matrices whose rows are orthogonal to each other.</summary>
public static class OrthogonalRows
{
    /// <summary>Makes the rows of a matrix orthogonal and equally long, or its columns where there are fewer of them (Gram-Schmidt in float64).</summary>
    /// <remarks>Of normally distributed numbers it makes evenly distributed directions. Every vector is corrected twice, which is enough for orthogonality to rounding.</remarks>
    /// <param name="matrix">[rows, columns]; modified. Its rows, or columns, must not depend on each other.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="columns">Columns.</param>
    /// <param name="length">Length of each vector.</param>
    public static void Make(Span<float> matrix, int rows, int columns, float length)
    {
        Require.Length(matrix.Length, (long)rows * columns, "OrthogonalRows.Make", nameof(matrix));
        (int count, int size, int stride, int step) = rows <= columns ? (rows, columns, columns, 1) : (columns, rows, 1, columns);
        double[][] vectors = new double[count][];
        for (int index = 0; index < count; index++)
        {
            double[] vector = vectors[index] = new double[size];
            for (int element = 0; element < size; element++)
            {
                vector[element] = matrix[(index * stride) + (element * step)];
            }

            for (int other = 0; other < 2 * index; other++)
            {
                Remove(vectors[other % index], vector);
            }

            double factor = 1 / Math.Sqrt(Dot(vector, vector));
            for (int element = 0; element < size; element++)
            {
                vector[element] *= factor;
                matrix[(index * stride) + (element * step)] = (float)(length * vector[element]);
            }
        }
    }

    // Takes away what lies along a vector of length 1.
    private static void Remove(ReadOnlySpan<double> direction, Span<double> vector)
    {
        double along = Dot(direction, vector);
        for (int element = 0; element < vector.Length; element++)
        {
            vector[element] -= along * direction[element];
        }
    }

    private static double Dot(ReadOnlySpan<double> a, ReadOnlySpan<double> b)
    {
        double sum = 0;
        for (int element = 0; element < a.Length; element++)
        {
            sum += a[element] * b[element];
        }

        return sum;
    }
}
