using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace MoeSharp.Kernels;

/// <summary>Sums and scaled sums of short rows in double precision, four at a time; the same bits on every machine.</summary>
/// <remarks>
/// A vector of four doubles holds elements i to i + 3. Products and sums are rounded one by one, never fused, and a row's sum is always that of the lanes
/// ((0 + 2) + (1 + 3)) and then of the last elements one by one, whether the processor has such registers or not.
/// </remarks>
public static class DoubleRows
{
    /// <summary>sum_i a[i] b[i] over the length of <paramref name="a"/>.</summary>
    /// <param name="a">Row.</param>
    /// <param name="b">At least as long.</param>
    public static double Dot(ReadOnlySpan<double> a, ReadOnlySpan<double> b)
    {
        ref double first = ref MemoryMarshal.GetReference(a);
        ref double second = ref MemoryMarshal.GetReference(b[..a.Length]);
        Vector256<double> sums = Vector256<double>.Zero;
        int i = 0;
        for (; i <= a.Length - 4; i += 4)
        {
            sums += Vector256.LoadUnsafe(ref first, (nuint)i) * Vector256.LoadUnsafe(ref second, (nuint)i);
        }

        Vector128<double> halves = sums.GetLower() + sums.GetUpper();
        double sum = halves[0] + halves[1];
        for (; i < a.Length; i++)
        {
            sum += Unsafe.Add(ref first, i) * Unsafe.Add(ref second, i);
        }

        return sum;
    }

    /// <summary>y[i] += scale x[i] over the length of <paramref name="x"/>.</summary>
    /// <param name="y">At least as long as <paramref name="x"/>; the two must not overlap.</param>
    /// <param name="scale">Factor.</param>
    /// <param name="x">Row.</param>
    public static void AddScaled(Span<double> y, double scale, ReadOnlySpan<double> x)
    {
        ref double target = ref MemoryMarshal.GetReference(y[..x.Length]);
        ref double source = ref MemoryMarshal.GetReference(x);
        Vector256<double> factor = Vector256.Create(scale);
        int i = 0;
        for (; i <= x.Length - 4; i += 4)
        {
            (Vector256.LoadUnsafe(ref target, (nuint)i) + (factor * Vector256.LoadUnsafe(ref source, (nuint)i))).StoreUnsafe(ref target, (nuint)i);
        }

        for (; i < x.Length; i++)
        {
            Unsafe.Add(ref target, i) += scale * Unsafe.Add(ref source, i);
        }
    }
}
