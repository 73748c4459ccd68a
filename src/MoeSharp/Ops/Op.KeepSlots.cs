using MoeSharp.Execution;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

public static partial class Op
{
    private const float KeptEpsilon = 1e-9f; // of Mesh TensorFlow's division

    /// <summary>Routing weights without the slots that were dropped, divided by their sum per token where asked.</summary>
    /// <param name="weights">[tokens, top_k].</param>
    /// <param name="expertIds">Expert of each slot, negative where dropped, [tokens * top_k].</param>
    /// <param name="isNormalized">Whether the weights left of a token are divided by their sum.</param>
    /// <param name="context">Context.</param>
    /// <returns>[tokens, top_k]; 0 where dropped.</returns>
    public static Tensor KeepSlots(Tensor weights, ReadOnlySpan<int> expertIds, bool isNormalized, ForwardContext context)
    {
        (int tokens, int topK) = (weights.Rows, weights.Columns);
        Tensor output = context.Pool.Rent(weights.Shape); // [tokens, top_k]
        for (int token = 0; token < tokens; token++)
        {
            ReadOnlySpan<float> row = weights.Data.Slice(token * topK, topK);
            ReadOnlySpan<int> ids = expertIds.Slice(token * topK, topK);
            float divisor = isNormalized ? KeptSum(row, ids) + KeptEpsilon : 1f;
            for (int slot = 0; slot < topK; slot++)
            {
                output.Data[(token * topK) + slot] = ids[slot] < 0 ? 0f : row[slot] / divisor;
            }
        }

        if (context.Tape is { } tape)
        {
            KeepSlotsNode node = tape.Record<KeepSlotsNode>(output, context.Timer.Current);
            (node.Weights, node.Result, node.IsNormalized) = (weights, output, isNormalized);
            node.ExpertIds = context.Indices.Rent(tokens * topK);
            expertIds.CopyTo(node.ExpertIds);
            node.Save(weights);
        }

        return output;
    }

    private static float KeptSum(ReadOnlySpan<float> weights, ReadOnlySpan<int> expertIds)
    {
        float sum = 0f;
        for (int slot = 0; slot < weights.Length; slot++)
        {
            sum += expertIds[slot] < 0 ? 0f : weights[slot];
        }

        return sum;
    }

    private sealed class KeepSlotsNode : TapeNode
    {
        public Tensor Weights = null!;
        public Tensor Result = null!;
        public int[] ExpertIds = [];
        public bool IsNormalized;

        // w'_j = w_j / D for kept j, D = sum of the kept + epsilon: dw_j = (dw'_j - sum_i dw'_i w'_i) / D; without the division dw_j = dw'_j
        public override void Backward(ForwardContext context)
        {
            Span<float> dWeights = GradientOf(Weights, context);
            int topK = Weights.Columns;
            for (int token = 0; token < Weights.Rows; token++)
            {
                ReadOnlySpan<int> ids = ExpertIds.AsSpan(token * topK, topK);
                ReadOnlySpan<float> dOutput = Result.Gradient.Slice(token * topK, topK);
                float divisor = IsNormalized ? KeptSum(Weights.Data.Slice(token * topK, topK), ids) + KeptEpsilon : 1f;
                float dot = 0f;
                for (int slot = 0; slot < topK && IsNormalized; slot++)
                {
                    dot += ids[slot] < 0 ? 0f : dOutput[slot] * Weights.Data[(token * topK) + slot] / divisor;
                }

                for (int slot = 0; slot < topK; slot++)
                {
                    dWeights[(token * topK) + slot] += ids[slot] < 0 ? 0f : (dOutput[slot] - dot) / divisor;
                }
            }
        }
    }
}
