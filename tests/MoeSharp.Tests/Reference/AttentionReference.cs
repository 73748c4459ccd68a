using MoeSharp.Kernels;

namespace MoeSharp.Tests.Reference;

/// <summary>Causal attention of one fused matrix as the formula reads, in double precision with stored scores.</summary>
/// <remarks>Rows of the matrix are queries, keys, values: [rows, (heads + 2 kv_heads) * head_dim].</remarks>
internal static class AttentionReference
{
    public static int Stride(AttentionHeads heads) => (heads.NumHeads + (2 * heads.NumKeyValueHeads)) * heads.HeadDim;

    /// <summary>Attended values, [rows, heads * head_dim], of segments whose keys are their queries' rows.</summary>
    public static double[] Forward(AttentionHeads heads, AttentionSegment[] segments, double[] qkv)
    {
        int stride = Stride(heads);
        double[] output = new double[qkv.Length / stride * heads.NumHeads * heads.HeadDim];
        ForEachRow(heads, segments, qkv, (row, head, keyBegin, probabilities) =>
        {
            for (int j = 0; j < probabilities.Length; j++)
            {
                for (int c = 0; c < heads.HeadDim; c++)
                {
                    output[(((row * heads.NumHeads) + head) * heads.HeadDim) + c] += probabilities[j] * qkv[Value(heads, keyBegin + j, head) + c];
                }
            }
        });
        return output;
    }

    /// <summary>Gradient of the fused matrix.</summary>
    public static double[] Backward(AttentionHeads heads, AttentionSegment[] segments, double[] qkv, double[] dOutput)
    {
        double[] gradient = new double[qkv.Length];
        ForEachRow(heads, segments, qkv, (row, head, keyBegin, probabilities) =>
        {
            int q = Query(heads, row, head);
            int o = ((row * heads.NumHeads) + head) * heads.HeadDim;
            double[] dProbabilities = new double[probabilities.Length];
            for (int j = 0; j < probabilities.Length; j++)
            {
                for (int c = 0; c < heads.HeadDim; c++)
                {
                    dProbabilities[j] += dOutput[o + c] * qkv[Value(heads, keyBegin + j, head) + c];
                    gradient[Value(heads, keyBegin + j, head) + c] += probabilities[j] * dOutput[o + c];
                }
            }

            double mean = probabilities.Zip(dProbabilities, (p, dp) => p * dp).Sum();
            for (int j = 0; j < probabilities.Length; j++)
            {
                double ds = probabilities[j] * (dProbabilities[j] - mean) * heads.Scale;
                int k = Key(heads, keyBegin + j, head);
                for (int c = 0; c < heads.HeadDim; c++)
                {
                    gradient[q + c] += ds * qkv[k + c];
                    gradient[k + c] += ds * qkv[q + c];
                }
            }
        });
        return gradient;
    }

    /// <summary>Attended values, [rows, heads * value_dim], with every option: windows, capped scores, sinks, values of their own width.</summary>
    public static double[] General(AttentionHeads heads, AttentionSegment[] segments, double[] q, double[] k, double[] v, int vStride, double[] sinks)
    {
        int group = heads.NumHeads / heads.NumKeyValueHeads;
        (int qStride, int kStride) = (heads.NumHeads * heads.HeadDim, heads.NumKeyValueHeads * heads.HeadDim);
        double[] output = new double[q.Length / heads.HeadDim * heads.ValueDim];
        foreach (AttentionSegment segment in segments)
        {
            for (int i = 0; i < segment.QueryCount; i++)
            {
                int position = segment.KeyCount - segment.QueryCount + i;
                int firstKey = heads.Window == 0 ? 0 : Math.Max(0, position - heads.Window + 1);
                for (int head = 0; head < heads.NumHeads; head++)
                {
                    int row = segment.QueryBegin + i;
                    double[] scores = new double[position - firstKey + 1 + (sinks.Length > 0 ? 1 : 0)]; // the sink last
                    for (int j = firstKey; j <= position; j++)
                    {
                        double score = 0;
                        for (int c = 0; c < heads.HeadDim; c++)
                        {
                            score += heads.Scale * q[(row * qStride) + (head * heads.HeadDim) + c] * k[((segment.KeyBegin + j) * kStride) + (head / group * heads.HeadDim) + c];
                        }

                        scores[j - firstKey] = heads.ScoreCap == 0 ? score : heads.ScoreCap * Math.Tanh(score / heads.ScoreCap);
                    }

                    if (sinks.Length > 0)
                    {
                        scores[^1] = sinks[head];
                    }

                    double[] probabilities = RowReference.Softmax(1, scores.Length, scores);
                    for (int j = firstKey; j <= position; j++)
                    {
                        for (int c = 0; c < heads.ValueDim; c++)
                        {
                            output[(((row * heads.NumHeads) + head) * heads.ValueDim) + c] += probabilities[j - firstKey] * v[((segment.KeyBegin + j) * vStride) + (head / group * heads.ValueDim) + c];
                        }
                    }
                }
            }
        }

        return output;
    }

    private static int Query(AttentionHeads heads, int row, int head) => (row * Stride(heads)) + (head * heads.HeadDim);

    private static int Key(AttentionHeads heads, int row, int head) =>
        (row * Stride(heads)) + ((heads.NumHeads + (head / (heads.NumHeads / heads.NumKeyValueHeads))) * heads.HeadDim);

    private static int Value(AttentionHeads heads, int row, int head) => Key(heads, row, head) + (heads.NumKeyValueHeads * heads.HeadDim);

    private static void ForEachRow(AttentionHeads heads, AttentionSegment[] segments, double[] qkv, Action<int, int, int, double[]> visit)
    {
        foreach (AttentionSegment segment in segments)
        {
            for (int i = 0; i < segment.QueryCount; i++)
            {
                for (int head = 0; head < heads.NumHeads; head++)
                {
                    int q = Query(heads, segment.QueryBegin + i, head);
                    double[] scores = new double[segment.KeyCount - segment.QueryCount + i + 1];
                    for (int j = 0; j < scores.Length; j++)
                    {
                        int k = Key(heads, segment.KeyBegin + j, head);
                        for (int c = 0; c < heads.HeadDim; c++)
                        {
                            scores[j] += heads.Scale * qkv[q + c] * qkv[k + c];
                        }
                    }

                    visit(segment.QueryBegin + i, head, segment.KeyBegin, RowReference.Softmax(1, scores.Length, scores));
                }
            }
        }
    }
}
