using System.Runtime.CompilerServices;

namespace MoeSharp.Kernels;

/// <summary>The three passes of a softmax over one row; the row stays in cache between them.</summary>
internal static unsafe class SoftmaxRow
{
    /// <summary>Largest value; negative infinity for an empty row.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static float Max<L, V>(float* x, int cols)
        where L : struct, ILanes<V>
        where V : unmanaged
    {
        V lowest = L.Broadcast(float.NegativeInfinity);
        V a = lowest;
        V b = lowest;
        V c = lowest;
        V d = lowest;
        int i = 0;
        for (; i <= cols - (4 * L.Count); i += 4 * L.Count)
        {
            a = L.Max(a, L.Load(x + i));
            b = L.Max(b, L.Load(x + i + L.Count));
            c = L.Max(c, L.Load(x + i + (2 * L.Count)));
            d = L.Max(d, L.Load(x + i + (3 * L.Count)));
        }

        for (; i <= cols - L.Count; i += L.Count)
        {
            a = L.Max(a, L.Load(x + i));
        }

        if (i < cols)
        {
            a = L.Max(a, L.KeepFirst(L.LoadFirst(x + i, cols - i), cols - i, lowest));
        }

        return L.MaxLane(L.Max(L.Max(a, b), L.Max(c, d)));
    }

    /// <summary>What to subtract before the exponential: the maximum, or 0 in a row of nothing but negative infinities.</summary>
    public static float Shift(float max) => max == float.NegativeInfinity ? 0f : max;

    /// <summary>y = exp(x - shift); returns the sum. y may be x.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static float ExpInto<L, V>(float* x, float shift, int cols, float* y)
        where L : struct, ILanes<V>
        where V : unmanaged
    {
        V shifts = L.Broadcast(shift);
        V sum = L.Zero;
        int i = 0;
        for (; i <= cols - L.Count; i += L.Count)
        {
            V e = VectorMath.Exp<L, V>(L.Subtract(L.Load(x + i), shifts));
            sum = L.Add(sum, e);
            L.Store(y + i, e);
        }

        if (i < cols)
        {
            int n = cols - i;
            V e = L.KeepFirst(VectorMath.Exp<L, V>(L.Subtract(L.LoadFirst(x + i, n), shifts)), n, L.Zero);
            sum = L.Add(sum, e);
            L.StoreFirst(y + i, e, n);
        }

        return L.Sum(sum);
    }

    /// <summary>Sum of exp(x - shift), the same bits as <see cref="ExpInto"/> returns.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static float ExpSum<L, V>(float* x, float shift, int cols)
        where L : struct, ILanes<V>
        where V : unmanaged
    {
        V shifts = L.Broadcast(shift);
        V sum = L.Zero;
        int i = 0;
        for (; i <= cols - L.Count; i += L.Count)
        {
            sum = L.Add(sum, VectorMath.Exp<L, V>(L.Subtract(L.Load(x + i), shifts)));
        }

        if (i < cols)
        {
            int n = cols - i;
            sum = L.Add(sum, L.KeepFirst(VectorMath.Exp<L, V>(L.Subtract(L.LoadFirst(x + i, n), shifts)), n, L.Zero));
        }

        return L.Sum(sum);
    }

    /// <summary>x *= factor.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Scale<L, V>(float* x, float factor, int cols)
        where L : struct, ILanes<V>
        where V : unmanaged => LaneLoop.Map<L, V, LaneLoop.Scaled>(0, cols, new LaneLoop.Scaled { X = x, Factor = factor, Y = x });
}
