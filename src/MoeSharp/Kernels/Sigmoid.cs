using System.Runtime.CompilerServices;

namespace MoeSharp.Kernels;

/// <summary>Sigmoid and hyperbolic tangent of every value.</summary>
public static unsafe class Sigmoid
{
    /// <summary>y = 1 / (1 + e^-x); y may be x.</summary>
    public static void Forward(WorkerPool workers, ReadOnlySpan<float> x, Span<float> y) => Run("Sigmoid.Forward", workers, 1f, 1f, 0f, x, y);

    /// <summary>y = tanh(x) = 2 sigmoid(2x) - 1, absolute error about 1e-7; y may be x.</summary>
    public static void Tanh(WorkerPool workers, ReadOnlySpan<float> x, Span<float> y) => Run("Sigmoid.Tanh", workers, 2f, 2f, -1f, x, y);

    private static void Run(string operation, WorkerPool workers, float inner, float outer, float shift, ReadOnlySpan<float> x, Span<float> y)
    {
        Require.Length(y.Length, x.Length, operation, nameof(y));
        fixed (float* xs = x, ys = y)
        {
            LaneRows.Map(workers, x.Length, new ForwardMap { Inner = inner, Outer = outer, Shift = shift, X = xs, Y = ys });
        }
    }

    // y = outer * sigmoid(inner * x) + shift
    private struct ForwardMap : ILaneMap
    {
        public float Inner;
        public float Outer;
        public float Shift;
        public float* X;
        public float* Y;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public readonly void At<W, L, V>(W at)
            where W : struct, ILaneWindow<V>
            where L : struct, ILanes<V>
            where V : unmanaged =>
            at.Store(Y, L.MultiplyAdd(L.Broadcast(Outer), VectorMath.Sigmoid<L, V>(L.Multiply(L.Broadcast(Inner), at.Load(X))), L.Broadcast(Shift)));
    }
}
