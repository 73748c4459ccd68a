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
            LaneRows.For(workers, y.Length, 1, new AddJob { Addend = addends, A = left, B = right, Y = ys });
        }
    }

    private struct AddJob : ILaneRows
    {
        public float* Addend;
        public float* A;
        public float* B;
        public float* Y;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public readonly void Run<L, V>(int begin, int end)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            for (int i = begin; i < end; i += L.Count)
            {
                int n = Math.Min(L.Count, end - i);
                if (n == L.Count)
                {
                    L.Store(Y + i, L.MultiplyAdd(L.Load(A + i), L.Load(B + i), L.Load(Addend + i)));
                }
                else
                {
                    L.StoreFirst(Y + i, L.MultiplyAdd(L.LoadFirst(A + i, n), L.LoadFirst(B + i, n), L.LoadFirst(Addend + i, n)), n);
                }
            }
        }
    }
}
