using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

public static partial class Op
{
    /// <summary>Gives every real row of a group the same gradient: what a loss that is linear in the group's mean score leaves behind. Padding gets none.</summary>
    /// <param name="scores">[tokens, experts].</param>
    /// <param name="slopes">Gradient per row of each group, [groups, experts].</param>
    /// <param name="ends">Row after the last of each group; must stay unchanged until the pass ends.</param>
    /// <param name="context">Context of a training pass.</param>
    public static void AddSlopes(Tensor scores, Tensor slopes, int[] ends, ForwardContext context)
    {
        SlopeNode node = context.Tape!.Record<SlopeNode>(null, context.Timer.Current); // callers run it in training passes only
        (node.Scores, node.Slopes, node.Ends) = (scores, slopes, ends);
        node.Save(slopes);
    }

    /// <summary>Gives every used slot of a real row the slope of its expert: the gradient of a loss in the sums of routing weights.</summary>
    /// <param name="weights">[tokens, top_k].</param>
    /// <param name="expertIds">[tokens * top_k]; negative where a slot is not used.</param>
    /// <param name="slopes">[1, experts].</param>
    /// <param name="context">Context of a training pass.</param>
    public static void AddImportanceSlopes(Tensor weights, ReadOnlySpan<int> expertIds, Tensor slopes, ForwardContext context)
    {
        ImportanceNode node = context.Tape!.Record<ImportanceNode>(null, context.Timer.Current); // callers run it in training passes only
        (node.Weights, node.Slopes) = (weights, slopes);
        node.ExpertIds = context.Indices.Rent(expertIds.Length);
        expertIds.CopyTo(node.ExpertIds);
        node.Save(slopes);
    }

    /// <summary>Gives every row the gradient of the expert-level loss over all layers; loads are taken when the pass is walked back, after the last layer.</summary>
    /// <param name="scores">[tokens, experts].</param>
    /// <param name="factor">Factor on the loss.</param>
    /// <param name="pass">The layers that are one to the loss.</param>
    /// <param name="context">Context of a training pass.</param>
    public static void AddJointSlopes(Tensor scores, float factor, RoutingRecord pass, ForwardContext context)
    {
        JointSlopeNode node = context.Tape!.Record<JointSlopeNode>(null, context.Timer.Current); // callers run it in training passes only
        (node.Scores, node.Factor, node.Pass) = (scores, factor, pass);
    }

    /// <summary>Gradient of the mean squared log-sum-exp of router logits: 2 lse / tokens * softmax per row.</summary>
    /// <param name="logits">[tokens, experts].</param>
    /// <param name="probs">Softmax of the logits.</param>
    /// <param name="logSumExp">[tokens].</param>
    /// <param name="factor">Factor on the loss.</param>
    /// <param name="context">Context of a training pass.</param>
    public static void AddZLoss(Tensor logits, Tensor probs, Tensor logSumExp, float factor, ForwardContext context)
    {
        ZLossNode node = context.Tape!.Record<ZLossNode>(null, context.Timer.Current); // callers run it in training passes only
        (node.Logits, node.Probs, node.LogSumExp, node.Factor) = (logits, probs, logSumExp, factor);
        node.Save(probs);
        node.Save(logSumExp);
    }

    // Adds one vector to the real rows of a run.
    private static void AddToRows(ReadOnlySpan<float> slopes, int begin, int end, Span<float> gradient, ForwardContext context)
    {
        int columns = slopes.Length;
        for ((int Begin, int End) run = context.Batch.RealRun(begin, end); run.Begin < run.End; run = context.Batch.RealRun(run.End, end))
        {
            Elementwise.AddBias(context.Workers, run.End - run.Begin, columns, slopes, gradient[(run.Begin * columns)..(run.End * columns)]);
        }
    }

    private sealed class SlopeNode : TapeNode
    {
        public Tensor Scores = null!;
        public Tensor Slopes = null!;
        public int[] Ends = [];

        public override void Backward(ForwardContext context)
        {
            Span<float> gradient = Scores.WriteGradient(out bool accumulate);
            bool isFirst = !accumulate && context.Batch.IsPadding.Length == 0; // then groups cover all rows, and nothing need be zeroed
            if (!accumulate && !isFirst)
            {
                Elementwise.Clear(context.Workers, gradient);
            }

            for (int group = 0; group < Slopes.Rows; group++)
            {
                if (isFirst)
                {
                    (int begin, int end) = (group == 0 ? 0 : Ends[group - 1], Ends[group]);
                    Elementwise.RepeatRow(context.Workers, end - begin, Scores.Columns, Slopes.Data.Slice(group * Scores.Columns, Scores.Columns), gradient[(begin * Scores.Columns)..(end * Scores.Columns)]);
                    continue;
                }

                AddToRows(Slopes.Data.Slice(group * Scores.Columns, Scores.Columns), group == 0 ? 0 : Ends[group - 1], Ends[group], gradient, context);
            }
        }
    }

    private sealed class ImportanceNode : TapeNode
    {
        public Tensor Weights = null!;
        public Tensor Slopes = null!;
        public int[] ExpertIds = [];

        public override void Backward(ForwardContext context)
        {
            Span<float> gradient = GradientOf(Weights, context);
            ReadOnlySpan<bool> isPadding = context.Batch.IsPadding;
            ReadOnlySpan<float> slopes = Slopes.Data;
            for (int slot = 0; slot < gradient.Length; slot++)
            {
                if (ExpertIds[slot] >= 0 && (isPadding.Length == 0 || !isPadding[slot / Weights.Columns]))
                {
                    gradient[slot] += slopes[ExpertIds[slot]];
                }
            }
        }
    }

    private sealed class JointSlopeNode : TapeNode
    {
        private float[] _slopes = []; // [experts]

        public Tensor Scores = null!;
        public float Factor;
        public RoutingRecord Pass = null!;

        // L = factor sum_i f_i P_i, P_i a mean over layers * tokens rows.
        public override void Backward(ForwardContext context)
        {
            int tokens = context.Batch.CountReal();
            ReadOnlySpan<double> loads = Pass.JointLoads();
            Array.Resize(ref _slopes, Scores.Columns);
            for (int expert = 0; expert < _slopes.Length; expert++)
            {
                _slopes[expert] = (float)(Factor * loads[expert] / ((double)Pass.NumLayers * tokens));
            }

            AddToRows(_slopes, 0, Scores.Rows, GradientOf(Scores, context), context);
        }
    }

    private sealed class ZLossNode : TapeNode
    {
        public Tensor Logits = null!;
        public Tensor Probs = null!;
        public Tensor LogSumExp = null!;
        public float Factor;

        public override void Backward(ForwardContext context)
        {
            Span<float> gradient = GradientOf(Logits, context);
            Span<float> probs = Probs.Data;
            ReadOnlySpan<bool> isPadding = context.Batch.IsPadding;
            int experts = Logits.Columns;
            int tokens = context.Batch.CountReal();
            for (int token = 0; token < Logits.Rows; token++)
            {
                if (isPadding.Length > 0 && isPadding[token])
                {
                    continue;
                }

                float slope = Factor * 2f * LogSumExp.Data[token] / tokens;
                for (int index = token * experts; index < (token + 1) * experts; index++)
                {
                    gradient[index] += slope * probs[index];
                }
            }
        }
    }
}
