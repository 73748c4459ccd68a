using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace MoeSharp.Kernels;

// Sixteen lanes, 14 rows by 32 columns: 28 accumulators, two vectors of B and one of A are 31 of the 32 registers.
// Where rows of A are read in place their addresses lie on the stack: an address and a number per row are 28 loads beside 28 multiply-adds, which hide them.
internal static unsafe partial class MatMulTile
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile512<TRows, TColumns, TSource>(in MatMulTileInput input, float* c, nint strideC, bool add)
        where TRows : struct, ITileRows
        where TColumns : struct, ITileColumns
        where TSource : struct, ITileSource
    {
        if (Sse.IsSupported)
        {
            // The tile of C is touched only after the loop; asking for it now hides the way to memory behind the arithmetic.
            for (nint row = 0; row < TRows.Count; row++)
            {
                Sse.Prefetch0(c + (row * strideC));
                if (TColumns.IsWide)
                {
                    Sse.Prefetch0(c + (row * strideC) + 16);
                }
            }
        }

        Vector512<float> x0 = Vector512<float>.Zero, y0 = Vector512<float>.Zero;
        Vector512<float> x1 = Vector512<float>.Zero, y1 = Vector512<float>.Zero;
        Vector512<float> x2 = Vector512<float>.Zero, y2 = Vector512<float>.Zero;
        Vector512<float> x3 = Vector512<float>.Zero, y3 = Vector512<float>.Zero;
        Vector512<float> x4 = Vector512<float>.Zero, y4 = Vector512<float>.Zero;
        Vector512<float> x5 = Vector512<float>.Zero, y5 = Vector512<float>.Zero;
        Vector512<float> x6 = Vector512<float>.Zero, y6 = Vector512<float>.Zero;
        Vector512<float> x7 = Vector512<float>.Zero, y7 = Vector512<float>.Zero;
        Vector512<float> x8 = Vector512<float>.Zero, y8 = Vector512<float>.Zero;
        Vector512<float> x9 = Vector512<float>.Zero, y9 = Vector512<float>.Zero;
        Vector512<float> x10 = Vector512<float>.Zero, y10 = Vector512<float>.Zero;
        Vector512<float> x11 = Vector512<float>.Zero, y11 = Vector512<float>.Zero;
        Vector512<float> x12 = Vector512<float>.Zero, y12 = Vector512<float>.Zero;
        Vector512<float> x13 = Vector512<float>.Zero, y13 = Vector512<float>.Zero;
        float** rows = input.Rows;
        float* r0 = TSource.HasRows ? rows[0] : null;
        float* r1 = TSource.HasRows && TRows.Count > 1 ? rows[1] : null;
        float* r2 = TSource.HasRows && TRows.Count > 2 ? rows[2] : null;
        float* r3 = TSource.HasRows && TRows.Count > 3 ? rows[3] : null;
        float* r4 = TSource.HasRows && TRows.Count > 4 ? rows[4] : null;
        float* r5 = TSource.HasRows && TRows.Count > 5 ? rows[5] : null;
        float* r6 = TSource.HasRows && TRows.Count > 6 ? rows[6] : null;
        float* r7 = TSource.HasRows && TRows.Count > 7 ? rows[7] : null;
        float* r8 = TSource.HasRows && TRows.Count > 8 ? rows[8] : null;
        float* r9 = TSource.HasRows && TRows.Count > 9 ? rows[9] : null;
        float* r10 = TSource.HasRows && TRows.Count > 10 ? rows[10] : null;
        float* r11 = TSource.HasRows && TRows.Count > 11 ? rows[11] : null;
        float* r12 = TSource.HasRows && TRows.Count > 12 ? rows[12] : null;
        float* r13 = TSource.HasRows && TRows.Count > 13 ? rows[13] : null;
        float* a = input.A;
        float* b = input.B;
        nint strideA = TSource.IsPacked ? TRows.Count : input.StrideA;
        nint strideB = input.StrideB;
        int* gatherA = input.GatherA;
        int* gatherB = input.GatherB;
        nint depth = input.Depth;
        for (nint p = 0; p < depth; p++)
        {
            float* left = TSource.GathersA ? a + (gatherA[p] * strideA) : a;
            float* right = TSource.GathersB ? b + (gatherB[p] * strideB) : b;
            Vector512<float> x = Vector512.Load(right);
            Vector512<float> y = TColumns.IsWide ? Vector512.Load(right + 16) : Vector512<float>.Zero;
            Vector512<float> v = Vector512.Create(TSource.HasRows ? r0[p] : left[0]);
            x0 = Vector512.FusedMultiplyAdd(v, x, x0);
            y0 = TColumns.IsWide ? Vector512.FusedMultiplyAdd(v, y, y0) : y0;
            if (TRows.Count > 1)
            {
                v = Vector512.Create(TSource.HasRows ? r1[p] : left[1]);
                x1 = Vector512.FusedMultiplyAdd(v, x, x1);
                y1 = TColumns.IsWide ? Vector512.FusedMultiplyAdd(v, y, y1) : y1;
            }

            if (TRows.Count > 2)
            {
                v = Vector512.Create(TSource.HasRows ? r2[p] : left[2]);
                x2 = Vector512.FusedMultiplyAdd(v, x, x2);
                y2 = TColumns.IsWide ? Vector512.FusedMultiplyAdd(v, y, y2) : y2;
            }

            if (TRows.Count > 3)
            {
                v = Vector512.Create(TSource.HasRows ? r3[p] : left[3]);
                x3 = Vector512.FusedMultiplyAdd(v, x, x3);
                y3 = TColumns.IsWide ? Vector512.FusedMultiplyAdd(v, y, y3) : y3;
            }

            if (TRows.Count > 4)
            {
                v = Vector512.Create(TSource.HasRows ? r4[p] : left[4]);
                x4 = Vector512.FusedMultiplyAdd(v, x, x4);
                y4 = TColumns.IsWide ? Vector512.FusedMultiplyAdd(v, y, y4) : y4;
            }

            if (TRows.Count > 5)
            {
                v = Vector512.Create(TSource.HasRows ? r5[p] : left[5]);
                x5 = Vector512.FusedMultiplyAdd(v, x, x5);
                y5 = TColumns.IsWide ? Vector512.FusedMultiplyAdd(v, y, y5) : y5;
            }

            if (TRows.Count > 6)
            {
                v = Vector512.Create(TSource.HasRows ? r6[p] : left[6]);
                x6 = Vector512.FusedMultiplyAdd(v, x, x6);
                y6 = TColumns.IsWide ? Vector512.FusedMultiplyAdd(v, y, y6) : y6;
            }

            if (TRows.Count > 7)
            {
                v = Vector512.Create(TSource.HasRows ? r7[p] : left[7]);
                x7 = Vector512.FusedMultiplyAdd(v, x, x7);
                y7 = TColumns.IsWide ? Vector512.FusedMultiplyAdd(v, y, y7) : y7;
            }

            if (TRows.Count > 8)
            {
                v = Vector512.Create(TSource.HasRows ? r8[p] : left[8]);
                x8 = Vector512.FusedMultiplyAdd(v, x, x8);
                y8 = TColumns.IsWide ? Vector512.FusedMultiplyAdd(v, y, y8) : y8;
            }

            if (TRows.Count > 9)
            {
                v = Vector512.Create(TSource.HasRows ? r9[p] : left[9]);
                x9 = Vector512.FusedMultiplyAdd(v, x, x9);
                y9 = TColumns.IsWide ? Vector512.FusedMultiplyAdd(v, y, y9) : y9;
            }

            if (TRows.Count > 10)
            {
                v = Vector512.Create(TSource.HasRows ? r10[p] : left[10]);
                x10 = Vector512.FusedMultiplyAdd(v, x, x10);
                y10 = TColumns.IsWide ? Vector512.FusedMultiplyAdd(v, y, y10) : y10;
            }

            if (TRows.Count > 11)
            {
                v = Vector512.Create(TSource.HasRows ? r11[p] : left[11]);
                x11 = Vector512.FusedMultiplyAdd(v, x, x11);
                y11 = TColumns.IsWide ? Vector512.FusedMultiplyAdd(v, y, y11) : y11;
            }

            if (TRows.Count > 12)
            {
                v = Vector512.Create(TSource.HasRows ? r12[p] : left[12]);
                x12 = Vector512.FusedMultiplyAdd(v, x, x12);
                y12 = TColumns.IsWide ? Vector512.FusedMultiplyAdd(v, y, y12) : y12;
            }

            if (TRows.Count > 13)
            {
                v = Vector512.Create(TSource.HasRows ? r13[p] : left[13]);
                x13 = Vector512.FusedMultiplyAdd(v, x, x13);
                y13 = TColumns.IsWide ? Vector512.FusedMultiplyAdd(v, y, y13) : y13;
            }

            a += TSource.HasRows || TSource.GathersA ? 0 : strideA;
            b += TSource.GathersB ? 0 : strideB;
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

        if (TRows.Count > 6)
        {
            StoreRow<TColumns>(c + (6 * strideC), x6, y6, add);
        }

        if (TRows.Count > 7)
        {
            StoreRow<TColumns>(c + (7 * strideC), x7, y7, add);
        }

        if (TRows.Count > 8)
        {
            StoreRow<TColumns>(c + (8 * strideC), x8, y8, add);
        }

        if (TRows.Count > 9)
        {
            StoreRow<TColumns>(c + (9 * strideC), x9, y9, add);
        }

        if (TRows.Count > 10)
        {
            StoreRow<TColumns>(c + (10 * strideC), x10, y10, add);
        }

        if (TRows.Count > 11)
        {
            StoreRow<TColumns>(c + (11 * strideC), x11, y11, add);
        }

        if (TRows.Count > 12)
        {
            StoreRow<TColumns>(c + (12 * strideC), x12, y12, add);
        }

        if (TRows.Count > 13)
        {
            StoreRow<TColumns>(c + (13 * strideC), x13, y13, add);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void StoreRow<TColumns>(float* c, Vector512<float> x, Vector512<float> y, bool add)
        where TColumns : struct, ITileColumns
    {
        if (add)
        {
            x = Vector512.Load(c) + x;
            y = TColumns.IsWide ? Vector512.Load(c + 16) + y : y;
        }

        x.Store(c);
        if (TColumns.IsWide)
        {
            y.Store(c + 16);
        }
    }
}
