using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace MoeSharp.Kernels;

/// <summary>One factor of a product: where element (index, depth) lies, index being a row of A or a column of B.</summary>
internal unsafe struct MatMulOperand
{
    /// <summary>First element.</summary>
    public float* Values;

    /// <summary>Distance between stored rows.</summary>
    public nint Stride;

    /// <summary>Stored row r stands at row Gather[r] of <see cref="Values"/>; null means row r itself.</summary>
    public int* Gather;

    /// <summary>True when stored rows run along the depth (element at [depth, index]); false when along the index ([index, depth]).</summary>
    public bool IsDepthMajor;

    /// <summary>Address of a stored row.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly float* Row(nint row) => Values + ((Gather == null ? row : Gather[row]) * Stride);
}

/// <summary>Copies of parts of a factor in the order in which <see cref="MatMulTile"/> reads them.</summary>
/// <remarks>
/// Reading along one dimension of a matrix that is stored along the other defeats the hardware's prediction, so each copy asks for
/// the lines of the next one: from memory that makes packing two to four times as fast.
/// </remarks>
internal static unsafe class MatMulPacking
{
    private const int Line = 16; // floats in a cache line
    private const int DepthStep = 16; // depth rows copied before the next tile: their cache lines serve neighbouring tiles too

    /// <summary>Packs rows of A as consecutive tiles [depth, rows of the tile]; <see cref="TileRows"/> gives their heights.</summary>
    /// <param name="tiles">= packed tiles, rows * depth floats.</param>
    /// <param name="operand">A.</param>
    /// <param name="first">First row.</param>
    /// <param name="count">Rows.</param>
    /// <param name="begin">First depth.</param>
    /// <param name="depth">Depth.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void PackTiles(float* tiles, in MatMulOperand operand, int first, int count, int begin, int depth)
    {
        int numTiles = NumTiles(count);
        if (!operand.IsDepthMajor)
        {
            for (int tile = 0, row = 0; tile < numTiles; tile++)
            {
                int rows = TileRows(count, numTiles, tile);
                Transpose(tiles + ((nint)row * depth), rows, operand, first + row, rows, first + count, begin, depth);
                row += rows;
            }

            return;
        }

        for (int p = 0; p < depth; p += DepthStep)
        {
            int step = Math.Min(DepthStep, depth - p);
            for (int tile = 0, row = 0; tile < numTiles; tile++)
            {
                int rows = TileRows(count, numTiles, tile);
                Copy(tiles + ((nint)row * depth) + ((nint)p * rows), rows, operand, first + row, rows, begin + p, step, p + (2 * DepthStep) <= depth ? DepthStep : 0, 0);
                row += rows;
            }
        }
    }

    /// <summary>Packs columns of B as one panel [depth, width]; columns that B lacks become zero.</summary>
    /// <param name="panel">= packed panel, width * depth floats.</param>
    /// <param name="width">Columns of the panel.</param>
    /// <param name="operand">B.</param>
    /// <param name="first">First column.</param>
    /// <param name="count">Columns to copy.</param>
    /// <param name="end">End of the columns that will be packed after these.</param>
    /// <param name="begin">First depth.</param>
    /// <param name="depth">Depth.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void PackPanel(float* panel, int width, in MatMulOperand operand, int first, int count, int end, int begin, int depth)
    {
        Debug.Assert(count <= width);
        if (count < width)
        {
            new Span<float>(panel, width * depth).Clear();
        }

        if (operand.IsDepthMajor)
        {
            Copy(panel, width, operand, first, count, begin, depth, 0, count);
        }
        else
        {
            Transpose(panel, width, operand, first, count, end, begin, depth);
        }
    }

    /// <summary>Asks for the beginning of a row.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Fetch(float* row, int depth)
    {
        for (nint p = 0; p < depth && Sse.IsSupported; p += Line)
        {
            Sse.Prefetch0(row + p);
        }
    }

    /// <summary>Number of tiles for so many rows.</summary>
    public static int NumTiles(int count) => (count + MatMulTile.MaxRows - 1) / MatMulTile.MaxRows;

    /// <summary>Rows of a tile: heights differ by at most one, so that no tile is nearly empty.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int TileRows(int count, int numTiles, int tile)
    {
        int rows = (int)((uint)count / (uint)numTiles);
        return tile < count - (rows * numTiles) ? rows + 1 : rows;
    }

    // to[p * stride + i] = element (first + i, begin + p) of an operand stored [index, depth].
    private static void Transpose(float* to, nint stride, in MatMulOperand operand, int first, int count, int end, int begin, int depth)
    {
        float** rows = stackalloc float*[2 * count]; // these, and those that come next
        for (int i = 0; i < 2 * count; i++)
        {
            rows[i] = operand.Row(Math.Min(first + i, end - 1)) + begin;
        }

        TransposeRows(to, stride, rows, rows + count, count, depth);
    }

    // Groups of eight (four) rows are turned in registers; the last group overlaps the one before and writes the same values.
    /// <summary>to[p * stride + i] = rows[i][p] for p below <paramref name="depth"/>; the rows of <paramref name="next"/> are only asked for.</summary>
    internal static void TransposeRows(float* to, nint stride, float** rows, float** next, int count, int depth)
    {
        int group = Vector256.IsHardwareAccelerated && count >= 8 ? 8 : Vector128.IsHardwareAccelerated && Sse.IsSupported && count >= 4 ? 4 : 1;
        for (int i = 0; i < count; i += group)
        {
            int start = Math.Min(i, count - group);
            if (group == 8)
            {
                Transpose8(to + start, stride, rows + start, next + start, depth);
            }
            else if (group == 4)
            {
                Transpose4(to + start, stride, rows + start, depth);
            }
            else
            {
                float* from = rows[start];
                for (nint p = 0; p < depth; p++)
                {
                    to[(p * stride) + start] = from[p];
                }
            }
        }
    }

