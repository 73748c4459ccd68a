using System.Runtime.CompilerServices;

namespace MoeSharp.Kernels;

/// <summary>A place in rows where neighbouring values are worked on together: a whole vector of them, or the few at a row's end.</summary>
/// <typeparam name="V">The vector.</typeparam>
internal unsafe interface ILaneWindow<V>
    where V : unmanaged
{
    /// <summary>The values of a row at this place; 0 in lanes behind its end.</summary>
    V Load(float* row);

    /// <summary>Writes the values of a row at this place, never behind its end.</summary>
    void Store(float* row, V value);
}

/// <summary>What a row's values become, value by value: written once, run on whole vectors and on the rest.</summary>
internal interface ILaneMap
{
    /// <summary>Computes the values of one place.</summary>
    void At<W, L, V>(W at)
        where W : struct, ILaneWindow<V>
        where L : struct, ILanes<V>
        where V : unmanaged;
}

/// <summary>What a row's values add up to, and perhaps become on the way.</summary>
internal interface ILaneSum
{
    /// <summary>The sum so far with the values of one place in it. Lanes behind the row's end hold 0 and must add 0.</summary>
    V Plus<W, L, V>(W at, V sum)
        where W : struct, ILaneWindow<V>
        where L : struct, ILanes<V>
        where V : unmanaged;
}

/// <summary>The loops over the values of a row.</summary>
internal static unsafe class LaneLoop
{
    /// <summary>Runs a map over values <paramref name="begin"/> (inclusive) to <paramref name="end"/> (exclusive).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Map<L, V, TMap>(int begin, int end, TMap map)
        where L : struct, ILanes<V>
        where V : unmanaged
        where TMap : struct, ILaneMap
    {
        int i = begin;
        for (; i <= end - L.Count; i += L.Count)
        {
            map.At<Whole<L, V>, L, V>(new Whole<L, V>(i));
        }

        if (i < end)
        {
            map.At<Rest<L, V>, L, V>(new Rest<L, V>(i, end - i));
        }
    }

    /// <summary>One chain of sums per lane over the values of a row, in rising order.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Sum<L, V, TSum>(int count, TSum terms, V sum)
        where L : struct, ILanes<V>
        where V : unmanaged
        where TSum : struct, ILaneSum
    {
        int i = 0;
        for (; i <= count - L.Count; i += L.Count)
        {
            sum = terms.Plus<Whole<L, V>, L, V>(new Whole<L, V>(i), sum);
        }

        return i < count ? terms.Plus<Rest<L, V>, L, V>(new Rest<L, V>(i, count - i), sum) : sum;
    }

    /// <summary>x . y.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Dot<L, V>(float* x, float* y, int count)
        where L : struct, ILanes<V>
        where V : unmanaged => L.Sum(Sum<L, V, Products>(count, new Products { X = x, Y = y }, L.Zero));

    /// <summary>y = value, or += value.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Put<W, L, V>(W at, float* y, V value, bool accumulate)
        where W : struct, ILaneWindow<V>
        where L : struct, ILanes<V>
        where V : unmanaged => at.Store(y, accumulate ? L.Add(at.Load(y), value) : value);

    /// <summary>sum += x y.</summary>
    public struct Products : ILaneSum
    {
        public float* X;
        public float* Y;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public readonly V Plus<W, L, V>(W at, V sum)
            where W : struct, ILaneWindow<V>
            where L : struct, ILanes<V>
            where V : unmanaged => L.MultiplyAdd(at.Load(X), at.Load(Y), sum);
    }

    /// <summary>y = factor x; y may be x.</summary>
    public struct Scaled : ILaneMap
    {
        public float* X;
        public float Factor;
        public float* Y;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public readonly void At<W, L, V>(W at)
            where W : struct, ILaneWindow<V>
            where L : struct, ILanes<V>
            where V : unmanaged => at.Store(Y, L.Multiply(L.Broadcast(Factor), at.Load(X)));
    }

    /// <summary>y = a + b; y may be either.</summary>
    public struct Added : ILaneMap
    {
        public float* A;
        public float* B;
        public float* Y;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public readonly void At<W, L, V>(W at)
            where W : struct, ILaneWindow<V>
            where L : struct, ILanes<V>
            where V : unmanaged => at.Store(Y, L.Add(at.Load(A), at.Load(B)));
    }

    private readonly struct Whole<L, V>(int first) : ILaneWindow<V>
        where L : struct, ILanes<V>
        where V : unmanaged
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public V Load(float* row) => L.Load(row + first);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void Store(float* row, V value) => L.Store(row + first, value);
    }

    private readonly struct Rest<L, V>(int first, int count) : ILaneWindow<V>
        where L : struct, ILanes<V>
        where V : unmanaged
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public V Load(float* row) => L.LoadFirst(row + first, count);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void Store(float* row, V value) => L.StoreFirst(row + first, value, count);
    }
}
