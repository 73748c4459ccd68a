using System.Runtime.CompilerServices;

namespace MoeSharp.Kernels;

/// <summary>The gated activation of an expert: silu(gate) * up, with an optional weight per row.</summary>
/// <remarks>
/// GLU variants, arXiv 2002.05202, equation 6. Rows of <c>gateUp</c> hold gate then up: [rows, 2 intermediate].
/// Multiplying the routing weight in here, before the down projection, equals multiplying the expert's output by it, and its
/// gradient then needs no expert output to be kept. Legend: r row, f intermediate.
/// </remarks>
public static unsafe class SwiGlu
{
    /// <summary>y[r, f] = rowWeight[r] * silu(gate[r, f]) * up[r, f]; an empty <paramref name="rowWeights"/> means weight 1.</summary>
    public static void Forward(WorkerPool workers, int rows, int intermediate, ReadOnlySpan<float> gateUp, ReadOnlySpan<float> rowWeights, Span<float> y)
    {
        const string Operation = "SwiGlu.Forward";
        Require.Length(gateUp.Length, 2L * rows * intermediate, Operation, nameof(gateUp));
        Require.Length(rowWeights.Length, rowWeights.IsEmpty ? 0 : rows, Operation, nameof(rowWeights));
        Require.Length(y.Length, (long)rows * intermediate, Operation, nameof(y));
        fixed (float* gateUps = gateUp, weights = rowWeights, ys = y)
        {
            LaneRows.For(workers, rows, 2 * intermediate, new ForwardJob { Intermediate = intermediate, GateUp = gateUps, RowWeights = weights, Y = ys });
        }
    }

    /// <summary>Gradients of gate and up, written over <paramref name="gateUp"/> (the forward's input, consumed), and of the row weights.</summary>
    /// <param name="workers">Worker pool.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="intermediate">Width.</param>
    /// <param name="gateUp">Forward input [rows, 2 intermediate]; on return its gradient.</param>
    /// <param name="rowWeights">Forward's row weights, or empty.</param>
    /// <param name="dy">Gradient of y, [rows, intermediate]; on return the recomputed forward output y (weighted), for the down projection's weight gradient.</param>
    /// <param name="dRowWeights">= gradient of the row weights, [rows]; ignored when <paramref name="rowWeights"/> is empty.</param>
    public static void Backward(WorkerPool workers, int rows, int intermediate, Span<float> gateUp, ReadOnlySpan<float> rowWeights, Span<float> dy, Span<float> dRowWeights)
    {
        const string Operation = "SwiGlu.Backward";
        Require.Length(gateUp.Length, 2L * rows * intermediate, Operation, nameof(gateUp));
        Require.Length(rowWeights.Length, rowWeights.IsEmpty ? 0 : rows, Operation, nameof(rowWeights));
        Require.Length(dy.Length, (long)rows * intermediate, Operation, nameof(dy));
        Require.Length(dRowWeights.Length, rowWeights.IsEmpty ? 0 : rows, Operation, nameof(dRowWeights));
        fixed (float* gateUps = gateUp, weights = rowWeights, dys = dy, dWeights = dRowWeights)
        {
            BackwardJob job = new() { Intermediate = intermediate, GateUp = gateUps, RowWeights = weights, Dy = dys, DRowWeights = dWeights };
            LaneRows.For(workers, rows, 2 * intermediate, job);
        }
    }

    private struct ForwardJob : ILaneRows
    {
        public int Intermediate;
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
                LaneLoop.Map<L, V, ForwardMap>(0, Intermediate, new ForwardMap { Gate = gate, Up = up, Weight = weight, Y = y });
            }
        }
    }

    private struct ForwardMap : ILaneMap
    {
        public float* Gate;
        public float* Up;
        public float Weight;
        public float* Y;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public readonly void At<W, L, V>(W at)
            where W : struct, ILaneWindow<V>
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            V gate = at.Load(Gate);
            V denominator = L.Add(L.Broadcast(1f), VectorMath.Exp<L, V>(L.Subtract(L.Zero, gate)));
            at.Store(Y, L.Multiply(L.Multiply(L.Broadcast(Weight), L.Divide(gate, denominator)), at.Load(Up)));
        }
    }

    private struct BackwardJob : ILaneRows
    {
        public int Intermediate;
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
                V dot = LaneLoop.Sum<L, V, BackwardSum>(Intermediate, new BackwardSum { Gate = gate, Up = up, Dy = dy, Weight = weight }, L.Zero);
                if (RowWeights != null)
                {
                    DRowWeights[r] = L.Sum(dot);
                }
            }
        }
    }

    // Leaves the gradients in place and sums dy times the unweighted output.
    private struct BackwardSum : ILaneSum
    {
        public float* Gate;
        public float* Up;
        public float* Dy;
        public float Weight;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public readonly V Plus<W, L, V>(W at, V sum)
            where W : struct, ILaneWindow<V>
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            (V gate, V up, V dy) = (at.Load(Gate), at.Load(Up), at.Load(Dy));
            V one = L.Broadcast(1f);
            V weight = L.Broadcast(Weight);
            V sigmoid = VectorMath.Sigmoid<L, V>(gate);
            V silu = L.Multiply(gate, sigmoid);
            V weighted = L.Multiply(dy, weight);
            V siluUp = L.Multiply(silu, up);

            // silu'(g) = sigmoid (1 + g (1 - sigmoid))
            V slope = L.Multiply(sigmoid, L.MultiplyAdd(gate, L.Subtract(one, sigmoid), one));
            at.Store(Gate, L.Multiply(L.Multiply(weighted, up), slope));
            at.Store(Up, L.Multiply(weighted, silu));
            at.Store(Dy, L.Multiply(weight, siluUp));
            return L.Add(sum, L.Multiply(dy, siluUp));
        }
    }
}
