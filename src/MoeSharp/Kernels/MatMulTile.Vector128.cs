using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace MoeSharp.Kernels;

// Four lanes, 6 rows by 8 columns. The multiply-add is fused where the machine can (one rounding), else multiply then add.
internal static unsafe partial class MatMulTile
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile128<TRows, TColumns>(nint depth, float* a, float* b, nint strideB, float* c, nint strideC, bool add)
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

        Vector128<float> x0 = Vector128<float>.Zero, y0 = Vector128<float>.Zero;
        Vector128<float> x1 = Vector128<float>.Zero, y1 = Vector128<float>.Zero;
        Vector128<float> x2 = Vector128<float>.Zero, y2 = Vector128<float>.Zero;
        Vector128<float> x3 = Vector128<float>.Zero, y3 = Vector128<float>.Zero;
        Vector128<float> x4 = Vector128<float>.Zero, y4 = Vector128<float>.Zero;
        Vector128<float> x5 = Vector128<float>.Zero, y5 = Vector128<float>.Zero;
        float* end = a + (depth * TRows.Count);
        while (a != end)
        {
            Vector128<float> x = Vector128.Load(b);
            Vector128<float> y = TColumns.IsWide ? Vector128.Load(b + 4) : Vector128<float>.Zero;
            Vector128<float> v = Vector128.Create(a[0]);
            x0 = Vector128.MultiplyAddEstimate(v, x, x0);
            y0 = TColumns.IsWide ? Vector128.MultiplyAddEstimate(v, y, y0) : y0;
            if (TRows.Count > 1)
            {
                v = Vector128.Create(a[1]);
                x1 = Vector128.MultiplyAddEstimate(v, x, x1);
                y1 = TColumns.IsWide ? Vector128.MultiplyAddEstimate(v, y, y1) : y1;
            }

            if (TRows.Count > 2)
            {
                v = Vector128.Create(a[2]);
                x2 = Vector128.MultiplyAddEstimate(v, x, x2);
                y2 = TColumns.IsWide ? Vector128.MultiplyAddEstimate(v, y, y2) : y2;
            }

            if (TRows.Count > 3)
            {
                v = Vector128.Create(a[3]);
                x3 = Vector128.MultiplyAddEstimate(v, x, x3);
                y3 = TColumns.IsWide ? Vector128.MultiplyAddEstimate(v, y, y3) : y3;
            }

            if (TRows.Count > 4)
            {
                v = Vector128.Create(a[4]);
                x4 = Vector128.MultiplyAddEstimate(v, x, x4);
                y4 = TColumns.IsWide ? Vector128.MultiplyAddEstimate(v, y, y4) : y4;
            }

            if (TRows.Count > 5)
            {
                v = Vector128.Create(a[5]);
                x5 = Vector128.MultiplyAddEstimate(v, x, x5);
                y5 = TColumns.IsWide ? Vector128.MultiplyAddEstimate(v, y, y5) : y5;
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
    private static void StoreRow<TColumns>(float* c, Vector128<float> x, Vector128<float> y, bool add)
        where TColumns : struct, ITileColumns
    {
        if (add)
        {
            x = Vector128.Load(c) + x;
            y = TColumns.IsWide ? Vector128.Load(c + 4) + y : y;
        }

        x.Store(c);
        if (TColumns.IsWide)
        {
            y.Store(c + 4);
        }
    }
}
