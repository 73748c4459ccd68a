using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace MoeSharp.Kernels;

/// <summary>Arithmetic on a group of float32 values at once, so that a kernel is written once for every vector width.</summary>
/// <remarks>
/// A kernel is generic over an implementation <c>L</c> and its vector type <c>V</c>; both are structs, so the compiler makes one
/// copy per width in which every call below is a single instruction. With <see cref="Lanes1"/> the same text is the scalar loop.
/// </remarks>
/// <typeparam name="V">The vector, or <see cref="float"/> for the scalar form.</typeparam>
internal unsafe interface ILanes<V>
    where V : unmanaged
{
    /// <summary>Values per vector.</summary>
    static abstract int Count { get; }

    static abstract V Zero { get; }

    static abstract V Broadcast(float value);

    static abstract V Load(float* source);

    static abstract void Store(float* target, V value);

    /// <summary>Reads the first <paramref name="count"/> (fewer than <see cref="Count"/>) values, never touching memory behind them; other lanes are 0.</summary>
    static abstract V LoadFirst(float* source, int count);

    /// <summary>Writes the first <paramref name="count"/> lanes, never touching memory behind them.</summary>
    static abstract void StoreFirst(float* target, V value, int count);

    /// <summary>The first <paramref name="count"/> lanes of <paramref name="value"/>, the others from <paramref name="rest"/>.</summary>
    static abstract V KeepFirst(V value, int count, V rest);

    static abstract V Add(V a, V b);

    static abstract V Subtract(V a, V b);

    static abstract V Multiply(V a, V b);

    static abstract V Divide(V a, V b);

    /// <summary>a b + c, in one rounding where the machine can.</summary>
    static abstract V MultiplyAdd(V a, V b, V c);

    /// <summary>c - a b, in one rounding where the machine can.</summary>
    static abstract V SubtractProduct(V a, V b, V c);

    /// <summary>The larger value; NaN where <paramref name="b"/> is NaN.</summary>
    static abstract V Max(V a, V b);

    /// <summary>The smaller value; NaN where <paramref name="b"/> is NaN.</summary>
    static abstract V Min(V a, V b);

    static abstract V Sqrt(V value);

    /// <summary>Nearest whole number, ties to even.</summary>
    static abstract V Round(V value);

    /// <summary>value 2^exponent for whole exponents from -125 to 129; larger results are infinite.</summary>
    static abstract V TimesPowerOfTwo(V value, V exponent);

    /// <summary><paramref name="below"/> where <paramref name="value"/> is less than <paramref name="limit"/>, otherwise <paramref name="other"/>.</summary>
    static abstract V WhereLess(V value, V limit, V below, V other);

    /// <summary>One bit per lane, the first lane lowest: whether both are equal.</summary>
    static abstract uint EqualBits(V value, V target);

    /// <summary>Sum of the lanes, in an order that depends on the width alone.</summary>
    static abstract float Sum(V value);

    static abstract float MaxLane(V value);
}

/// <summary>Work over rows, written once for every vector width.</summary>
internal interface ILaneRows
{
    /// <summary>Computes rows <paramref name="begin"/> (inclusive) to <paramref name="end"/> (exclusive).</summary>
    void Run<L, V>(int begin, int end)
        where L : struct, ILanes<V>
        where V : unmanaged;
}

/// <summary>Runs width-generic row work on a pool, in the widest vectors of the machine.</summary>
/// <param name="work">The work; copied.</param>
internal struct LaneRows<TWork>(TWork work) : IRowJob
    where TWork : struct, ILaneRows
{
    private TWork _work = work;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Run(int begin, int end)
    {
        if (Vector512.IsHardwareAccelerated)
        {
            _work.Run<Lanes512, Vector512<float>>(begin, end);
        }
        else if (Vector256.IsHardwareAccelerated)
        {
            _work.Run<Lanes256, Vector256<float>>(begin, end);
        }
        else if (Vector128.IsHardwareAccelerated)
        {
            _work.Run<Lanes128, Vector128<float>>(begin, end);
        }
        else
        {
            _work.Run<Lanes1, float>(begin, end);
        }
    }
}

/// <summary>Starts width-generic row work.</summary>
internal static class LaneRows
{
    /// <summary>Values that one chunk of work should touch: long against the start of a job (0.1 us), short against the whole.</summary>
    private const int ValuesPerChunk = 16 * 1024;

    /// <summary>Runs <paramref name="work"/> over rows of <paramref name="cols"/> values each.</summary>
    public static void For<TWork>(WorkerPool workers, int rows, int cols, in TWork work)
        where TWork : struct, ILaneRows
    {
        LaneRows<TWork> job = new(work);
        workers.ForRows(rows, Math.Max(1, ValuesPerChunk / Math.Max(cols, 1)), ref job);
    }

    /// <summary>Runs a map over <paramref name="count"/> values, whatever rows they form.</summary>
    public static void Map<TMap>(WorkerPool workers, int count, in TMap map)
        where TMap : struct, ILaneMap => For(workers, count, 1, new MapJob<TMap>(map));

    /// <summary>Runs <paramref name="work"/> in chunks of exactly <paramref name="grain"/> rows (the last may be shorter).</summary>
    public static void ForChunks<TWork>(WorkerPool workers, int rows, int grain, in TWork work)
        where TWork : struct, ILaneRows
    {
        LaneRows<TWork> job = new(work);
        workers.ForRows(rows, grain, ref job);
    }

    private readonly struct MapJob<TMap>(TMap map) : ILaneRows
        where TMap : struct, ILaneMap
    {
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public void Run<L, V>(int begin, int end)
            where L : struct, ILanes<V>
            where V : unmanaged => LaneLoop.Map<L, V, TMap>(begin, end, map);
    }
}
