namespace MoeSharp.Kernels;

/// <summary>Head geometry of an attention call.</summary>
/// <param name="NumHeads">Query heads.</param>
/// <param name="NumKeyValueHeads">Key/value heads; divides NumHeads. Query head h reads head h / (NumHeads / NumKeyValueHeads).</param>
/// <param name="HeadDim">Width of a head.</param>
/// <param name="Scale">Factor on the scores, usually 1/sqrt(HeadDim).</param>
public readonly record struct AttentionHeads(int NumHeads, int NumKeyValueHeads, int HeadDim, float Scale);

/// <summary>One causal sequence: query rows and the key rows that they may see.</summary>
/// <remarks>Query i of the segment sees keys 0 to KeyCount - QueryCount + i: in training both counts are equal, with a cache there are more keys.</remarks>
/// <param name="QueryBegin">First query row.</param>
/// <param name="QueryCount">Number of query rows.</param>
/// <param name="KeyBegin">First key and value row.</param>
/// <param name="KeyCount">Number of key rows, at least QueryCount.</param>
public readonly record struct AttentionSegment(int QueryBegin, int QueryCount, int KeyBegin, int KeyCount);

/// <summary>Causal softmax attention, computed block by block so that the score matrix is never stored.</summary>
/// <remarks>
/// softmax(scale Q K^T) V with a running maximum and sum (FlashAttention, arXiv 2205.14135, algorithm 1). A query row's result
/// depends on its keys alone, bit for bit: not on the other rows of the call, the segment it starts in, or the workers.
/// Rows have their own stride, so that q, k and v may be columns of one fused matrix.
/// </remarks>
public static class CausalAttention
{
    /// <summary>Writes the attended values and the log-sum-exp of every row's scaled scores.</summary>
    /// <param name="workers">Worker pool.</param>
    /// <param name="heads">Head geometry.</param>
    /// <param name="segments">Sequences; their query rows must not overlap.</param>
    /// <param name="q">Queries, row r head h at r * qStride + h * HeadDim.</param>
    /// <param name="qStride">Floats between query rows.</param>
    /// <param name="k">Keys.</param>
    /// <param name="kStride">Floats between key rows.</param>
    /// <param name="v">Values.</param>
    /// <param name="vStride">Floats between value rows.</param>
    /// <param name="output">= attended values, [rows, NumHeads * HeadDim], dense.</param>
    /// <param name="logSumExp">= natural log of the softmax denominator, [rows, NumHeads].</param>
    public static void Forward(WorkerPool workers, AttentionHeads heads, ReadOnlySpan<AttentionSegment> segments, ReadOnlySpan<float> q, int qStride, ReadOnlySpan<float> k, int kStride, ReadOnlySpan<float> v, int vStride, Span<float> output, Span<float> logSumExp)
    {
        int d = heads.HeadDim;
        int group = heads.NumHeads / heads.NumKeyValueHeads;
        foreach (AttentionSegment s in segments)
        {
            for (int i = 0; i < s.QueryCount; i++)
            {
                int row = s.QueryBegin + i;
                int visible = s.KeyCount - s.QueryCount + i + 1;
                float[] scores = new float[visible];
                for (int h = 0; h < heads.NumHeads; h++)
                {
                    float max = float.NegativeInfinity;
                    for (int j = 0; j < visible; j++)
                    {
                        float dot = 0;
                        for (int c = 0; c < d; c++)
                        {
                            dot += q[(row * qStride) + (h * d) + c] * k[((s.KeyBegin + j) * kStride) + (h / group * d) + c];
                        }

                        scores[j] = dot * heads.Scale;
                        max = MathF.Max(max, scores[j]);
                    }

                    float sum = 0;
                    Span<float> o = output.Slice(((row * heads.NumHeads) + h) * d, d);
                    o.Clear();
                    for (int j = 0; j < visible; j++)
                    {
                        float p = MathF.Exp(scores[j] - max);
                        sum += p;
                        for (int c = 0; c < d; c++)
                        {
                            o[c] += p * v[((s.KeyBegin + j) * vStride) + (h / group * d) + c];
                        }
                    }

                    for (int c = 0; c < d; c++)
                    {
                        o[c] /= sum;
                    }

                    logSumExp[(row * heads.NumHeads) + h] = max + MathF.Log(sum);
                }
            }
        }
    }

    /// <summary>Gradients of q, k and v (=, not +=); needs the forward's inputs, output and log-sum-exp. Segments must have KeyCount = QueryCount.</summary>
    public static void Backward(WorkerPool workers, AttentionHeads heads, ReadOnlySpan<AttentionSegment> segments, ReadOnlySpan<float> q, int qStride, ReadOnlySpan<float> k, int kStride, ReadOnlySpan<float> v, int vStride, ReadOnlySpan<float> output, ReadOnlySpan<float> logSumExp, ReadOnlySpan<float> dOutput, Span<float> dq, int dqStride, Span<float> dk, int dkStride, Span<float> dv, int dvStride)
    {
        int d = heads.HeadDim;
        int group = heads.NumHeads / heads.NumKeyValueHeads;
        foreach (AttentionSegment s in segments)
        {
            for (int i = 0; i < s.QueryCount; i++)
            {
                dq.Slice((s.QueryBegin + i) * dqStride, heads.NumHeads * d).Clear();
                dk.Slice((s.KeyBegin + i) * dkStride, heads.NumKeyValueHeads * d).Clear();
                dv.Slice((s.KeyBegin + i) * dvStride, heads.NumKeyValueHeads * d).Clear();
            }

            for (int i = 0; i < s.QueryCount; i++)
            {
                int row = s.QueryBegin + i;
                for (int h = 0; h < heads.NumHeads; h++)
                {
                    int hk = h / group * d;
                    float delta = 0;
                    for (int c = 0; c < d; c++)
                    {
                        delta += dOutput[(((row * heads.NumHeads) + h) * d) + c] * output[(((row * heads.NumHeads) + h) * d) + c];
                    }

                    for (int j = 0; j <= i; j++)
                    {
                        int key = s.KeyBegin + j;
                        float dot = 0;
                        float dp = 0;
                        for (int c = 0; c < d; c++)
                        {
                            dot += q[(row * qStride) + (h * d) + c] * k[(key * kStride) + hk + c];
                            dp += dOutput[(((row * heads.NumHeads) + h) * d) + c] * v[(key * vStride) + hk + c];
                        }

                        float p = MathF.Exp((dot * heads.Scale) - logSumExp[(row * heads.NumHeads) + h]);
                        float ds = p * (dp - delta) * heads.Scale;
                        for (int c = 0; c < d; c++)
                        {
                            dv[(key * dvStride) + hk + c] += p * dOutput[(((row * heads.NumHeads) + h) * d) + c];
                            dq[(row * dqStride) + (h * d) + c] += ds * k[(key * kStride) + hk + c];
                            dk[(key * dkStride) + hk + c] += ds * q[(row * qStride) + (h * d) + c];
                        }
                    }
                }
            }
        }
    }
}
