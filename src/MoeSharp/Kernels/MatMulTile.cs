using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace MoeSharp.Kernels;

/// <summary>The innermost loop of every matrix product: one tile of C from packed panels of A and B.</summary>
/// <remarks>
/// C[i, j] = sum over p of a[p * rows + i] * b[p * strideB + j], or += with <c>add</c>; one accumulator per element, p ascending.
/// A tile has 1 to <see cref="MaxRows"/> rows and <see cref="WideColumns"/> or <see cref="NarrowColumns"/> columns. The row count
/// is a type argument: the compiler drops the rows that a tile lacks, and every accumulator stays in a register.
/// The order of summation does not depend on the tile's size, so a row is the same bits in any tile.
/// </remarks>
internal static unsafe partial class MatMulTile
{
    /// <summary>Rows of the largest tile.</summary>
    public static int MaxRows => Vector512.IsHardwareAccelerated ? 14 : Vector128.IsHardwareAccelerated ? 6 : 4;

    /// <summary>Columns of a wide tile: two vectors, or four numbers without SIMD.</summary>
    public static int WideColumns => 2 * NarrowColumns;

    /// <summary>Columns of a narrow tile: one vector, or two numbers without SIMD.</summary>
    public static int NarrowColumns => Vector512.IsHardwareAccelerated ? 16 : Vector256.IsHardwareAccelerated ? 8 : Vector128.IsHardwareAccelerated ? 4 : 2;

    /// <summary>Computes one tile.</summary>
    /// <param name="rows">Rows of the tile, 1 to <see cref="MaxRows"/>; also the stride of <paramref name="a"/>.</param>
    /// <param name="isWide">Whether the tile has <see cref="WideColumns"/> or <see cref="NarrowColumns"/> columns.</param>
    /// <param name="depth">Terms of the sum.</param>
    /// <param name="a">Packed tile of A, [depth, rows].</param>
    /// <param name="b">Panel of B, [depth, columns] with rows <paramref name="strideB"/> apart.</param>
    /// <param name="strideB">Distance between rows of <paramref name="b"/>.</param>
    /// <param name="c">Tile of C, rows <paramref name="strideC"/> apart; must not overlap the inputs.</param>
    /// <param name="strideC">Distance between rows of <paramref name="c"/>.</param>
    /// <param name="add">Adds to C instead of replacing it.</param>
    public static void Compute(int rows, bool isWide, nint depth, float* a, float* b, nint strideB, float* c, nint strideC, bool add)
    {
        if (isWide)
        {
            Compute<Wide>(rows, depth, a, b, strideB, c, strideC, add);
        }
        else
        {
            Compute<Narrow>(rows, depth, a, b, strideB, c, strideC, add);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Compute<TColumns>(int rows, nint depth, float* a, float* b, nint strideB, float* c, nint strideC, bool add)
        where TColumns : struct, ITileColumns
    {
        switch (rows)
        {
            case 1: Compute<Rows1, TColumns>(depth, a, b, strideB, c, strideC, add); break;
            case 2: Compute<Rows2, TColumns>(depth, a, b, strideB, c, strideC, add); break;
            case 3: Compute<Rows3, TColumns>(depth, a, b, strideB, c, strideC, add); break;
            case 4: Compute<Rows4, TColumns>(depth, a, b, strideB, c, strideC, add); break;
            case 5: Compute<Rows5, TColumns>(depth, a, b, strideB, c, strideC, add); break;
            case 6: Compute<Rows6, TColumns>(depth, a, b, strideB, c, strideC, add); break;
            case 7: Compute<Rows7, TColumns>(depth, a, b, strideB, c, strideC, add); break;
            case 8: Compute<Rows8, TColumns>(depth, a, b, strideB, c, strideC, add); break;
            case 9: Compute<Rows9, TColumns>(depth, a, b, strideB, c, strideC, add); break;
            case 10: Compute<Rows10, TColumns>(depth, a, b, strideB, c, strideC, add); break;
            case 11: Compute<Rows11, TColumns>(depth, a, b, strideB, c, strideC, add); break;
            case 12: Compute<Rows12, TColumns>(depth, a, b, strideB, c, strideC, add); break;
            case 13: Compute<Rows13, TColumns>(depth, a, b, strideB, c, strideC, add); break;
            case 14: Compute<Rows14, TColumns>(depth, a, b, strideB, c, strideC, add); break;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Compute<TRows, TColumns>(nint depth, float* a, float* b, nint strideB, float* c, nint strideC, bool add)
        where TRows : struct, ITileRows
        where TColumns : struct, ITileColumns
    {
        if (Vector512.IsHardwareAccelerated)
        {
            Tile512<TRows, TColumns>(depth, a, b, strideB, c, strideC, add);
        }
        else if (Vector256.IsHardwareAccelerated)
        {
            Tile256<TRows, TColumns>(depth, a, b, strideB, c, strideC, add);
        }
        else if (Vector128.IsHardwareAccelerated)
        {
            Tile128<TRows, TColumns>(depth, a, b, strideB, c, strideC, add);
        }
        else
        {
            TileScalar<TColumns>(TRows.Count, depth, a, b, strideB, c, strideC, add);
        }
    }

    private interface ITileRows
    {
        static abstract int Count { get; }
    }

    private interface ITileColumns
    {
        static abstract bool IsWide { get; }
    }

    private readonly struct Wide : ITileColumns
    {
        public static bool IsWide => true;
    }

    private readonly struct Narrow : ITileColumns
    {
        public static bool IsWide => false;
    }

    private readonly struct Rows1 : ITileRows
    {
        public static int Count => 1;
    }

    private readonly struct Rows2 : ITileRows
    {
        public static int Count => 2;
    }

    private readonly struct Rows3 : ITileRows
    {
        public static int Count => 3;
    }

    private readonly struct Rows4 : ITileRows
    {
        public static int Count => 4;
    }

    private readonly struct Rows5 : ITileRows
    {
        public static int Count => 5;
    }

    private readonly struct Rows6 : ITileRows
    {
        public static int Count => 6;
    }

    private readonly struct Rows7 : ITileRows
    {
        public static int Count => 7;
    }

    private readonly struct Rows8 : ITileRows
    {
        public static int Count => 8;
    }

    private readonly struct Rows9 : ITileRows
    {
        public static int Count => 9;
    }

    private readonly struct Rows10 : ITileRows
    {
        public static int Count => 10;
    }

    private readonly struct Rows11 : ITileRows
    {
        public static int Count => 11;
    }

    private readonly struct Rows12 : ITileRows
    {
        public static int Count => 12;
    }

    private readonly struct Rows13 : ITileRows
    {
        public static int Count => 13;
    }

    private readonly struct Rows14 : ITileRows
    {
        public static int Count => 14;
    }
}
