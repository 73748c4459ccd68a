using System.Runtime.CompilerServices;

namespace MoeSharp.Kernels;

/// <summary>Values multiplied by random factors near 1.</summary>
public static unsafe class Jitter
{
    /// <summary>y (= or +=) x (1 - width + 2 width u), element by element: factors between 1 - width and 1 + width. The gradient is the same product.</summary>
    /// <param name="workers">Worker pool.</param>
    /// <param name="x">Values.</param>
    /// <param name="uniform">u, from 0 to 1.</param>
    /// <param name="width">Half the range of the factors.</param>
    /// <param name="y">Result; may be <paramref name="x"/>.</param>
    /// <param name="accumulate">Whether to add.</param>
    public static void Apply(WorkerPool workers, ReadOnlySpan<float> x, ReadOnlySpan<float> uniform, float width, Span<float> y, bool accumulate)
    {
        Require.Length(uniform.Length, x.Length, "Jitter.Apply", nameof(uniform));
        Require.Length(y.Length, x.Length, "Jitter.Apply", nameof(y));
        fixed (float* xs = x, us = uniform, ys = y)
        {
            LaneRows.For(workers, x.Length, 1, new ApplyJob { X = xs, Uniform = us, Width = width, Y = ys, Accumulate = accumulate });
        }
    }

    private struct ApplyJob : ILaneRows
    {
        public float* X;
        public float* Uniform;
        public float Width;
        public float* Y;
        public bool Accumulate;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public readonly void Run<L, V>(int begin, int end)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            (V range, V least) = (L.Broadcast(2f * Width), L.Broadcast(1f - Width));
            for (int i = begin; i < end; i += L.Count)
            {
                int n = Math.Min(L.Count, end - i);
                if (n == L.Count)
                {
                    V product = L.Multiply(L.Load(X + i), L.MultiplyAdd(range, L.Load(Uniform + i), least));
                    L.Store(Y + i, Accumulate ? L.Add(L.Load(Y + i), product) : product);
                }
                else
                {
                    V product = L.Multiply(L.LoadFirst(X + i, n), L.MultiplyAdd(range, L.LoadFirst(Uniform + i, n), least));
                    L.StoreFirst(Y + i, Accumulate ? L.Add(L.LoadFirst(Y + i, n), product) : product, n);
                }
            }
        }
    }
}
