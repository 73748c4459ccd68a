using System.Runtime.CompilerServices;

namespace MoeSharp.Kernels;

/// <summary>Coefficients of one AdamW update.</summary>
/// <param name="LearningRate">Step size.</param>
/// <param name="Beta1">Decay of the first moment.</param>
/// <param name="Beta2">Decay of the second moment.</param>
/// <param name="Epsilon">Added to the root of the second moment.</param>
/// <param name="WeightDecay">Decoupled decay.</param>
/// <param name="BiasCorrection1">1 - Beta1^step.</param>
/// <param name="BiasCorrection2">1 - Beta2^step.</param>
/// <param name="GradientScale">Factor on the gradient (clipping).</param>
public readonly record struct AdamWCoefficients(float LearningRate, float Beta1, float Beta2, float Epsilon, float WeightDecay, float BiasCorrection1, float BiasCorrection2, float GradientScale);

/// <summary>The AdamW update, one pass over weights, gradient and both moments.</summary>
/// <remarks>Decoupled weight decay regularisation, arXiv 1711.05101, algorithm 2: w = w (1 - lr wd) - lr (m / c1) / (sqrt(v / c2) + eps).</remarks>
public static unsafe class AdamW
{
    /// <summary>Updates weights and moments in place.</summary>
    /// <exception cref="ShapeException">The gradient or a moment is shorter than the weights.</exception>
    public static void Step(WorkerPool workers, in AdamWCoefficients c, Span<float> weights, ReadOnlySpan<float> gradient, Span<float> firstMoment, Span<float> secondMoment)
    {
        const string Operation = "AdamW.Step";
        Require.Length(gradient.Length, weights.Length, Operation, nameof(gradient));
        Require.Length(firstMoment.Length, weights.Length, Operation, nameof(firstMoment));
        Require.Length(secondMoment.Length, weights.Length, Operation, nameof(secondMoment));
        fixed (float* w = weights, g = gradient, m = firstMoment, v = secondMoment)
        {
            LaneRows.For(workers, weights.Length, 1, new StepJob { Coefficients = c, Weights = w, Gradient = g, First = m, Second = v });
        }
    }

    private struct StepJob : ILaneRows
    {
        public AdamWCoefficients Coefficients;
        public float* Weights;
        public float* Gradient;
        public float* First;
        public float* Second;

        // The two bias corrections move into constants, which leaves one root and one division per weight:
        // lr (m / c1) / (sqrt(v / c2) + eps) = (lr / c1) m / (sqrt(v) / sqrt(c2) + eps).
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public readonly void Run<L, V>(int begin, int end)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            Update<L, V> update = new(Coefficients);
            int i = begin;
            for (; i <= end - L.Count; i += L.Count)
            {
                V m = L.Load(First + i);
                V v = L.Load(Second + i);
                V w = update.Apply(L.Load(Weights + i), L.Load(Gradient + i), ref m, ref v);
                L.Store(First + i, m);
                L.Store(Second + i, v);
                L.Store(Weights + i, w);
            }

            if (i < end)
            {
                int n = end - i;
                V m = L.LoadFirst(First + i, n);
                V v = L.LoadFirst(Second + i, n);
                V w = update.Apply(L.LoadFirst(Weights + i, n), L.LoadFirst(Gradient + i, n), ref m, ref v);
                L.StoreFirst(First + i, m, n);
                L.StoreFirst(Second + i, v, n);
                L.StoreFirst(Weights + i, w, n);
            }
        }
    }

    private readonly struct Update<L, V>
        where L : struct, ILanes<V>
        where V : unmanaged
    {
        private readonly V _gradientScale;
        private readonly V _beta1;
        private readonly V _beta2;
        private readonly V _oneMinusBeta1;
        private readonly V _oneMinusBeta2;
        private readonly V _decay;
        private readonly V _rate;
        private readonly V _inverseRootCorrection;
        private readonly V _epsilon;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public Update(in AdamWCoefficients c)
        {
            _gradientScale = L.Broadcast(c.GradientScale);
            _beta1 = L.Broadcast(c.Beta1);
            _beta2 = L.Broadcast(c.Beta2);
            _oneMinusBeta1 = L.Broadcast(1f - c.Beta1);
            _oneMinusBeta2 = L.Broadcast(1f - c.Beta2);
            _decay = L.Broadcast(1f - (c.LearningRate * c.WeightDecay));
            _rate = L.Broadcast(c.LearningRate / c.BiasCorrection1);
            _inverseRootCorrection = L.Broadcast(1f / MathF.Sqrt(c.BiasCorrection2));
            _epsilon = L.Broadcast(c.Epsilon);
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public V Apply(V weight, V gradient, ref V first, ref V second)
        {
            V g = L.Multiply(gradient, _gradientScale);
            first = L.MultiplyAdd(_beta1, first, L.Multiply(_oneMinusBeta1, g));
            second = L.MultiplyAdd(_beta2, second, L.Multiply(L.Multiply(_oneMinusBeta2, g), g));
            V denominator = L.MultiplyAdd(L.Sqrt(second), _inverseRootCorrection, _epsilon);
            V step = L.Divide(L.Multiply(_rate, first), denominator);
            return L.Subtract(L.Multiply(weight, _decay), step);
        }
    }
}
