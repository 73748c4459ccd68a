using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

public static partial class Op
{
    private const float NormEpsilon = 1e-20f; // of the released DeepSeekMoE gate

    /// <summary>Keeps the k largest scores of each row; ties go to the lowest index.</summary>
    /// <param name="scores">[tokens, experts].</param>
    /// <param name="topK">Number kept.</param>
    /// <param name="isNormalized">Whether the kept scores are divided by their sum (only for k above 1).</param>
    /// <param name="scale">Factor on the weights.</param>
    /// <param name="expertIds">= chosen columns, [tokens * topK], descending score.</param>
    /// <param name="context">Context.</param>
    /// <returns>Routing weights, [tokens, top_k].</returns>
    public static Tensor SelectTopK(Tensor scores, int topK, bool isNormalized, float scale, Span<int> expertIds, ForwardContext context)
    {
        (int tokens, int experts) = (scores.Rows, scores.Columns);
        TopK.Select(context.Workers, tokens, experts, topK, scores.Data, expertIds);
        Tensor weights = context.Pool.Rent(new Shape(tokens, topK)); // [tokens, top_k]
        Span<float> values = scores.Data;
        Span<float> output = weights.Data;
        bool divides = isNormalized && topK > 1;
        for (int token = 0; token < tokens; token++)
        {
            float sum = 0f;
            for (int slot = token * topK; slot < (token + 1) * topK; slot++)
            {
                output[slot] = values[(token * experts) + expertIds[slot]];
                sum += output[slot];
            }

            float factor = divides ? scale / (sum + NormEpsilon) : scale;
            for (int slot = token * topK; slot < (token + 1) * topK; slot++)
            {
                output[slot] *= factor;
            }
        }

        if (context.Tape is { } tape)
        {
            TopKNode node = tape.Record<TopKNode>(weights, context.Timer.Current);
            (node.Scores, node.Result, node.Divides, node.Scale) = (scores, weights, divides, scale);
            node.ExpertIds = context.Indices.Rent(tokens * topK);
            expertIds.CopyTo(node.ExpertIds);
            node.Save(scores);
        }

        return weights;
    }

    private sealed class TopKNode : TapeNode
    {
        public Tensor Scores = null!;
        public Tensor Result = null!;
        public int[] ExpertIds = [];
        public bool Divides;
        public float Scale;

        public override void Backward(ForwardContext context)
        {
            Span<float> dScores = Scores.WriteGradient(out bool accumulate);
            if (!accumulate)
            {
                Elementwise.Clear(context.Workers, dScores);
            }

            (int tokens, int experts, int topK) = (Scores.Rows, Scores.Columns, Result.Columns);
            Span<float> scores = Scores.Data;
            Span<float> dWeights = Result.Gradient;
            for (int token = 0; token < tokens; token++)
            {
                // w_j = scale s_j / S  =>  ds_j = scale (dw_j - sum_i dw_i s_i / S) / S; without the division ds_j = scale dw_j
                float sum = Divides ? NormEpsilon : 1f;
                float dot = 0f;
                for (int slot = token * topK; Divides && slot < (token + 1) * topK; slot++)
                {
                    float score = scores[(token * experts) + ExpertIds[slot]];
                    sum += score;
                    dot += dWeights[slot] * score;
                }

                for (int slot = token * topK; slot < (token + 1) * topK; slot++)
                {
                    dScores[(token * experts) + ExpertIds[slot]] += Scale * (dWeights[slot] - (dot / sum)) / sum;
                }
            }
        }
    }
}
