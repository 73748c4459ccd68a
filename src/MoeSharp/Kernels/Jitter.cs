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
            LaneRows.Map(workers, x.Length, new ApplyMap { X = xs, Uniform = us, Width = width, Y = ys, Accumulate = accumulate });
        }
    }

    private struct ApplyMap : ILaneMap
    {
        public float* X;
        public float* Uniform;
        public float Width;
        public float* Y;
        public bool Accumulate;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public readonly void At<W, L, V>(W at)
            where W : struct, ILaneWindow<V>
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            V factor = L.MultiplyAdd(L.Broadcast(2f * Width), at.Load(Uniform), L.Broadcast(1f - Width));
            LaneLoop.Put<W, L, V>(at, Y, L.Multiply(at.Load(X), factor), Accumulate);
        }
    }
}
