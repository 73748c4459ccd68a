using System.Runtime.CompilerServices;

namespace MoeSharp.Kernels;

/// <summary>Exponentials in vector lanes. A lane's result depends on its own input alone, not on its place in the vector.</summary>
internal static class VectorMath
{
    private const float Log2E = 1.44269504f;

    // ln 2 in two parts: the first has 9 bits, so that a whole number times it is exact even without fused multiply-add.
    private const float Ln2High = 0.693359375f;
    private const float Ln2Low = -2.12194440e-4f;

    // Below these the exact result is smaller than 2.8e-38, next to the subnormals, and 0 is returned.
    private const float ExpZeroBelow = -86.5f;
    private const float Exp2ZeroBelow = -124.5f;

    // Above these every result is infinite.
    private const float ExpInfiniteAbove = 89f;
    private const float Exp2InfiniteAbove = 129f;

    /// <summary>e^x; relative error at most 1.2e-7, exactly 1 at 0, exactly 0 below -86.5, infinity above 88.73, NaN for NaN.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Exp<L, V>(V x)
        where L : struct, ILanes<V>
        where V : unmanaged
    {
        V bounded = L.Max(L.Broadcast(ExpZeroBelow), L.Min(L.Broadcast(ExpInfiniteAbove), x));
        V n = L.Round(L.Multiply(bounded, L.Broadcast(Log2E)));
        V r = L.SubtractProduct(n, L.Broadcast(Ln2High), bounded);
        r = L.SubtractProduct(n, L.Broadcast(Ln2Low), r);

        // e^r = 1 + r (c1 + r (c2 + ...)) on |r| <= ln(2)/2: degree 6 through Chebyshev nodes of (e^r - 1) / r, error 1.0e-8.
        V p = L.MultiplyAdd(r, L.Broadcast(1.39336498e-3f), L.Broadcast(8.36915523e-3f));
        p = L.MultiplyAdd(p, r, L.Broadcast(4.16664667e-2f));
        p = L.MultiplyAdd(p, r, L.Broadcast(1.66665047e-1f));
        p = L.MultiplyAdd(p, r, L.Broadcast(0.5f));
        p = L.MultiplyAdd(p, r, L.Broadcast(1f));
        p = L.MultiplyAdd(p, r, L.Broadcast(1f));
        return L.WhereLess(x, L.Broadcast(ExpZeroBelow), L.Zero, L.TimesPowerOfTwo(p, n));
    }

    /// <summary>2^x; relative error at most 1.2e-7, exactly 1 at 0, exactly 0 below -124.5, infinity from 128 on, NaN for NaN.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Exp2<L, V>(V x)
        where L : struct, ILanes<V>
        where V : unmanaged
    {
        V bounded = L.Max(L.Broadcast(Exp2ZeroBelow), L.Min(L.Broadcast(Exp2InfiniteAbove), x));
        V n = L.Round(bounded);
        V r = L.Subtract(bounded, n);

        // 2^r = 1 + r (c1 + r (c2 + ...)) on |r| <= 1/2: degree 6 through Chebyshev nodes of (2^r - 1) / r, error 9.0e-9.
        V p = L.MultiplyAdd(r, L.Broadcast(1.54531735e-4f), L.Broadcast(1.33908750e-3f));
        p = L.MultiplyAdd(p, r, L.Broadcast(9.61808208e-3f));
        p = L.MultiplyAdd(p, r, L.Broadcast(5.55035695e-2f));
        p = L.MultiplyAdd(p, r, L.Broadcast(2.40226507e-1f));
        p = L.MultiplyAdd(p, r, L.Broadcast(6.93147182e-1f));
        p = L.MultiplyAdd(p, r, L.Broadcast(1f));
        return L.WhereLess(x, L.Broadcast(Exp2ZeroBelow), L.Zero, L.TimesPowerOfTwo(p, n));
    }

    /// <summary>1 / (1 + e^-x).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Sigmoid<L, V>(V x)
        where L : struct, ILanes<V>
        where V : unmanaged
    {
        V one = L.Broadcast(1f);
        return L.Divide(one, L.Add(one, Exp<L, V>(L.Subtract(L.Zero, x))));
    }
}
