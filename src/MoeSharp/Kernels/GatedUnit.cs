using System.Runtime.CompilerServices;

namespace MoeSharp.Kernels;

/// <summary>The functions that join an expert's gate and up projections.</summary>
public enum GatedFunction
{
    /// <summary>silu(gate) * up.</summary>
    SwiGlu,

    /// <summary>gelu(gate) * up, gelu by its tanh approximation.</summary>
    GeGlu,

    /// <summary>(up + 1) * gate * sigmoid(1.702 gate), gate at most the limit, up within plus and minus the limit.</summary>
    ClampedSwiGlu,
}

/// <summary>A gated activation with its limit.</summary>
/// <param name="Function">Function.</param>
/// <param name="Limit">Limit of <see cref="GatedFunction.ClampedSwiGlu"/>; others ignore it.</param>
public readonly record struct GatedActivation(GatedFunction Function, float Limit = 0f);

/// <summary>Every gated activation of an expert, with an optional weight per row; the plain one is <see cref="SwiGlu"/>.</summary>
/// <remarks>Rows of <c>gateUp</c> hold gate then up: [rows, 2 intermediate]. Legend: r row, f intermediate.</remarks>
public static unsafe class GatedUnit
{
    /// <summary>y[r, f] = rowWeight[r] * function(gate[r, f], up[r, f]); an empty <paramref name="rowWeights"/> means weight 1.</summary>
    public static void Forward(WorkerPool workers, GatedActivation activation, int rows, int intermediate, ReadOnlySpan<float> gateUp, ReadOnlySpan<float> rowWeights, Span<float> y)
    {
        switch (activation.Function)
        {
            case GatedFunction.GeGlu:
                Forward<GeGlu>(workers, activation.Limit, rows, intermediate, gateUp, rowWeights, y);
                break;
            case GatedFunction.ClampedSwiGlu:
                Forward<ClampedSwiGlu>(workers, activation.Limit, rows, intermediate, gateUp, rowWeights, y);
                break;
            default:
                SwiGlu.Forward(workers, rows, intermediate, gateUp, rowWeights, y);
                break;
        }
    }

    /// <summary>Gradients, in the places where <see cref="SwiGlu.Backward"/> leaves them.</summary>
    /// <param name="workers">Worker pool.</param>
    /// <param name="activation">Function of the forward.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="intermediate">Width.</param>
    /// <param name="gateUp">Forward input [rows, 2 intermediate]; on return its gradient.</param>
    /// <param name="rowWeights">Forward's row weights, or empty.</param>
    /// <param name="dy">Gradient of y, [rows, intermediate]; on return the recomputed forward output y (weighted).</param>
    /// <param name="dRowWeights">= gradient of the row weights, [rows]; ignored when <paramref name="rowWeights"/> is empty.</param>
    public static void Backward(WorkerPool workers, GatedActivation activation, int rows, int intermediate, Span<float> gateUp, ReadOnlySpan<float> rowWeights, Span<float> dy, Span<float> dRowWeights)
    {
        switch (activation.Function)
        {
            case GatedFunction.GeGlu:
                Backward<GeGlu>(workers, activation.Limit, rows, intermediate, gateUp, rowWeights, dy, dRowWeights);
                break;
            case GatedFunction.ClampedSwiGlu:
                Backward<ClampedSwiGlu>(workers, activation.Limit, rows, intermediate, gateUp, rowWeights, dy, dRowWeights);
                break;
            default:
                SwiGlu.Backward(workers, rows, intermediate, gateUp, rowWeights, dy, dRowWeights);
                break;
        }
    }

    private static void Forward<F>(WorkerPool workers, float limit, int rows, int intermediate, ReadOnlySpan<float> gateUp, ReadOnlySpan<float> rowWeights, Span<float> y)
        where F : struct, IFunction
    {
        Check("GatedUnit.Forward", rows, intermediate, gateUp.Length, rowWeights.Length, y.Length);
        fixed (float* gateUps = gateUp, weights = rowWeights, ys = y)
        {
            ForwardJob<F> job = new() { Intermediate = intermediate, Limit = limit, GateUp = gateUps, RowWeights = weights, Y = ys };
            LaneRows.For(workers, rows, 2 * intermediate, job);
        }
    }

