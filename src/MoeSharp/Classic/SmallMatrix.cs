using MoeSharp.Kernels;

namespace MoeSharp.Classic;

/// <summary>Products with matrices of a few dozen numbers.</summary>
internal static class SmallMatrix
{
    /// <summary>Sum of products over the length of <paramref name="a"/>; <paramref name="b"/> may be longer.</summary>
    public static double Dot(ReadOnlySpan<double> a, ReadOnlySpan<double> b) => DoubleRows.Dot(a, b);

    /// <summary>y += a x.</summary>
    public static void AddScaled(Span<double> y, double a, ReadOnlySpan<double> x) => DoubleRows.AddScaled(y, a, x);

    /// <summary>y = W x.</summary>
    public static void Multiply(ReadOnlySpan<double> weights, ReadOnlySpan<double> x, Span<double> y)
    {
        for (int row = 0; row < y.Length; row++)
        {
            y[row] = DoubleRows.Dot(x, weights.Slice(row * x.Length, x.Length));
        }
    }

    /// <summary>G += d x'.</summary>
    public static void AddOuter(Span<double> gradient, ReadOnlySpan<double> d, ReadOnlySpan<double> x)
    {
        for (int row = 0; row < d.Length; row++)
        {
            DoubleRows.AddScaled(gradient.Slice(row * x.Length, x.Length), d[row], x);
        }
    }

    /// <summary>Lower triangle of x x', packed row by row.</summary>
    public static void Square(ReadOnlySpan<double> x, Span<double> packed)
    {
        int at = 0;
        for (int row = 0; row < x.Length; row++)
        {
            for (int column = 0; column <= row; column++)
            {
                packed[at++] = x[row] * x[column];
            }
        }
    }

    /// <summary>Element of a packed symmetric matrix.</summary>
    public static double Packed(ReadOnlySpan<double> packed, int row, int column) =>
        row >= column ? packed[(row * (row + 1) / 2) + column] : packed[(column * (column + 1) / 2) + row];

    /// <summary>Numbers in a packed lower triangle.</summary>
    public static int PackedSize(int size) => size * (size + 1) / 2;
}
