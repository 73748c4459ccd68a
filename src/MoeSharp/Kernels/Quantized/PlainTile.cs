using System.Runtime.CompilerServices;

namespace MoeSharp.Kernels.Quantized;

/// <summary>Where a tile's numbers lie.</summary>
internal unsafe struct PlainOperands
{
    /// <summary>Activation rows, at the first column of the tile.</summary>
    public float* X0, X1, X2, X3;

    /// <summary>Weights of the first and second vector, at the first column of the tile.</summary>
    public byte* W0, W1;

    /// <summary>Columns.</summary>
    public nint Depth;
}

/// <summary>One to four activation rows times two vectors of weight rows that are interleaved: no exchange of lanes, one multiply-add per vector.</summary>
/// <remarks>
/// Every output has one accumulator that takes its terms in ascending order with one rounding each: the bits of <see cref="MatMulTile"/>.
/// Nothing is asked for ahead: a step is so short that the hardware's prediction of two streams keeps up with memory (measured on a Zen 4: 33 GB/s of 34, with
/// software prefetching 30).
/// </remarks>
internal static unsafe class PlainTile<W, L, V>
    where W : struct, IPlainWeights
    where L : struct, IPlainWide<V>
    where V : unmanaged
{
    /// <summary>Bytes of one column of a strip.</summary>
    private static int Step => StripLayout.Rows * W.Bytes;

    /// <summary>y[t, i] = or += the tile's terms.</summary>
    /// <param name="o">The factors.</param>
    /// <param name="y">= outputs of the first vector.</param>
    /// <param name="y1">= outputs of the second vector.</param>
    /// <param name="ldy">Distance between output rows.</param>
    /// <param name="add">Adds.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Compute<TTokens, TSecond>(in PlainOperands o, float* y, float* y1, nint ldy, bool add)
        where TTokens : struct, ITileTokens
        where TSecond : struct, ITileSecond
    {
        V a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default;
        float* x0 = o.X0, x1 = o.X1, x2 = o.X2, x3 = o.X3, end = x0 + o.Depth;
        byte* w0 = o.W0, w1 = o.W1;
        for (; x0 + 2 <= end; x0 += 2, x1 += 2, x2 += 2, x3 += 2, w0 += 2 * Step, w1 += 2 * Step)
        {
            Add<TTokens, TSecond>(x0, x1, x2, x3, w0, w1, ref a0, ref a1, ref a2, ref a3, ref b0, ref b1, ref b2, ref b3);
            Add<TTokens, TSecond>(x0 + 1, x1 + 1, x2 + 1, x3 + 1, w0 + Step, w1 + Step, ref a0, ref a1, ref a2, ref a3, ref b0, ref b1, ref b2, ref b3);
        }

        if (x0 < end)
        {
            Add<TTokens, TSecond>(x0, x1, x2, x3, w0, w1, ref a0, ref a1, ref a2, ref a3, ref b0, ref b1, ref b2, ref b3);
        }

        Put<TSecond>(y, y1, a0, b0, add);
        if (TTokens.Count > 1)
        {
            Put<TSecond>(y + ldy, y1 + ldy, a1, b1, add);
        }

        if (TTokens.Count > 2)
        {
            Put<TSecond>(y + (2 * ldy), y1 + (2 * ldy), a2, b2, add);
        }

        if (TTokens.Count > 3)
        {
            Put<TSecond>(y + (3 * ldy), y1 + (3 * ldy), a3, b3, add);
        }
    }

    // One column.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add<TTokens, TSecond>(float* x0, float* x1, float* x2, float* x3, byte* w0, byte* w1, ref V a0, ref V a1, ref V a2, ref V a3, ref V b0, ref V b1, ref V b2, ref V b3)
        where TTokens : struct, ITileTokens
        where TSecond : struct, ITileSecond
    {
        V first = L.Load<W>(w0);
        V second = TSecond.Exists ? L.Load<W>(w1) : default;
        V x = L.Broadcast(*x0);
        a0 = L.MultiplyAdd(x, first, a0);
        b0 = TSecond.Exists ? L.MultiplyAdd(x, second, b0) : b0;
        if (TTokens.Count > 1)
        {
            x = L.Broadcast(*x1);
            a1 = L.MultiplyAdd(x, first, a1);
            b1 = TSecond.Exists ? L.MultiplyAdd(x, second, b1) : b1;
        }

        if (TTokens.Count > 2)
        {
            x = L.Broadcast(*x2);
            a2 = L.MultiplyAdd(x, first, a2);
            b2 = TSecond.Exists ? L.MultiplyAdd(x, second, b2) : b2;
        }

        if (TTokens.Count > 3)
        {
            x = L.Broadcast(*x3);
            a3 = L.MultiplyAdd(x, first, a3);
            b3 = TSecond.Exists ? L.MultiplyAdd(x, second, b3) : b3;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Put<TSecond>(float* y, float* y1, V a, V b, bool add)
        where TSecond : struct, ITileSecond
    {
        L.Put(y, a, add);
        if (TSecond.Exists)
        {
            L.Put(y1, b, add);
        }
    }
}