    private static void Backward<F>(WorkerPool workers, float limit, int rows, int intermediate, Span<float> gateUp, ReadOnlySpan<float> rowWeights, Span<float> dy, Span<float> dRowWeights)
        where F : struct, IFunction
    {
        Check("GatedUnit.Backward", rows, intermediate, gateUp.Length, rowWeights.Length, dy.Length);
        Require.Length(dRowWeights.Length, rowWeights.IsEmpty ? 0 : rows, "GatedUnit.Backward", nameof(dRowWeights));
        fixed (float* gateUps = gateUp, weights = rowWeights, dys = dy, dWeights = dRowWeights)
        {
            BackwardJob<F> job = new() { Intermediate = intermediate, Limit = limit, GateUp = gateUps, RowWeights = weights, Dy = dys, DRowWeights = dWeights };
            LaneRows.For(workers, rows, 2 * intermediate, job);
        }
    }

    private static void Check(string operation, int rows, int intermediate, int gateUp, int rowWeights, int y)
    {
        Require.Length(gateUp, 2L * rows * intermediate, operation, nameof(gateUp));
        Require.Length(rowWeights, rowWeights == 0 ? 0 : rows, operation, nameof(rowWeights));
        Require.Length(y, (long)rows * intermediate, operation, nameof(y));
    }

    /// <summary>A function of gate and up with its slopes; 0 for gate 0 and up 0, which is what lanes behind a row hold.</summary>
    private interface IFunction
    {
        static abstract V Value<L, V>(V gate, V up, V limit)
            where L : struct, ILanes<V>
            where V : unmanaged;

        static abstract Slopes<V> Differentiate<L, V>(V gate, V up, V limit)
            where L : struct, ILanes<V>
            where V : unmanaged;
    }

    private readonly struct Slopes<V>(V value, V gate, V up)
        where V : unmanaged
    {
        public readonly V Value = value;
        public readonly V Gate = gate;
        public readonly V Up = up;
    }

