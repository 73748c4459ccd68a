namespace MoeSharp.Classic;

/// <summary>Plain loops over matrices of a few dozen numbers.</summary>
internal static class SmallMatrix
{
    /// <summary>Sum of products; <paramref name="b"/> may be longer.</summary>
    public static double Dot(ReadOnlySpan<double> a, ReadOnlySpan<double> b)
    {
        double sum = 0;
        for (int i = 0; i < a.Length; i++)
        {
            sum += a[i] * b[i];
        }

        return sum;
    }

    /// <summary>y = W x.</summary>
    public static void Multiply(ReadOnlySpan<double> weights, ReadOnlySpan<double> x, Span<double> y)
    {
        for (int row = 0; row < y.Length; row++)
        {
            y[row] = Dot(x, weights.Slice(row * x.Length, x.Length));
        }
    }

    /// <summary>G += d x'.</summary>
    public static void AddOuter(Span<double> gradient, ReadOnlySpan<double> d, ReadOnlySpan<double> x)
    {
        for (int row = 0; row < d.Length; row++)
        {
            AddScaled(gradient.Slice(row * x.Length, x.Length), d[row], x);
        }
    }

    /// <summary>y += a x.</summary>
    public static void AddScaled(Span<double> y, double a, ReadOnlySpan<double> x)
    {
        for (int i = 0; i < x.Length; i++)
        {
            y[i] += a * x[i];
        }
    }

    /// <summary>Lower triangle of S, packed row by row: S += w x x'.</summary>
    public static void AddSquare(Span<double> packed, double w, ReadOnlySpan<double> x)
    {
        int at = 0;
        for (int row = 0; row < x.Length; row++)
        {
            AddScaled(packed.Slice(at, row + 1), w * x[row], x[..(row + 1)]);
            at += row + 1;
        }
    }

    /// <summary>Element of a packed symmetric matrix.</summary>
    public static double Packed(ReadOnlySpan<double> packed, int row, int column) =>
        row >= column ? packed[(row * (row + 1) / 2) + column] : packed[(column * (column + 1) / 2) + row];

    /// <summary>Numbers in a packed lower triangle.</summary>
    public static int PackedSize(int size) => size * (size + 1) / 2;
}
