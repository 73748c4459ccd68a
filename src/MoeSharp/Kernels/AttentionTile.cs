using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace MoeSharp.Kernels;

/// <summary>Small matrix products for attention: operands that fit the first cache, sums that stay in registers.</summary>
/// <remarks>
/// Every element of the result is one chain of multiply-adds in rising k, whatever the tile it falls into: that is what makes a
/// row's bits independent of its neighbours. The register tile is 8 rows of two 512-bit vectors (4 rows where there are 16 registers);
/// its rows are written out, because only separate locals stay in registers. Legend: r row, n vector, k depth.
/// </remarks>
internal static unsafe class AttentionTile
{
    /// <summary>c[r, n] = scales[r] c[r, n] + sum over k of a[r, k] b[k, n]; without scales, c starts from zero.</summary>
    /// <param name="rows">Rows of c.</param>
    /// <param name="cols">Columns of c, a multiple of the vector width.</param>
    /// <param name="depth">Number of products per sum.</param>
    /// <param name="a">Left operand: element (r, k) at r * rowStep + k * depthStep.</param>
    /// <param name="rowStep">Floats between rows of a.</param>
    /// <param name="depthStep">Floats between columns of a.</param>
    /// <param name="b">Right operand, [depth, cols] with row stride <paramref name="bStride"/>.</param>
    /// <param name="bStride">Floats between rows of b.</param>
    /// <param name="c">Result, with row stride <paramref name="cStride"/>; must not overlap the operands.</param>
    /// <param name="cStride">Floats between rows of c.</param>
    /// <param name="scales">Factor of each row of c, or null.</param>
    /// <param name="ahead">Floats from b to what will be read next in its place, which is asked for meanwhile; 0 for nothing.</param>
    public static void Multiply<L, V>(int rows, int cols, int depth, float* a, nint rowStep, nint depthStep, float* b, nint bStride, float* c, nint cStride, float* scales, nint ahead = 0)
        where L : struct, ILanes<V>
        where V : unmanaged
    {
        int r = 0;
        if (L.Count == 16)
        {
            for (; r <= rows - 8; r += 8)
            {
                int n = 0;
                for (; n <= cols - (2 * L.Count); n += 2 * L.Count)
                {
                    Tile8x2<L, V>(a, rowStep, depthStep, b + n, bStride, c + n, cStride, depth, scales, ahead);
                }

                if (n < cols)
                {
                    Tile8x1<L, V>(a, rowStep, depthStep, b + n, bStride, c + n, cStride, depth, scales);
                }

                a += 8 * rowStep;
                c += 8 * cStride;
                scales += scales == null ? 0 : 8;
            }
        }

        for (; r <= rows - 4; r += 4)
        {
            int n = 0;
            for (; n <= cols - (2 * L.Count); n += 2 * L.Count)
            {
                Tile4x2<L, V>(a, rowStep, depthStep, b + n, bStride, c + n, cStride, depth, scales, ahead);
            }

            if (n < cols)
            {
                Tile4x1<L, V>(a, rowStep, depthStep, b + n, bStride, c + n, cStride, depth, scales);
            }

            a += 4 * rowStep;
            c += 4 * cStride;
            scales += scales == null ? 0 : 4;
        }

        for (; r < rows; r++)
        {
            int n = 0;
            for (; n <= cols - (4 * L.Count); n += 4 * L.Count)
            {
                Tile1x4<L, V>(a, depthStep, b + n, bStride, c + n, depth, scales, ahead);
            }

            for (; n < cols; n += L.Count)
            {
                Tile1x1<L, V>(a, depthStep, b + n, bStride, c + n, depth, scales);
            }

            a += rowStep;
            c += cStride;
            scales += scales == null ? 0 : 1;
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private static void Tile8x2<L, V>(float* a, nint rowStep, nint depthStep, float* b, nint bStride, float* c, nint cStride, int depth, float* scales, nint ahead)
        where L : struct, ILanes<V>
        where V : unmanaged
    {
        V c00, c01;
        V c10, c11;
        V c20, c21;
        V c30, c31;
        V c40, c41;
        V c50, c51;
        V c60, c61;
        V c70, c71;
        if (scales == null)
        {
            c00 = c01 = c10 = c11 = c20 = c21 = c30 = c31 = c40 = c41 = c50 = c51 = c60 = c61 = c70 = c71 = L.Zero;
        }
        else
        {
            c00 = L.Multiply(L.Load(c), L.Broadcast(scales[0]));
            c01 = L.Multiply(L.Load(c + L.Count), L.Broadcast(scales[0]));
            c10 = L.Multiply(L.Load(c + cStride), L.Broadcast(scales[1]));
            c11 = L.Multiply(L.Load(c + cStride + L.Count), L.Broadcast(scales[1]));
            c20 = L.Multiply(L.Load(c + (2 * cStride)), L.Broadcast(scales[2]));
            c21 = L.Multiply(L.Load(c + (2 * cStride) + L.Count), L.Broadcast(scales[2]));
            c30 = L.Multiply(L.Load(c + (3 * cStride)), L.Broadcast(scales[3]));
            c31 = L.Multiply(L.Load(c + (3 * cStride) + L.Count), L.Broadcast(scales[3]));
            c40 = L.Multiply(L.Load(c + (4 * cStride)), L.Broadcast(scales[4]));
            c41 = L.Multiply(L.Load(c + (4 * cStride) + L.Count), L.Broadcast(scales[4]));
            c50 = L.Multiply(L.Load(c + (5 * cStride)), L.Broadcast(scales[5]));
            c51 = L.Multiply(L.Load(c + (5 * cStride) + L.Count), L.Broadcast(scales[5]));
            c60 = L.Multiply(L.Load(c + (6 * cStride)), L.Broadcast(scales[6]));
            c61 = L.Multiply(L.Load(c + (6 * cStride) + L.Count), L.Broadcast(scales[6]));
            c70 = L.Multiply(L.Load(c + (7 * cStride)), L.Broadcast(scales[7]));
            c71 = L.Multiply(L.Load(c + (7 * cStride) + L.Count), L.Broadcast(scales[7]));
        }

        float* a0 = a;
        float* a1 = a0 + rowStep;
        float* a2 = a1 + rowStep;
        float* a3 = a2 + rowStep;
        float* a4 = a3 + rowStep;
        float* a5 = a4 + rowStep;
        float* a6 = a5 + rowStep;
        float* a7 = a6 + rowStep;
        nint at = 0;
        for (int k = 0; k < depth; k++)
        {
            V b0 = L.Load(b);
            V b1 = L.Load(b + L.Count);
            if (ahead != 0)
            {
                Ask<L, V>(b + ahead, 2);
            }

            V left0 = L.Broadcast(a0[at]);
            c00 = L.MultiplyAdd(left0, b0, c00);
            c01 = L.MultiplyAdd(left0, b1, c01);
            V left1 = L.Broadcast(a1[at]);
            c10 = L.MultiplyAdd(left1, b0, c10);
            c11 = L.MultiplyAdd(left1, b1, c11);
            V left2 = L.Broadcast(a2[at]);
            c20 = L.MultiplyAdd(left2, b0, c20);
            c21 = L.MultiplyAdd(left2, b1, c21);
            V left3 = L.Broadcast(a3[at]);
            c30 = L.MultiplyAdd(left3, b0, c30);
            c31 = L.MultiplyAdd(left3, b1, c31);
            V left4 = L.Broadcast(a4[at]);
            c40 = L.MultiplyAdd(left4, b0, c40);
            c41 = L.MultiplyAdd(left4, b1, c41);
            V left5 = L.Broadcast(a5[at]);
            c50 = L.MultiplyAdd(left5, b0, c50);
            c51 = L.MultiplyAdd(left5, b1, c51);
            V left6 = L.Broadcast(a6[at]);
            c60 = L.MultiplyAdd(left6, b0, c60);
            c61 = L.MultiplyAdd(left6, b1, c61);
            V left7 = L.Broadcast(a7[at]);
            c70 = L.MultiplyAdd(left7, b0, c70);
            c71 = L.MultiplyAdd(left7, b1, c71);
            at += depthStep;
            b += bStride;
        }

        L.Store(c, c00);
        L.Store(c + L.Count, c01);
        L.Store(c + cStride, c10);
        L.Store(c + cStride + L.Count, c11);
        L.Store(c + (2 * cStride), c20);
        L.Store(c + (2 * cStride) + L.Count, c21);
        L.Store(c + (3 * cStride), c30);
        L.Store(c + (3 * cStride) + L.Count, c31);
        L.Store(c + (4 * cStride), c40);
        L.Store(c + (4 * cStride) + L.Count, c41);
        L.Store(c + (5 * cStride), c50);
        L.Store(c + (5 * cStride) + L.Count, c51);
        L.Store(c + (6 * cStride), c60);
        L.Store(c + (6 * cStride) + L.Count, c61);
        L.Store(c + (7 * cStride), c70);
        L.Store(c + (7 * cStride) + L.Count, c71);
    }

    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private static void Tile8x1<L, V>(float* a, nint rowStep, nint depthStep, float* b, nint bStride, float* c, nint cStride, int depth, float* scales)
        where L : struct, ILanes<V>
        where V : unmanaged
    {
        V c00;
        V c10;
        V c20;
        V c30;
        V c40;
        V c50;
        V c60;
        V c70;
        if (scales == null)
        {
            c00 = c10 = c20 = c30 = c40 = c50 = c60 = c70 = L.Zero;
        }
        else
        {
            c00 = L.Multiply(L.Load(c), L.Broadcast(scales[0]));
            c10 = L.Multiply(L.Load(c + cStride), L.Broadcast(scales[1]));
            c20 = L.Multiply(L.Load(c + (2 * cStride)), L.Broadcast(scales[2]));
            c30 = L.Multiply(L.Load(c + (3 * cStride)), L.Broadcast(scales[3]));
            c40 = L.Multiply(L.Load(c + (4 * cStride)), L.Broadcast(scales[4]));
            c50 = L.Multiply(L.Load(c + (5 * cStride)), L.Broadcast(scales[5]));
            c60 = L.Multiply(L.Load(c + (6 * cStride)), L.Broadcast(scales[6]));
            c70 = L.Multiply(L.Load(c + (7 * cStride)), L.Broadcast(scales[7]));
        }

        float* a0 = a;
        float* a1 = a0 + rowStep;
        float* a2 = a1 + rowStep;
        float* a3 = a2 + rowStep;
        float* a4 = a3 + rowStep;
        float* a5 = a4 + rowStep;
        float* a6 = a5 + rowStep;
        float* a7 = a6 + rowStep;
        nint at = 0;
        for (int k = 0; k < depth; k++)
        {
            V b0 = L.Load(b);
            V left0 = L.Broadcast(a0[at]);
            c00 = L.MultiplyAdd(left0, b0, c00);
            V left1 = L.Broadcast(a1[at]);
            c10 = L.MultiplyAdd(left1, b0, c10);
            V left2 = L.Broadcast(a2[at]);
            c20 = L.MultiplyAdd(left2, b0, c20);
            V left3 = L.Broadcast(a3[at]);
            c30 = L.MultiplyAdd(left3, b0, c30);
            V left4 = L.Broadcast(a4[at]);
            c40 = L.MultiplyAdd(left4, b0, c40);
            V left5 = L.Broadcast(a5[at]);
            c50 = L.MultiplyAdd(left5, b0, c50);
            V left6 = L.Broadcast(a6[at]);
            c60 = L.MultiplyAdd(left6, b0, c60);
            V left7 = L.Broadcast(a7[at]);
            c70 = L.MultiplyAdd(left7, b0, c70);
            at += depthStep;
            b += bStride;
        }

        L.Store(c, c00);
        L.Store(c + cStride, c10);
        L.Store(c + (2 * cStride), c20);
        L.Store(c + (3 * cStride), c30);
        L.Store(c + (4 * cStride), c40);
        L.Store(c + (5 * cStride), c50);
        L.Store(c + (6 * cStride), c60);
        L.Store(c + (7 * cStride), c70);
    }

    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private static void Tile4x2<L, V>(float* a, nint rowStep, nint depthStep, float* b, nint bStride, float* c, nint cStride, int depth, float* scales, nint ahead)
        where L : struct, ILanes<V>
        where V : unmanaged
    {
        V c00, c01;
        V c10, c11;
        V c20, c21;
        V c30, c31;
        if (scales == null)
        {
            c00 = c01 = c10 = c11 = c20 = c21 = c30 = c31 = L.Zero;
        }
        else
        {
            c00 = L.Multiply(L.Load(c), L.Broadcast(scales[0]));
            c01 = L.Multiply(L.Load(c + L.Count), L.Broadcast(scales[0]));
            c10 = L.Multiply(L.Load(c + cStride), L.Broadcast(scales[1]));
            c11 = L.Multiply(L.Load(c + cStride + L.Count), L.Broadcast(scales[1]));
            c20 = L.Multiply(L.Load(c + (2 * cStride)), L.Broadcast(scales[2]));
            c21 = L.Multiply(L.Load(c + (2 * cStride) + L.Count), L.Broadcast(scales[2]));
            c30 = L.Multiply(L.Load(c + (3 * cStride)), L.Broadcast(scales[3]));
            c31 = L.Multiply(L.Load(c + (3 * cStride) + L.Count), L.Broadcast(scales[3]));
        }

        float* a0 = a;
        float* a1 = a0 + rowStep;
        float* a2 = a1 + rowStep;
        float* a3 = a2 + rowStep;
        nint at = 0;
        for (int k = 0; k < depth; k++)
        {
            V b0 = L.Load(b);
            V b1 = L.Load(b + L.Count);
            if (ahead != 0)
            {
                Ask<L, V>(b + ahead, 2);
            }

            V left0 = L.Broadcast(a0[at]);
            c00 = L.MultiplyAdd(left0, b0, c00);
            c01 = L.MultiplyAdd(left0, b1, c01);
            V left1 = L.Broadcast(a1[at]);
            c10 = L.MultiplyAdd(left1, b0, c10);
            c11 = L.MultiplyAdd(left1, b1, c11);
            V left2 = L.Broadcast(a2[at]);
            c20 = L.MultiplyAdd(left2, b0, c20);
            c21 = L.MultiplyAdd(left2, b1, c21);
            V left3 = L.Broadcast(a3[at]);
            c30 = L.MultiplyAdd(left3, b0, c30);
            c31 = L.MultiplyAdd(left3, b1, c31);
            at += depthStep;
            b += bStride;
        }

        L.Store(c, c00);
        L.Store(c + L.Count, c01);
        L.Store(c + cStride, c10);
        L.Store(c + cStride + L.Count, c11);
        L.Store(c + (2 * cStride), c20);
        L.Store(c + (2 * cStride) + L.Count, c21);
        L.Store(c + (3 * cStride), c30);
        L.Store(c + (3 * cStride) + L.Count, c31);
    }

    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private static void Tile4x1<L, V>(float* a, nint rowStep, nint depthStep, float* b, nint bStride, float* c, nint cStride, int depth, float* scales)
        where L : struct, ILanes<V>
        where V : unmanaged
    {
        V c00;
        V c10;
        V c20;
        V c30;
        if (scales == null)
        {
            c00 = c10 = c20 = c30 = L.Zero;
        }
        else
        {
            c00 = L.Multiply(L.Load(c), L.Broadcast(scales[0]));
            c10 = L.Multiply(L.Load(c + cStride), L.Broadcast(scales[1]));
            c20 = L.Multiply(L.Load(c + (2 * cStride)), L.Broadcast(scales[2]));
            c30 = L.Multiply(L.Load(c + (3 * cStride)), L.Broadcast(scales[3]));
        }

        float* a0 = a;
        float* a1 = a0 + rowStep;
        float* a2 = a1 + rowStep;
        float* a3 = a2 + rowStep;
        nint at = 0;
        for (int k = 0; k < depth; k++)
        {
            V b0 = L.Load(b);
            V left0 = L.Broadcast(a0[at]);
            c00 = L.MultiplyAdd(left0, b0, c00);
            V left1 = L.Broadcast(a1[at]);
            c10 = L.MultiplyAdd(left1, b0, c10);
            V left2 = L.Broadcast(a2[at]);
            c20 = L.MultiplyAdd(left2, b0, c20);
            V left3 = L.Broadcast(a3[at]);
            c30 = L.MultiplyAdd(left3, b0, c30);
            at += depthStep;
            b += bStride;
        }

        L.Store(c, c00);
        L.Store(c + cStride, c10);
        L.Store(c + (2 * cStride), c20);
        L.Store(c + (3 * cStride), c30);
    }

    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private static void Tile1x4<L, V>(float* a, nint depthStep, float* b, nint bStride, float* c, int depth, float* scales, nint ahead)
        where L : struct, ILanes<V>
        where V : unmanaged
    {
        V scale = scales == null ? L.Zero : L.Broadcast(*scales);
        V c0 = scales == null ? L.Zero : L.Multiply(L.Load(c), scale);
        V c1 = scales == null ? L.Zero : L.Multiply(L.Load(c + L.Count), scale);
        V c2 = scales == null ? L.Zero : L.Multiply(L.Load(c + (2 * L.Count)), scale);
        V c3 = scales == null ? L.Zero : L.Multiply(L.Load(c + (3 * L.Count)), scale);
        for (int k = 0; k < depth; k++)
        {
            V left = L.Broadcast(*a);
            if (ahead != 0)
            {
                Ask<L, V>(b + ahead, 4);
            }

            c0 = L.MultiplyAdd(left, L.Load(b), c0);
            c1 = L.MultiplyAdd(left, L.Load(b + L.Count), c1);
            c2 = L.MultiplyAdd(left, L.Load(b + (2 * L.Count)), c2);
            c3 = L.MultiplyAdd(left, L.Load(b + (3 * L.Count)), c3);
            a += depthStep;
            b += bStride;
        }

        L.Store(c, c0);
        L.Store(c + L.Count, c1);
        L.Store(c + (2 * L.Count), c2);
        L.Store(c + (3 * L.Count), c3);
    }

    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private static void Tile1x1<L, V>(float* a, nint depthStep, float* b, nint bStride, float* c, int depth, float* scales)
        where L : struct, ILanes<V>
        where V : unmanaged
    {
        V scale = scales == null ? L.Zero : L.Broadcast(*scales);
        V c0 = scales == null ? L.Zero : L.Multiply(L.Load(c), scale);
        for (int k = 0; k < depth; k++)
        {
            V left = L.Broadcast(*a);
            c0 = L.MultiplyAdd(left, L.Load(b), c0);
            a += depthStep;
            b += bStride;
        }

        L.Store(c, c0);
    }

    // The lines of some vectors, into the second cache: a whole block is asked for while the one before is worked on.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Ask<L, V>(float* address, int vectors)
        where L : struct, ILanes<V>
        where V : unmanaged
    {
        const int Line = 16; // floats
        if (Sse.IsSupported)
        {
            for (int at = 0; at < vectors * L.Count; at += Math.Max(Line, L.Count))
            {
                Sse.Prefetch1(address + at);
            }
        }
    }
}
