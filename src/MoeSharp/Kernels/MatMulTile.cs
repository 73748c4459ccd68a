using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace MoeSharp.Kernels;

/// <summary>How the tile loop finds its factors.</summary>
internal enum MatMulTileSource
{
    /// <summary>A is a packed tile, [depth, rows].</summary>
    Packed,

    /// <summary>Every row of A has an address of its own.</summary>
    Rows,

    /// <summary>A is stored [depth, rows] among other rows.</summary>
    Depth,

    /// <summary>The same, its depth through an index.</summary>
    GatheredDepthOfA,

    /// <summary>As <see cref="Depth"/>, the depth of B through an index.</summary>
    GatheredDepthOfB,
}

/// <summary>The factors of one tile. Which fields count depends on <see cref="Source"/>.</summary>
internal unsafe struct MatMulTileInput
{
    /// <summary>How A and B are found.</summary>
    public MatMulTileSource Source;

    /// <summary>Terms of the sum.</summary>
    public nint Depth;

    /// <summary>First element of A, unless it is given by rows.</summary>
    public float* A;

    /// <summary>Distance between depths of A, when not packed.</summary>
    public nint StrideA;

    /// <summary>Row of A of each depth.</summary>
    public int* GatherA;

    /// <summary>First element of every row of A, [rows].</summary>
    public float** Rows;

    /// <summary>Panel of B, [depth, columns].</summary>
    public float* B;

    /// <summary>Distance between depths of B.</summary>
    public nint StrideB;

    /// <summary>Row of B of each depth.</summary>
    public int* GatherB;
}

/// <summary>The innermost loop of every matrix product: one tile of C from rows of A and columns of B, copied before or read in place.</summary>
/// <remarks>
/// C[i, j] = sum over p of a[i, p] * b[p, j], or += with <c>add</c>; one accumulator per element, p ascending.
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

    /// <summary>Whether tiles can read both factors where they lie; otherwise A must be packed and B have plain rows.</summary>
    public static bool ReadsInPlace => Vector512.IsHardwareAccelerated;

    /// <summary>Computes one tile.</summary>
    /// <param name="rows">Rows of the tile, 1 to <see cref="MaxRows"/>.</param>
    /// <param name="isWide">Whether the tile has <see cref="WideColumns"/> or <see cref="NarrowColumns"/> columns.</param>
    /// <param name="input">Where the factors lie.</param>
    /// <param name="c">Tile of C, rows <paramref name="strideC"/> apart; must not overlap the inputs.</param>
    /// <param name="strideC">Distance between rows of <paramref name="c"/>.</param>
    /// <param name="add">Adds to C instead of replacing it.</param>
    public static void Compute(int rows, bool isWide, in MatMulTileInput input, float* c, nint strideC, bool add)
    {
        if (isWide)
        {
            Compute<Wide>(rows, input, c, strideC, add);
        }
        else
        {
            Compute<Narrow>(rows, input, c, strideC, add);
        }
    }

    private static void Compute<TColumns>(int rows, in MatMulTileInput input, float* c, nint strideC, bool add)
        where TColumns : struct, ITileColumns
    {
        switch (input.Source)
        {
            case MatMulTileSource.Packed: Compute<TColumns, PackedSource>(rows, input, c, strideC, add); break;
            case MatMulTileSource.Rows: Compute<TColumns, RowsSource>(rows, input, c, strideC, add); break;
            case MatMulTileSource.Depth: Compute<TColumns, DepthSource>(rows, input, c, strideC, add); break;
            case MatMulTileSource.GatheredDepthOfA: Compute<TColumns, GatheredASource>(rows, input, c, strideC, add); break;
            case MatMulTileSource.GatheredDepthOfB: Compute<TColumns, GatheredBSource>(rows, input, c, strideC, add); break;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Compute<TColumns, TSource>(int rows, in MatMulTileInput input, float* c, nint strideC, bool add)
        where TColumns : struct, ITileColumns
        where TSource : struct, ITileSource
    {
        switch (rows)
        {
            case 1: Compute<Rows1, TColumns, TSource>(input, c, strideC, add); break;
            case 2: Compute<Rows2, TColumns, TSource>(input, c, strideC, add); break;
            case 3: Compute<Rows3, TColumns, TSource>(input, c, strideC, add); break;
            case 4: Compute<Rows4, TColumns, TSource>(input, c, strideC, add); break;
            case 5: Compute<Rows5, TColumns, TSource>(input, c, strideC, add); break;
            case 6: Compute<Rows6, TColumns, TSource>(input, c, strideC, add); break;
            case 7: Compute<Rows7, TColumns, TSource>(input, c, strideC, add); break;
            case 8: Compute<Rows8, TColumns, TSource>(input, c, strideC, add); break;
            case 9: Compute<Rows9, TColumns, TSource>(input, c, strideC, add); break;
            case 10: Compute<Rows10, TColumns, TSource>(input, c, strideC, add); break;
            case 11: Compute<Rows11, TColumns, TSource>(input, c, strideC, add); break;
            case 12: Compute<Rows12, TColumns, TSource>(input, c, strideC, add); break;
            case 13: Compute<Rows13, TColumns, TSource>(input, c, strideC, add); break;
            case 14: Compute<Rows14, TColumns, TSource>(input, c, strideC, add); break;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Compute<TRows, TColumns, TSource>(in MatMulTileInput input, float* c, nint strideC, bool add)
        where TRows : struct, ITileRows
        where TColumns : struct, ITileColumns
        where TSource : struct, ITileSource
    {
        if (Vector512.IsHardwareAccelerated)
        {
            Tile512<TRows, TColumns, TSource>(input, c, strideC, add);
        }
        else if (Vector256.IsHardwareAccelerated)
        {
            Tile256<TRows, TColumns>(input.Depth, input.A, input.B, input.StrideB, c, strideC, add);
        }
        else if (Vector128.IsHardwareAccelerated)
        {
            Tile128<TRows, TColumns>(input.Depth, input.A, input.B, input.StrideB, c, strideC, add);
        }
        else
        {
            TileScalar<TColumns>(TRows.Count, input.Depth, input.A, input.B, input.StrideB, c, strideC, add);
        }
    }

    private interface ITileSource
    {
        static abstract bool IsPacked { get; }

        static abstract bool HasRows { get; }

        static abstract bool GathersA { get; }

        static abstract bool GathersB { get; }
    }

    private readonly struct PackedSource : ITileSource
    {
        public static bool IsPacked => true;

        public static bool HasRows => false;

        public static bool GathersA => false;

        public static bool GathersB => false;
    }

    private readonly struct RowsSource : ITileSource
    {
        public static bool IsPacked => false;

        public static bool HasRows => true;

        public static bool GathersA => false;

        public static bool GathersB => false;
    }

    private readonly struct DepthSource : ITileSource
    {
        public static bool IsPacked => false;

        public static bool HasRows => false;

        public static bool GathersA => false;

        public static bool GathersB => false;
    }

    private readonly struct GatheredASource : ITileSource
    {
        public static bool IsPacked => false;

        public static bool HasRows => false;

        public static bool GathersA => true;

        public static bool GathersB => false;
    }

    private readonly struct GatheredBSource : ITileSource
    {
        public static bool IsPacked => false;

        public static bool HasRows => false;

        public static bool GathersA => false;

        public static bool GathersB => true;
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
