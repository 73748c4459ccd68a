using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace MoeSharp.Kernels;

// Eight lanes, 6 rows by 16 columns: 12 accumulators, two vectors of B and one of A are 15 of the 16 registers.
internal static unsafe partial class MatMulTile
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile256<TRows, TColumns>(nint depth, float* a, float* b, nint strideB, float* c, nint strideC, bool add)
        where TRows : struct, ITileRows
        where TColumns : struct, ITileColumns
    {
        if (Sse.IsSupported)
        {
            for (nint row = 0; row < TRows.Count; row++)
            {
                Sse.Prefetch0(c + (row * strideC));
            }
        }

        Vector256<float> x0 = Vector256<float>.Zero, y0 = Vector256<float>.Zero;
        Vector256<float> x1 = Vector256<float>.Zero, y1 = Vector256<float>.Zero;
        Vector256<float> x2 = Vector256<float>.Zero, y2 = Vector256<float>.Zero;
        Vector256<float> x3 = Vector256<float>.Zero, y3 = Vector256<float>.Zero;
        Vector256<float> x4 = Vector256<float>.Zero, y4 = Vector256<float>.Zero;
        Vector256<float> x5 = Vector256<float>.Zero, y5 = Vector256<float>.Zero;
        float* end = a + (depth * TRows.Count);
        while (a != end)
        {
            Vector256<float> x = Vector256.Load(b);
            Vector256<float> y = TColumns.IsWide ? Vector256.Load(b + 8) : Vector256<float>.Zero;
            Vector256<float> v = Vector256.Create(a[0]);
            x0 = Vector256.FusedMultiplyAdd(v, x, x0);
            y0 = TColumns.IsWide ? Vector256.FusedMultiplyAdd(v, y, y0) : y0;
            if (TRows.Count > 1)
            {
                v = Vector256.Create(a[1]);
                x1 = Vector256.FusedMultiplyAdd(v, x, x1);
                y1 = TColumns.IsWide ? Vector256.FusedMultiplyAdd(v, y, y1) : y1;
            }

            if (TRows.Count > 2)
            {
                v = Vector256.Create(a[2]);
                x2 = Vector256.FusedMultiplyAdd(v, x, x2);
                y2 = TColumns.IsWide ? Vector256.FusedMultiplyAdd(v, y, y2) : y2;
            }

            if (TRows.Count > 3)
            {
                v = Vector256.Create(a[3]);
                x3 = Vector256.FusedMultiplyAdd(v, x, x3);
                y3 = TColumns.IsWide ? Vector256.FusedMultiplyAdd(v, y, y3) : y3;
            }

            if (TRows.Count > 4)
            {
                v = Vector256.Create(a[4]);
                x4 = Vector256.FusedMultiplyAdd(v, x, x4);
                y4 = TColumns.IsWide ? Vector256.FusedMultiplyAdd(v, y, y4) : y4;
            }

            if (TRows.Count > 5)
            {
                v = Vector256.Create(a[5]);
                x5 = Vector256.FusedMultiplyAdd(v, x, x5);
                y5 = TColumns.IsWide ? Vector256.FusedMultiplyAdd(v, y, y5) : y5;
            }

            a += TRows.Count;
            b += strideB;
        }

        StoreRow<TColumns>(c, x0, y0, add);
        if (TRows.Count > 1)
        {
            StoreRow<TColumns>(c + strideC, x1, y1, add);
        }

        if (TRows.Count > 2)
        {
            StoreRow<TColumns>(c + (2 * strideC), x2, y2, add);
        }

        if (TRows.Count > 3)
        {
            StoreRow<TColumns>(c + (3 * strideC), x3, y3, add);
        }

        if (TRows.Count > 4)
        {
            StoreRow<TColumns>(c + (4 * strideC), x4, y4, add);
        }

        if (TRows.Count > 5)
        {
            StoreRow<TColumns>(c + (5 * strideC), x5, y5, add);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void StoreRow<TColumns>(float* c, Vector256<float> x, Vector256<float> y, bool add)
        where TColumns : struct, ITileColumns
    {
        if (add)
        {
            x = Vector256.Load(c) + x;
            y = TColumns.IsWide ? Vector256.Load(c + 8) + y : y;
        }

        x.Store(c);
        if (TColumns.IsWide)
        {
            y.Store(c + 8);
        }
    }
}