    // Eight rows of eight become eight columns of eight. Each 256-bit register first takes four numbers of row i and four of row
    // i + 4, so that every exchange afterwards stays inside a 128-bit half, where it is cheap.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Transpose8(float* to, nint stride, float** rows, float** next, nint depth)
    {
        float* r0 = rows[0], r1 = rows[1], r2 = rows[2], r3 = rows[3], r4 = rows[4], r5 = rows[5], r6 = rows[6], r7 = rows[7];
        nint p = 0;
        for (; p + 4 <= depth; p += 4)
        {
            if (p % Line == 0)
            {
                for (nint row = 0; row < 8; row++)
                {
                    Sse.Prefetch1(next[row] + p);
                }
            }

            Vector256<float> v0 = Vector256.Create(Vector128.Load(r0 + p), Vector128.Load(r4 + p));
            Vector256<float> v1 = Vector256.Create(Vector128.Load(r1 + p), Vector128.Load(r5 + p));
            Vector256<float> v2 = Vector256.Create(Vector128.Load(r2 + p), Vector128.Load(r6 + p));
            Vector256<float> v3 = Vector256.Create(Vector128.Load(r3 + p), Vector128.Load(r7 + p));
            Vector256<double> low01 = Avx.UnpackLow(v0, v1).AsDouble();   // p: rows 0 1, p + 1: rows 0 1 | the same of rows 4 5
            Vector256<double> low23 = Avx.UnpackLow(v2, v3).AsDouble();
            Vector256<double> high01 = Avx.UnpackHigh(v0, v1).AsDouble(); // p + 2 and p + 3
            Vector256<double> high23 = Avx.UnpackHigh(v2, v3).AsDouble();
            Avx.UnpackLow(low01, low23).AsSingle().Store(to);
            Avx.UnpackHigh(low01, low23).AsSingle().Store(to + stride);
            Avx.UnpackLow(high01, high23).AsSingle().Store(to + (2 * stride));
            Avx.UnpackHigh(high01, high23).AsSingle().Store(to + (3 * stride));
            to += 4 * stride;
        }

        for (; p < depth; p++)
        {
            to[0] = r0[p];
            to[1] = r1[p];
            to[2] = r2[p];
            to[3] = r3[p];
            to[4] = r4[p];
            to[5] = r5[p];
            to[6] = r6[p];
            to[7] = r7[p];
            to += stride;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Transpose4(float* to, nint stride, float** rows, nint depth)
    {
        float* r0 = rows[0], r1 = rows[1], r2 = rows[2], r3 = rows[3];
        nint p = 0;
        for (; p + 4 <= depth; p += 4)
        {
            Vector128<float> v0 = Vector128.Load(r0 + p), v1 = Vector128.Load(r1 + p), v2 = Vector128.Load(r2 + p), v3 = Vector128.Load(r3 + p);
            Vector128<float> low01 = Sse.UnpackLow(v0, v1), low23 = Sse.UnpackLow(v2, v3);
            Vector128<float> high01 = Sse.UnpackHigh(v0, v1), high23 = Sse.UnpackHigh(v2, v3);
            Sse.MoveLowToHigh(low01, low23).Store(to);
            Sse.MoveHighToLow(low23, low01).Store(to + stride);
            Sse.MoveLowToHigh(high01, high23).Store(to + (2 * stride));
            Sse.MoveHighToLow(high23, high01).Store(to + (3 * stride));
            to += 4 * stride;
        }

        for (; p < depth; p++)
        {
            to[0] = r0[p];
            to[1] = r1[p];
            to[2] = r2[p];
            to[3] = r3[p];
            to += stride;
        }
    }

    // to[p * stride + i] = element (first + i, begin + p) of an operand stored [depth, index]. The last vector overlaps the one before.
    // Lines aheadDepth rows and aheadIndex numbers further on are asked for.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Copy(float* to, nint stride, in MatMulOperand operand, int first, int count, int begin, int depth, int aheadDepth, int aheadIndex)
    {
        if (Vector256.IsHardwareAccelerated && Sse.IsSupported && count >= 8)
        {
            for (int p = 0; p < depth; p++, to += stride)
            {
                float* from = operand.Row(begin + p) + first;
                float* ahead = operand.Row(begin + p + aheadDepth) + first + aheadIndex;
                Sse.Prefetch1(ahead);
                Vector256.Load(from).Store(to);
                if (count > 16)
                {
                    Sse.Prefetch1(ahead + Line);
                    for (int i = 8; i < count - 8; i += 8)
                    {
                        Vector256.Load(from + i).Store(to + i);
                    }
                }

                Vector256.Load(from + count - 8).Store(to + count - 8);
            }
        }
        else if (Vector128.IsHardwareAccelerated && count >= 4)
        {
            for (int p = 0; p < depth; p++, to += stride)
            {
                float* from = operand.Row(begin + p) + first;
                for (int i = 0; i < count - 4; i += 4)
                {
                    Vector128.Load(from + i).Store(to + i);
                }

                Vector128.Load(from + count - 4).Store(to + count - 4);
            }
        }
        else
        {
            for (int p = 0; p < depth; p++, to += stride)
            {
                float* from = operand.Row(begin + p) + first;
                for (int i = 0; i < count; i++)
                {
                    to[i] = from[i];
                }
            }
        }
    }
}
