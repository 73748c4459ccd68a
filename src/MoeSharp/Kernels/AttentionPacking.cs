using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace MoeSharp.Kernels;

/// <summary>Copies of strided rows in the layouts that the attention tiles read.</summary>
/// <remarks>Legend: r row, c column of a head.</remarks>
internal static unsafe class AttentionPacking
{
    /// <summary>Keys per block. Blocks start at multiples of this within a segment, so a row meets its keys in the same groups in every call.</summary>
    public const int Block = 64;

    /// <summary>Blocks per partition of the keys, after which the running softmax starts anew: 512 keys, so that even 4,096 give eight workers a part.</summary>
    public const int PartitionBlocks = 8;

    /// <summary>Width of a packed row: the head's, rounded up to whole vectors.</summary>
    public static int PaddedWidth<L, V>(int headDim)
        where L : struct, ILanes<V>
        where V : unmanaged => (headDim + L.Count - 1) / L.Count * L.Count;

    /// <summary>to[c, r] = from[r, c] for a block of rows; columns r behind <paramref name="rows"/> are 0. Rows <paramref name="ahead"/> floats further on are asked for.</summary>
    public static void Transposed(float* from, nint stride, int rows, int headDim, float* to, nint ahead = 0)
    {
        TransposedColumns(from, stride, rows, headDim, to, ahead);
        for (int c = 0; c < headDim && rows < Block; c++)
        {
            new Span<float>(to + (c * Block) + rows, Block - rows).Clear();
        }
    }

    /// <summary>to[c, r] = from[r, c] for at most a block of rows; other columns stay as they are.</summary>
    public static void TransposedColumns(float* from, nint stride, int rows, int headDim, float* to, nint ahead = 0)
    {
        float** sources = stackalloc float*[2 * rows]; // these, and those that come next
        for (int r = 0; r < rows; r++)
        {
            sources[r] = from + (r * stride);
            sources[rows + r] = sources[r] + ahead;
        }

        MatMulPacking.TransposeRows(to, Block, sources, sources + rows, rows, headDim);
    }

    /// <summary>to = from, bfloat16 to float32; what lies <paramref name="ahead"/> further on is asked for meanwhile.</summary>
    /// <param name="from">Values.</param>
    /// <param name="count">Their number, a multiple of 64.</param>
    /// <param name="to">= values.</param>
    /// <param name="ahead">Values from <paramref name="from"/> to what is read next in its place; 0 for nothing.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Widen(ushort* from, nint count, float* to, nint ahead)
    {
        const int Line = 32; // values in a cache line
        for (nint i = 0; i < count; i += Line)
        {
            if (ahead != 0 && Sse.IsSupported)
            {
                Sse.Prefetch1(from + ahead + i);
            }

            if (Vector512.IsHardwareAccelerated)
            {
                (Vector512<uint> low, Vector512<uint> high) = Vector512.Widen(Vector512.Load(from + i));
                (low << 16).AsSingle().Store(to + i);
                (high << 16).AsSingle().Store(to + i + 16);
            }
            else
            {
                for (nint part = i; part < i + Line; part += 8)
                {
                    (Vector128<uint> low, Vector128<uint> high) = Vector128.Widen(Vector128.Load(from + part));
                    (low << 16).AsSingle().Store(to + part);
                    (high << 16).AsSingle().Store(to + part + 4);
                }
            }
        }
    }

    /// <summary>Whether every value of some rows is finite, up to <paramref name="width"/>, a multiple of the vectors.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static bool AreFinite<L, V>(float* rows, nint stride, int count, int width)
        where L : struct, ILanes<V>
        where V : unmanaged
    {
        V residue = L.Zero; // x * 0 is 0 for finite x and NaN otherwise
        for (int r = 0; r < count; r++)
        {
            for (int c = 0; c < width; c += L.Count)
            {
                residue = L.MultiplyAdd(L.Load(rows + (r * stride) + c), L.Zero, residue);
            }
        }

        return L.Sum(residue) == 0f;
    }

    /// <summary>to[r] = factor from[r], filled up with zeros to <paramref name="width"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Row<L, V>(float* from, float factor, int headDim, int width, float* to)
        where L : struct, ILanes<V>
        where V : unmanaged
    {
        V factors = L.Broadcast(factor);
        int c = 0;
        for (; c <= headDim - L.Count; c += L.Count)
        {
            L.Store(to + c, L.Multiply(L.Load(from + c), factors));
        }

        if (c < width)
        {
            L.Store(to + c, L.Multiply(L.LoadFirst(from + c, headDim - c), factors));
        }
    }

    /// <summary>Packs dense rows; true when every value is finite.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static bool Rows<L, V>(float* from, nint stride, int rows, int headDim, int width, float* to)
        where L : struct, ILanes<V>
        where V : unmanaged
    {
        for (int r = 0; r < rows; r++)
        {
            Row<L, V>(from + (r * stride), 1f, headDim, width, to + ((nint)r * width));
        }

        return AreFinite<L, V>(to, width, rows, width);
    }

    /// <summary>to[0..headDim) = factor from: the way back out of a packed row.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Unpack<L, V>(float* from, float factor, int headDim, float* to)
        where L : struct, ILanes<V>
        where V : unmanaged
    {
        // Adding zero turns -0 into 0: whether an underflowed sum keeps its sign may depend on the masked products behind it.
        V factors = L.Broadcast(factor);
        int c = 0;
        for (; c <= headDim - L.Count; c += L.Count)
        {
            L.Store(to + c, L.Add(L.Multiply(L.Load(from + c), factors), L.Zero));
        }

        if (c < headDim)
        {
            L.StoreFirst(to + c, L.Add(L.Multiply(L.Load(from + c), factors), L.Zero), headDim - c);
        }
    }
}
