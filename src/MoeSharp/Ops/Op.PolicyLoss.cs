using MoeSharp.Execution;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

public static partial class Op
{
    /// <summary>Gradient of a router that drew its choices: log-probabilities of choices weighed by how much better than expected the row's target came out.</summary>
    /// <remarks>
    /// L = -reduce((R - b) log p(drawn)) - entropy_coef reduce(H(p)) over rows with a target, R = -loss of the row's target, b the baseline, both without gradient.
    /// The rewards are there when the pass is walked back: then the loss is recorded too.
    /// </remarks>
    /// <param name="logits">[tokens, experts]; receives the gradient.</param>
    /// <param name="probs">Softmax of the logits.</param>
    /// <param name="logSumExp">[tokens].</param>
    /// <param name="expertIds">Drawn expert of each row; must stay unchanged until the pass ends.</param>
    /// <param name="expected">b of each row, [tokens].</param>
    /// <param name="rule">Reduction and entropy.</param>
    /// <param name="context">Context of a training pass, within a layer.</param>
    public static void AddPolicyLoss(Tensor logits, Tensor probs, Tensor logSumExp, int[] expertIds, Tensor expected, PolicyRule rule, ForwardContext context)
    {
        PolicyNode node = context.Tape!.Record<PolicyNode>(null, context.Timer.Current); // callers run it in training passes only
        (node.Logits, node.Probs, node.LogSumExp) = (logits, probs, logSumExp);
        (node.ExpertIds, node.Expected, node.Rule, node.Record) = (expertIds, expected, rule, context.Routing.Current);
        node.Save(logits);
        node.Save(probs);
        node.Save(logSumExp);
        node.Save(expected);
    }

    private sealed class PolicyNode : TapeNode
    {
        public Tensor Logits = null!;
        public Tensor Probs = null!;
        public Tensor LogSumExp = null!;
        public int[] ExpertIds = [];
        public Tensor Expected = null!;
        public PolicyRule Rule;
        public LayerRouting Record = null!;

        public override void Backward(ForwardContext context)
        {
            ReadOnlySpan<float> losses = context.RowLosses;
            if (losses.Length != Logits.Rows)
            {
                throw new InvalidOperationException($"a router that learns from rewards saw losses of {losses.Length} rows for its {Logits.Rows}");
            }

            int targets = context.Batch.CountTargets();
            double share = Rule.IsMean ? 1.0 / Math.Max(1, targets) : 1;
            Span<float> gradient = GradientOf(Logits, context);
            double loss = 0;
            for (int row = 0; row < losses.Length; row++)
            {
                if (context.Batch.Targets[row] >= 0)
                {
                    float advantage = -losses[row] - Expected.Data[row];
                    loss += AddRow(row, advantage, (float)(context.AuxiliaryScale * share), gradient.Slice(row * Logits.Columns, Logits.Columns));
                }
            }

            Record.Losses[AuxiliaryLoss.Policy] = share * loss;
        }

        // dL/dlogit_j = A (p_j - [j drawn]) + c p_j (log p_j + H); returns the row's loss
        private double AddRow(int row, float advantage, float factor, Span<float> gradient)
        {
            ReadOnlySpan<float> logits = Logits.Data.Slice(row * gradient.Length, gradient.Length);
            ReadOnlySpan<float> probs = Probs.Data.Slice(row * gradient.Length, gradient.Length);
            float logSumExp = LogSumExp.Data[row];
            float entropy = 0f;
            for (int expert = 0; expert < probs.Length; expert++)
            {
                entropy -= probs[expert] * (logits[expert] - logSumExp);
            }

            for (int expert = 0; expert < probs.Length; expert++)
            {
                float disorder = Rule.EntropyFactor * (logits[expert] - logSumExp + entropy);
                gradient[expert] += factor * probs[expert] * (advantage + disorder);
            }

            gradient[ExpertIds[row]] -= factor * advantage;
            return -(advantage * (logits[ExpertIds[row]] - logSumExp)) - (Rule.EntropyFactor * entropy);
        }
    }
}

/// <summary>What the loss of a router that learns from rewards is made of.</summary>
/// <param name="EntropyFactor">Factor of the entropy that is added to the reward: how much undecidedness is worth.</param>
/// <param name="IsMean">Whether the loss is the mean over rows with a target instead of their sum.</param>
public readonly record struct PolicyRule(float EntropyFactor, bool IsMean);
