using System.Runtime.CompilerServices;

namespace MoeSharp.Kernels;

// One number at a time, for machines without SIMD: one row by 4 columns, four accumulators.
internal static unsafe partial class MatMulTile
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void TileScalar<TColumns>(nint rows, nint depth, float* a, float* b, nint strideB, float* c, nint strideC, bool add)
        where TColumns : struct, ITileColumns
    {
        for (nint row = 0; row < rows; row++, c += strideC)
        {
            float c0 = 0, c1 = 0, c2 = 0, c3 = 0;
            for (nint p = 0; p < depth; p++)
            {
                float v = a[(p * rows) + row];
                float* line = b + (p * strideB);
                c0 += v * line[0];
                c1 += v * line[1];
                if (TColumns.IsWide)
                {
                    c2 += v * line[2];
                    c3 += v * line[3];
                }
            }

            c[0] = add ? c[0] + c0 : c0;
            c[1] = add ? c[1] + c1 : c1;
            if (TColumns.IsWide)
            {
                c[2] = add ? c[2] + c2 : c2;
                c[3] = add ? c[3] + c3 : c3;
            }
        }
    }
}