    /// <summary>gelu(g) = g (1 + tanh u) / 2 = g sigmoid(2u), u = sqrt(2/pi) (g + 0.044715 g^3) (arXiv 1606.08415, section 2).</summary>
    private readonly struct GeGlu : IFunction
    {
        private const float Cubic = 0.044715f;
        private const float TwiceRoot = 1.59576912f; // 2 sqrt(2 / pi)

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Value<L, V>(V gate, V up, V limit)
            where L : struct, ILanes<V>
            where V : unmanaged => L.Multiply(L.Multiply(gate, Gate<L, V>(gate)), up);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Slopes<V> Differentiate<L, V>(V gate, V up, V limit)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            V one = L.Broadcast(1f);
            V sigmoid = Gate<L, V>(gate);
            V gelu = L.Multiply(gate, sigmoid);

            // gelu'(g) = s + g s (1 - s) 2 sqrt(2/pi) (1 + 3 * 0.044715 g^2)
            V inner = L.Multiply(L.Broadcast(TwiceRoot), L.MultiplyAdd(L.Multiply(gate, gate), L.Broadcast(3f * Cubic), one));
            V slope = L.MultiplyAdd(L.Multiply(gelu, L.Subtract(one, sigmoid)), inner, sigmoid);
            return new Slopes<V>(L.Multiply(gelu, up), L.Multiply(slope, up), gelu);
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static V Gate<L, V>(V gate)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            V cubed = L.MultiplyAdd(L.Multiply(L.Multiply(gate, gate), gate), L.Broadcast(Cubic), gate);
            return VectorMath.Sigmoid<L, V>(L.Multiply(L.Broadcast(TwiceRoot), cubed));
        }
    }

    /// <summary>The expert of gpt-oss; a clamped value has slope 0.</summary>
    private readonly struct ClampedSwiGlu : IFunction
    {
        private const float Steepness = 1.702f; // of the sigmoid; the alpha of the released gpt-oss model

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Value<L, V>(V gate, V up, V limit)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            V g = L.Min(limit, gate);
            V u = L.Max(L.Subtract(L.Zero, limit), L.Min(limit, up));
            V silu = L.Multiply(g, VectorMath.Sigmoid<L, V>(L.Multiply(L.Broadcast(Steepness), g)));
            return L.Multiply(L.Add(u, L.Broadcast(1f)), silu);
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Slopes<V> Differentiate<L, V>(V gate, V up, V limit)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            V one = L.Broadcast(1f);
            V lowest = L.Subtract(L.Zero, limit);
            V g = L.Min(limit, gate);
            V shifted = L.Add(L.Max(lowest, L.Min(limit, up)), one);
            V sigmoid = VectorMath.Sigmoid<L, V>(L.Multiply(L.Broadcast(Steepness), g));
            V silu = L.Multiply(g, sigmoid);

            // d(g s)/dg = s + 1.702 g s (1 - s)
            V slope = L.MultiplyAdd(L.Multiply(L.Broadcast(Steepness), silu), L.Subtract(one, sigmoid), sigmoid);
            V dGate = L.WhereLess(limit, gate, L.Zero, L.Multiply(shifted, slope));
            V dUp = L.WhereLess(limit, up, L.Zero, L.WhereLess(up, lowest, L.Zero, silu));
            return new Slopes<V>(L.Multiply(shifted, silu), dGate, dUp);
        }
    }

    private struct ForwardJob<F> : ILaneRows
        where F : struct, IFunction
    {
        public int Intermediate;
        public float Limit;
        public float* GateUp;
        public float* RowWeights; // null: all 1
        public float* Y;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public readonly void Run<L, V>(int begin, int end)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            for (int r = begin; r < end; r++)
            {
                float* gate = GateUp + (2L * r * Intermediate);
                float* up = gate + Intermediate;
                float* y = Y + ((long)r * Intermediate);
                float weight = RowWeights == null ? 1f : RowWeights[r];
                LaneLoop.Map<L, V, ForwardMap<F>>(0, Intermediate, new ForwardMap<F> { Gate = gate, Up = up, Weight = weight, Limit = Limit, Y = y });
            }
        }
    }

    private struct ForwardMap<F> : ILaneMap
        where F : struct, IFunction
    {
        public float* Gate;
        public float* Up;
        public float Weight;
        public float Limit;
        public float* Y;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public readonly void At<W, L, V>(W at)
            where W : struct, ILaneWindow<V>
            where L : struct, ILanes<V>
            where V : unmanaged =>
            at.Store(Y, L.Multiply(L.Broadcast(Weight), F.Value<L, V>(at.Load(Gate), at.Load(Up), L.Broadcast(Limit))));
    }

    private struct BackwardJob<F> : ILaneRows
        where F : struct, IFunction
    {
        public int Intermediate;
        public float Limit;
        public float* GateUp;
        public float* RowWeights; // null: all 1
        public float* Dy;
        public float* DRowWeights;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public readonly void Run<L, V>(int begin, int end)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            for (int r = begin; r < end; r++)
            {
                float* gate = GateUp + (2L * r * Intermediate);
                float* up = gate + Intermediate;
                float* dy = Dy + ((long)r * Intermediate);
                float weight = RowWeights == null ? 1f : RowWeights[r];
                V dot = LaneLoop.Sum<L, V, BackwardSum<F>>(Intermediate, new BackwardSum<F> { Gate = gate, Up = up, Dy = dy, Weight = weight, Limit = Limit }, L.Zero);
                if (RowWeights != null)
                {
                    DRowWeights[r] = L.Sum(dot);
                }
            }
        }
    }

    // Leaves the gradients in place and sums dy times the unweighted output.
    private struct BackwardSum<F> : ILaneSum
        where F : struct, IFunction
    {
        public float* Gate;
        public float* Up;
        public float* Dy;
        public float Weight;
        public float Limit;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public readonly V Plus<W, L, V>(W at, V sum)
            where W : struct, ILaneWindow<V>
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            V dy = at.Load(Dy);
            Slopes<V> slopes = F.Differentiate<L, V>(at.Load(Gate), at.Load(Up), L.Broadcast(Limit));
            V weight = L.Broadcast(Weight);
            V weighted = L.Multiply(dy, weight);
            at.Store(Gate, L.Multiply(weighted, slopes.Gate));
            at.Store(Up, L.Multiply(weighted, slopes.Up));
            at.Store(Dy, L.Multiply(weight, slopes.Value));
            return L.MultiplyAdd(dy, slopes.Value, sum);
        }
    }
}
