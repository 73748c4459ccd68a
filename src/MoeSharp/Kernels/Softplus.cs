using System.Runtime.CompilerServices;

namespace MoeSharp.Kernels;

/// <summary>log(1 + e^x), a smooth maximum of x and 0, element by element.</summary>
public static unsafe class Softplus
{
    /// <summary>y = log(1 + e^x) + shift; absolute error about 1e-7.</summary>
    public static void Forward(WorkerPool workers, ReadOnlySpan<float> x, float shift, Span<float> y)
    {
        Require.Length(y.Length, x.Length, "Softplus.Forward", nameof(y));
        fixed (float* xs = x, ys = y)
        {
            LaneRows.For(workers, x.Length, 1, new ForwardJob { X = xs, Shift = shift, Y = ys });
        }
    }

    /// <summary>dx (= or +=) dy sigmoid(x).</summary>
    public static void Backward(WorkerPool workers, ReadOnlySpan<float> dy, ReadOnlySpan<float> x, Span<float> dx, bool accumulate)
    {
        Require.Length(dy.Length, x.Length, "Softplus.Backward", nameof(dy));
        Require.Length(dx.Length, x.Length, "Softplus.Backward", nameof(dx));
        fixed (float* dys = dy, xs = x, dxs = dx)
        {
            LaneRows.For(workers, x.Length, 1, new BackwardJob { Dy = dys, X = xs, Dx = dxs, Accumulate = accumulate });
        }
    }

    private struct ForwardJob : ILaneRows
    {
        public float* X;
        public float Shift;
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
                    L.Store(Y + i, Value<L, V>(L.Load(X + i)));
                }
                else
                {
                    L.StoreFirst(Y + i, Value<L, V>(L.LoadFirst(X + i, n)), n);
                }
            }
        }

        // max(x, 0) + log(1 + e) with e = e^-|x| from 0 to 1; log(1 + e) / e by Chebyshev interpolation cut after degree 8 (error 2.9e-8).
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private readonly V Value<L, V>(V x)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            V e = VectorMath.Exp<L, V>(L.Min(x, L.Subtract(L.Zero, x)));
            V p = L.MultiplyAdd(L.Broadcast(0.005253458f), e, L.Broadcast(-0.029588507f));
            p = L.MultiplyAdd(p, e, L.Broadcast(0.07836167f));
            p = L.MultiplyAdd(p, e, L.Broadcast(-0.1367477f));
            p = L.MultiplyAdd(p, e, L.Broadcast(0.19111431f));
            p = L.MultiplyAdd(p, e, L.Broadcast(-0.2484437f));
            p = L.MultiplyAdd(p, e, L.Broadcast(0.33319271f));
            p = L.MultiplyAdd(p, e, L.Broadcast(-0.49999502f));
            p = L.MultiplyAdd(p, e, L.Broadcast(0.99999997f));
            return L.Add(L.MultiplyAdd(p, e, L.Max(x, L.Zero)), L.Broadcast(Shift));
        }
    }

    private struct BackwardJob : ILaneRows
    {
        public float* Dy;
        public float* X;
        public float* Dx;
        public bool Accumulate;

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
                    V slope = L.Multiply(L.Load(Dy + i), VectorMath.Sigmoid<L, V>(L.Load(X + i)));
                    L.Store(Dx + i, Accumulate ? L.Add(L.Load(Dx + i), slope) : slope);
                }
                else
                {
                    V slope = L.Multiply(L.LoadFirst(Dy + i, n), VectorMath.Sigmoid<L, V>(L.LoadFirst(X + i, n)));
                    L.StoreFirst(Dx + i, Accumulate ? L.Add(L.LoadFirst(Dx + i, n), slope) : slope, n);
                }
            }
        }
    }
}
