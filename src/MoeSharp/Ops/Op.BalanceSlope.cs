using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

public static partial class Op
{
    /// <summary>Gives every row of a group the same gradient: what a loss that is linear in the group's mean score leaves behind.</summary>
    /// <param name="scores">[tokens, experts].</param>
    /// <param name="slopes">Gradient per row of each group, [groups, experts].</param>
    /// <param name="context">Context of a training pass.</param>
    public static void AddSlopes(Tensor scores, Tensor slopes, ForwardContext context)
    {
        SlopeNode node = context.Tape!.Record<SlopeNode>(null, context.Timer.Current); // callers run it in training passes only
        (node.Scores, node.Slopes) = (scores, slopes);
        node.Save(slopes);
    }

    /// <summary>Gives every row the gradient of the expert-level loss over all layers; loads are taken when the pass is walked back, after the last layer.</summary>
    /// <param name="scores">[tokens, experts].</param>
    /// <param name="factor">Factor on the loss.</param>
    /// <param name="context">Context of a training pass.</param>
    public static void AddJointSlopes(Tensor scores, float factor, ForwardContext context)
    {
        JointSlopeNode node = context.Tape!.Record<JointSlopeNode>(null, context.Timer.Current); // callers run it in training passes only
        (node.Scores, node.Factor) = (scores, factor);
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

    private sealed class SlopeNode : TapeNode
    {
        public Tensor Scores = null!;
        public Tensor Slopes = null!;

        public override void Backward(ForwardContext context)
        {
            Span<float> gradient = Scores.WriteGradient(out bool accumulate);
            if (!accumulate)
            {
                Elementwise.Clear(context.Workers, gradient);
            }

            int experts = Scores.Columns;
            int rows = Scores.Rows / Slopes.Rows;
            for (int group = 0; group < Slopes.Rows; group++)
            {
                Elementwise.AddBias(context.Workers, rows, experts, Slopes.Data.Slice(group * experts, experts), gradient.Slice(group * rows * experts, rows * experts));
            }
        }
    }

    private sealed class JointSlopeNode : TapeNode
    {
        private float[] _slopes = []; // [experts]

        public Tensor Scores = null!;
        public float Factor;

        // L = factor sum_i f_i P_i, P_i a mean over layers * tokens rows.
        public override void Backward(ForwardContext context)
        {
            (int tokens, int experts) = (Scores.Rows, Scores.Columns);
            Array.Resize(ref _slopes, experts);
            for (int expert = 0; expert < experts; expert++)
            {
                _slopes[expert] = (float)(Factor * context.Routing.JointLoad(expert) / ((double)context.Routing.NumLayers * tokens));
            }

            Span<float> gradient = Scores.WriteGradient(out bool accumulate);
            if (!accumulate)
            {
                Elementwise.Clear(context.Workers, gradient);
            }

            Elementwise.AddBias(context.Workers, tokens, experts, _slopes, gradient);
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
            Span<float> gradient = Logits.WriteGradient(out bool accumulate);
            Span<float> probs = Probs.Data;
            int experts = Logits.Columns;
            for (int token = 0; token < Logits.Rows; token++)
            {
                float slope = Factor * 2f * LogSumExp.Data[token] / Logits.Rows;
                for (int index = token * experts; index < (token + 1) * experts; index++)
                {
                    gradient[index] = (accumulate ? gradient[index] : 0f) + (slope * probs[index]);
                }
            }
        }
    }
}
