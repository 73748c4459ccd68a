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
            LaneRows.For(workers, x.Length, 1, new ForwardJob { Inner = inner, Outer = outer, Shift = shift, X = xs, Y = ys });
        }
    }

    // y = outer * sigmoid(inner * x) + shift
    private struct ForwardJob : ILaneRows
    {
        public float Inner;
        public float Outer;
        public float Shift;
        public float* X;
        public float* Y;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public readonly void Run<L, V>(int begin, int end)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            int i = begin;
            for (; i <= end - L.Count; i += L.Count)
            {
                L.Store(Y + i, Value<L, V>(L.Load(X + i)));
            }

            if (i < end)
            {
                L.StoreFirst(Y + i, Value<L, V>(L.LoadFirst(X + i, end - i)), end - i);
            }
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private readonly V Value<L, V>(V x)
            where L : struct, ILanes<V>
            where V : unmanaged =>
            L.MultiplyAdd(L.Broadcast(Outer), VectorMath.Sigmoid<L, V>(L.Multiply(L.Broadcast(Inner), x)), L.Broadcast(Shift));
    }
}
