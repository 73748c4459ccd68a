using MoeSharp.Execution;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

public static partial class Op
{
    /// <summary>Routing weights of a plan with a slot for every expert: the scores of those chosen times a factor, 0 for the others.</summary>
    /// <param name="scores">[tokens, experts].</param>
    /// <param name="expertIds">Negative where the expert is not chosen, at least [tokens * experts]; must stay unchanged until the pass ends.</param>
    /// <param name="scale">Factor.</param>
    /// <param name="context">Context.</param>
    /// <returns>Routing weights, [tokens, experts].</returns>
    public static Tensor KeepScores(Tensor scores, int[] expertIds, float scale, ForwardContext context)
    {
        Tensor weights = context.Pool.Rent(scores.Shape); // [tokens, experts]
        Span<float> kept = weights.Data;
        ReadOnlySpan<float> values = scores.Data;
        for (int slot = 0; slot < kept.Length; slot++)
        {
            kept[slot] = expertIds[slot] < 0 ? 0f : scale * values[slot];
        }

        if (context.Tape is { } tape)
        {
            KeepScoresNode node = tape.Record<KeepScoresNode>(weights, context.Timer.Current);
            (node.Scores, node.ExpertIds, node.Scale, node.Result) = (scores, expertIds, scale, weights);
        }

        return weights;
    }

    private sealed class KeepScoresNode : TapeNode
    {
        public Tensor Scores = null!;
        public int[] ExpertIds = [];
        public float Scale;
        public Tensor Result = null!;

        public override void Backward(ForwardContext context)
        {
            Span<float> gradient = Scores.WriteGradient(out bool accumulate);
            ReadOnlySpan<float> given = Result.Gradient;
            for (int slot = 0; slot < gradient.Length; slot++)
            {
                gradient[slot] = (accumulate ? gradient[slot] : 0f) + (ExpertIds[slot] < 0 ? 0f : Scale * given[slot]);
            }
        }
    }
}
