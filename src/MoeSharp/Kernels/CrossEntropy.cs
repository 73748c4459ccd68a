using System.Runtime.CompilerServices;

namespace MoeSharp.Kernels;

/// <summary>Softmax cross-entropy of rows of logits.</summary>
/// <remarks>Legend: t row. One exponential per logit: the gradient scales the exponentials that the sum was made of.</remarks>
public static unsafe class CrossEntropy
{
    /// <summary>Writes -log softmax(logits)[target] per row, 0 where the target is negative (ignored).</summary>
    /// <exception cref="ShapeException">A span is too short or a target is not below <paramref name="vocab"/>.</exception>
    public static void Forward(WorkerPool workers, int rows, int vocab, ReadOnlySpan<float> logits, ReadOnlySpan<int> targets, Span<float> losses)
    {
        Check(rows, vocab, logits.Length, targets, losses.Length, "CrossEntropy.Forward");
        fixed (float* logitsStart = logits, lossesStart = losses)
        fixed (int* targetsStart = targets)
        {
            LaneRows.For(workers, rows, vocab, new ForwardJob { Vocab = vocab, Logits = logitsStart, Targets = targetsStart, Losses = lossesStart });
        }
    }

    /// <summary>As <see cref="Forward"/>, and overwrites the logits by the gradient of the loss times <paramref name="gradientScale"/>; ignored rows become zero.</summary>
    /// <exception cref="ShapeException">A span is too short or a target is not below <paramref name="vocab"/>.</exception>
    public static void ForwardBackward(WorkerPool workers, int rows, int vocab, Span<float> logits, ReadOnlySpan<int> targets, float gradientScale, Span<float> losses)
    {
        Check(rows, vocab, logits.Length, targets, losses.Length, "CrossEntropy.ForwardBackward");
        fixed (float* logitsStart = logits, lossesStart = losses)
        fixed (int* targetsStart = targets)
        {
            BackwardJob job = new() { Vocab = vocab, Logits = logitsStart, Targets = targetsStart, GradientScale = gradientScale, Losses = lossesStart };
            LaneRows.For(workers, rows, vocab, job);
        }
    }

    private static void Check(int rows, int vocab, int numLogits, ReadOnlySpan<int> targets, int numLosses, string operation)
    {
        Require.Length(numLogits, (long)rows * vocab, operation, "logits");
        Require.Length(targets.Length, rows, operation, "targets");
        Require.Length(numLosses, rows, operation, "losses");
        Require.Indices(targets[..rows], int.MinValue, vocab, operation, "targets");
    }

    // A row of nothing but negative infinities gives no token a chance: its loss is infinite.
    private static float Loss(float max, float sum, float targetLogit) =>
        sum == 0f ? float.PositiveInfinity : MathF.Log(sum) + (max - targetLogit);

    private struct ForwardJob : ILaneRows
    {
        public int Vocab;
        public float* Logits;
        public int* Targets;
        public float* Losses;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public readonly void Run<L, V>(int begin, int end)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            for (int t = begin; t < end; t++)
            {
                if (Targets[t] < 0)
                {
                    Losses[t] = 0f;
                    continue;
                }

                float* row = Logits + ((long)t * Vocab);
                float max = SoftmaxRow.Max<L, V>(row, Vocab);
                Losses[t] = Loss(max, SoftmaxRow.ExpSum<L, V>(row, SoftmaxRow.Shift(max), Vocab), row[Targets[t]]);
            }
        }
    }

    private struct BackwardJob : ILaneRows
    {
        public int Vocab;
        public float* Logits;
        public int* Targets;
        public float GradientScale;
        public float* Losses;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public readonly void Run<L, V>(int begin, int end)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            for (int t = begin; t < end; t++)
            {
                float* row = Logits + ((long)t * Vocab);
                int target = Targets[t];
                if (target < 0)
                {
                    Losses[t] = 0f;
                    new Span<float>(row, Vocab).Clear();
                    continue;
                }

                float targetLogit = row[target];
                float max = SoftmaxRow.Max<L, V>(row, Vocab);
                float sum = SoftmaxRow.ExpInto<L, V>(row, SoftmaxRow.Shift(max), Vocab, row);
                Losses[t] = Loss(max, sum, targetLogit);
                SoftmaxRow.Scale<L, V>(row, sum == 0f ? 0f : GradientScale / sum, Vocab);
                row[target] -= GradientScale;
            }
        }
    }
}
