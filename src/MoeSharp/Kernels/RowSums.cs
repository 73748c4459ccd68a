using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace MoeSharp.Kernels;

/// <summary>Sums over rows in double precision, eight columns at a time.</summary>
/// <remarks>
/// Eight floats become two vectors of four doubles. Every column is a sum of its own, from the first row to the last, so that the lanes equal
/// <c>y[c] += x[row, c]</c> bit for bit on every machine. One thread: a row costs a few nanoseconds, less than handing it to another.
/// </remarks>
public static class RowSums
{
    private const int Lanes = 8;

    /// <summary>y[c] += x[row, c] for every row, in order.</summary>
    /// <param name="rows">Rows.</param>
    /// <param name="cols">Columns.</param>
    /// <param name="x">[rows, cols].</param>
    /// <param name="y">+=, [cols].</param>
    /// <exception cref="ShapeException">A span is too short.</exception>
    public static void Add(int rows, int cols, ReadOnlySpan<float> x, Span<double> y)
    {
        Require.Length(x.Length, (long)rows * cols, "RowSums.Add", nameof(x));
        Require.Length(y.Length, cols, "RowSums.Add", nameof(y));
        ref double sums = ref MemoryMarshal.GetReference(y);
        for (int row = 0; row < rows; row++)
        {
            ref float values = ref MemoryMarshal.GetReference(x.Slice(row * cols, cols));
            int c = 0;
            for (; c <= cols - Lanes; c += Lanes)
            {
                (Vector256<double> lower, Vector256<double> upper) = Vector256.Widen(Vector256.LoadUnsafe(ref values, (nuint)c));
                (lower + Vector256.LoadUnsafe(ref sums, (nuint)c)).StoreUnsafe(ref sums, (nuint)c);
                (upper + Vector256.LoadUnsafe(ref sums, (nuint)c + 4)).StoreUnsafe(ref sums, (nuint)c + 4);
            }

            for (; c < cols; c++)
            {
                Unsafe.Add(ref sums, c) += Unsafe.Add(ref values, c);
            }
        }
    }
}
