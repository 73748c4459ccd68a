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

    /// <summary>tanh x; relative error at most 2.4e-7, NaN for NaN.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Tanh<L, V>(V x)
        where L : struct, ILanes<V>
        where V : unmanaged
    {
        // Near 0 the quotient below would cancel: tanh x = x + x^3 (c0 + c1 x^2 + ...) through Chebyshev nodes on |x| <= 5/8, error 1.7e-8.
        V square = L.Multiply(x, x);
        V p = L.MultiplyAdd(square, L.Broadcast(-6.09671416e-3f), L.Broadcast(2.09971790e-2f));
        p = L.MultiplyAdd(p, square, L.Broadcast(-5.38509096e-2f));
        p = L.MultiplyAdd(p, square, L.Broadcast(1.33327697e-1f));
        p = L.MultiplyAdd(p, square, L.Broadcast(-3.33333289e-1f));
        V near = L.MultiplyAdd(L.Multiply(x, square), p, x);

        // tanh |x| = 1 - 2 / (1 + e^(2 |x|)), which is exactly 1 where the exponential is infinite.
        V minus = L.Subtract(L.Zero, x);
        V size = L.Max(x, minus);
        V one = L.Broadcast(1f);
        V far = L.Subtract(one, L.Divide(L.Broadcast(2f), L.Add(one, Exp<L, V>(L.Add(size, size)))));
        far = L.WhereLess(x, L.Zero, L.Subtract(L.Zero, far), far);
        return L.WhereLess(size, L.Broadcast(0.625f), near, far);
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
