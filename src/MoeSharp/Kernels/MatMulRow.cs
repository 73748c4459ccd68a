using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace MoeSharp.Kernels;

/// <summary>One row of A times the rows of a stored B [columns, depth], read in place: the products of decoding.</summary>
/// <remarks>
/// A packed copy of B would be read once, so none is made: 16 rows of B are turned in registers, four depths at a time. Every
/// column still has one accumulator that takes its terms in ascending order: the same bits as <see cref="MatMulTile"/>.
/// </remarks>
internal static unsafe class MatMulRow
{
    /// <summary>Columns of one call.</summary>
    public const int Columns = 16;

    private const int Line = 16; // floats in a cache line

    /// <summary>Most rows for which reading B in place, once per row, is faster than packing it (measured).</summary>
    public const int MaxRows = 1;

    /// <summary>Whether this machine has the registers it needs.</summary>
    public static bool IsSupported => Vector256.IsHardwareAccelerated && Avx.IsSupported;

    /// <summary>c[j] = sum over p of a[p] * b[j * strideB + p] for 16 columns j, or += with <paramref name="add"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Compute(nint depth, float* a, float* b, nint strideB, float* c, bool add)
    {
        Vector256<float> x = Vector256<float>.Zero, y = Vector256<float>.Zero;
        float* lower = b, upper = b + (8 * strideB);
        nint p = 0;
        for (; p + Line <= depth; p += Line)
        {
            // The next call reads 16 rows further on: their lines are on the way while these are used. Without this, weights in
            // memory come at half the speed.
            for (nint row = Columns; row < 2 * Columns; row++)
            {
                Sse.Prefetch1(b + (row * strideB) + p);
            }

            x = AddLine(x, a + p, lower + p, strideB);
            y = AddLine(y, a + p, upper + p, strideB);
        }

        for (; p < depth; p++)
        {
            Vector256<float> v = Vector256.Create(a[p]);
            x = Vector256.FusedMultiplyAdd(v, Column(lower + p, strideB), x);
            y = Vector256.FusedMultiplyAdd(v, Column(upper + p, strideB), y);
        }

        if (add)
        {
            x += Vector256.Load(c);
            y += Vector256.Load(c + 8);
        }

        x.Store(c);
        y.Store(c + 8);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> AddLine(Vector256<float> sum, float* a, float* b, nint stride)
    {
        sum = AddFour(sum, a, b, stride);
        sum = AddFour(sum, a + 4, b + 4, stride);
        sum = AddFour(sum, a + 8, b + 8, stride);
        return AddFour(sum, a + 12, b + 12, stride);
    }

    // sum[j] += a[0] b[j, 0], then a[1] b[j, 1], a[2] b[j, 2], a[3] b[j, 3] for eight rows j of b. Exchanges stay inside the 128-bit
    // halves because each register starts with four numbers of row j and four of row j + 4.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> AddFour(Vector256<float> sum, float* a, float* b, nint stride)
    {
        float* b4 = b + (4 * stride);
        Vector256<float> v0 = Vector256.Create(Vector128.Load(b), Vector128.Load(b4));
        Vector256<float> v1 = Vector256.Create(Vector128.Load(b + stride), Vector128.Load(b4 + stride));
        Vector256<float> v2 = Vector256.Create(Vector128.Load(b + (2 * stride)), Vector128.Load(b4 + (2 * stride)));
        Vector256<float> v3 = Vector256.Create(Vector128.Load(b + (3 * stride)), Vector128.Load(b4 + (3 * stride)));
        Vector256<double> low01 = Avx.UnpackLow(v0, v1).AsDouble(), low23 = Avx.UnpackLow(v2, v3).AsDouble();
        Vector256<double> high01 = Avx.UnpackHigh(v0, v1).AsDouble(), high23 = Avx.UnpackHigh(v2, v3).AsDouble();
        sum = Vector256.FusedMultiplyAdd(Vector256.Create(a[0]), Avx.UnpackLow(low01, low23).AsSingle(), sum);
        sum = Vector256.FusedMultiplyAdd(Vector256.Create(a[1]), Avx.UnpackHigh(low01, low23).AsSingle(), sum);
        sum = Vector256.FusedMultiplyAdd(Vector256.Create(a[2]), Avx.UnpackLow(high01, high23).AsSingle(), sum);
        return Vector256.FusedMultiplyAdd(Vector256.Create(a[3]), Avx.UnpackHigh(high01, high23).AsSingle(), sum);
    }

    private static Vector256<float> Column(float* b, nint stride) =>
        Vector256.Create(b[0], b[stride], b[2 * stride], b[3 * stride], b[4 * stride], b[5 * stride], b[6 * stride], b[7 * stride]);
}
