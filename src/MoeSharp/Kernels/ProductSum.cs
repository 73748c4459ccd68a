using System.Runtime.CompilerServices;

namespace MoeSharp.Kernels;

/// <summary>Products added to values, element by element.</summary>
public static unsafe class ProductSum
{
    /// <summary>y = addend + a b; y may be any of the inputs.</summary>
    public static void Add(WorkerPool workers, ReadOnlySpan<float> addend, ReadOnlySpan<float> a, ReadOnlySpan<float> b, Span<float> y)
    {
        Require.Length(addend.Length, y.Length, "ProductSum.Add", nameof(addend));
        Require.Length(a.Length, y.Length, "ProductSum.Add", nameof(a));
        Require.Length(b.Length, y.Length, "ProductSum.Add", nameof(b));
        fixed (float* addends = addend, left = a, right = b, ys = y)
        {
            LaneRows.Map(workers, y.Length, new AddMap { Addend = addends, A = left, B = right, Y = ys });
        }
    }

    private struct AddMap : ILaneMap
    {
        public float* Addend;
        public float* A;
        public float* B;
        public float* Y;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public readonly void At<W, L, V>(W at)
            where W : struct, ILaneWindow<V>
            where L : struct, ILanes<V>
            where V : unmanaged => at.Store(Y, L.MultiplyAdd(at.Load(A), at.Load(B), at.Load(Addend)));
    }
}
