using MoeSharp.Execution;
using MoeSharp.Model;

namespace MoeSharp.Tests.Reference;

/// <summary>The whole decoder in double precision, written as plainly as the equations: the oracle for losses and, by finite differences, for gradients.</summary>
internal sealed class ReferenceModel(ModelConfig config, IReadOnlyDictionary<string, double[]> weights)
{
    /// <summary>Routing choices of the last forward, per MoE layer, [tokens * top_k].</summary>
    public List<int[]> ExpertIds { get; } = [];

    /// <summary>Final logits, [tokens][vocab].</summary>
    public double[][] Logits { get; private set; } = [];

    /// <summary>Scaled cross-entropy plus auxiliary losses.</summary>
    public double TotalLoss(TokenBatch batch, BalanceConfig balance, double tokenScale, double auxiliaryScale)
    {
        ExpertIds.Clear();
        int tokens = batch.Count;
        double auxiliary = 0;
        double[][] x = new double[tokens][];
        for (int t = 0; t < tokens; t++)
        {
            x[t] = weights["embedding"].AsSpan(batch.TokenIds[t] * config.HiddenSize, config.HiddenSize).ToArray();
        }

        for (int layer = 0; layer < config.NumHiddenLayers; layer++)
        {
            string name = $"layers.{layer}";
            double[][] attended = Attention(RmsNorm(x, weights[$"{name}.attention_norm"]), $"{name}.attention", batch);
            x = Add(x, attended);
            double[][] normed = RmsNorm(x, weights[$"{name}.feed_forward_norm"]);
            double[][] fed = config.IsMoeLayer(layer)
                ? Moe(normed, $"{name}.moe", batch, balance, ref auxiliary)
                : FeedForward(normed, weights[$"{name}.feed_forward.gate_up_projection"], weights[$"{name}.feed_forward.down_projection"]);
            x = Add(x, fed);
        }

        double[] head = config.TieWordEmbeddings ? weights["embedding"] : weights["head"];
        Logits = Linear(RmsNorm(x, weights["final_norm"]), head);
        double loss = 0;
        for (int t = 0; t < tokens; t++)
        {
            if (batch.Targets[t] >= 0)
            {
                loss += LogSumExp(Logits[t]) - Logits[t][batch.Targets[t]];
            }
        }

        return (loss * tokenScale) + (auxiliary * auxiliaryScale);
    }

    private double[][] Attention(double[][] x, string name, TokenBatch batch)
    {
        (int heads, int kvHeads, int d) = (config.NumAttentionHeads, config.NumKeyValueHeads, config.HeadDim);
        double[][] qkv = Linear(x, weights[$"{name}.qkv_projection"]);
        if (config.AttentionBias)
        {
            qkv = AddBias(qkv, weights[$"{name}.qkv_bias"]);
        }

        for (int t = 0; t < x.Length; t++)
        {
            for (int head = 0; head < heads + kvHeads; head++)
            {
                for (int i = 0; i < d / 2; i++)
                {
                    double angle = batch.Positions[t] * Math.Pow(config.RopeTheta, -2.0 * i / d);
                    double first = qkv[t][(head * d) + i];
                    double second = qkv[t][(head * d) + i + (d / 2)];
                    qkv[t][(head * d) + i] = (first * Math.Cos(angle)) - (second * Math.Sin(angle));
                    qkv[t][(head * d) + i + (d / 2)] = (second * Math.Cos(angle)) + (first * Math.Sin(angle));
                }
            }
        }

        double[][] output = new double[x.Length][];
        foreach (MoeSharp.Kernels.AttentionSegment segment in batch.Segments.ToArray())
        {
            for (int i = 0; i < segment.QueryCount; i++)
            {
                int row = segment.QueryBegin + i;
                output[row] = new double[heads * d];
                for (int head = 0; head < heads; head++)
                {
                    int keyColumn = (heads * d) + (head / (heads / kvHeads) * d);
                    double[] scores = new double[i + 1];
                    for (int j = 0; j <= i; j++)
                    {
                        for (int c = 0; c < d; c++)
                        {
                            scores[j] += qkv[row][(head * d) + c] * qkv[segment.KeyBegin + j][keyColumn + c] / Math.Sqrt(d);
                        }
                    }

                    double lse = LogSumExp(scores);
                    for (int j = 0; j <= i; j++)
                    {
                        for (int c = 0; c < d; c++)
                        {
                            output[row][(head * d) + c] += Math.Exp(scores[j] - lse) * qkv[segment.KeyBegin + j][keyColumn + (kvHeads * d) + c];
                        }
                    }
                }
            }
        }

        double[][] projected = Linear(output, weights[$"{name}.output_projection"]);
        return config.AttentionBias ? AddBias(projected, weights[$"{name}.output_bias"]) : projected;
    }

    private double[][] Moe(double[][] x, string name, TokenBatch batch, BalanceConfig balance, ref double auxiliary)
    {
        MoeConfig moe = config.Moe!;
        double[][] logits = Linear(x, weights[$"{name}.router"]);
        double[][] scores = logits.Select(row => row.Select(value => Math.Exp(value - LogSumExp(row))).ToArray()).ToArray();
        int[] ids = new int[x.Length * moe.TopK];
        double[][] output = new double[x.Length][];
        double[] gateUp = weights[$"{name}.experts.gate_up_projection"];
        double[] down = weights[$"{name}.experts.down_projection"];
        int gateUpSize = 2 * moe.IntermediateSize * config.HiddenSize;
        int downSize = moe.IntermediateSize * config.HiddenSize;
        for (int t = 0; t < x.Length; t++)
        {
            int[] chosen = Enumerable.Range(0, moe.NumExperts).OrderByDescending(e => scores[t][e]).ThenBy(e => e).Take(moe.TopK).ToArray();
            double sum = chosen.Sum(e => scores[t][e]);
            output[t] = new double[config.HiddenSize];
            for (int k = 0; k < moe.TopK; k++)
            {
                int expert = chosen[k];
                ids[(t * moe.TopK) + k] = expert;
                double weight = scores[t][expert] * moe.RoutedScalingFactor / (moe.NormTopKProb && moe.TopK > 1 ? sum : 1.0);
                double[] result = FeedForward([x[t]], gateUp[(expert * gateUpSize)..((expert + 1) * gateUpSize)], down[(expert * downSize)..((expert + 1) * downSize)])[0];
                for (int h = 0; h < config.HiddenSize; h++)
                {
                    output[t][h] += weight * result[h];
                }
            }
        }

        ExpertIds.Add(ids);
        auxiliary += Balance(logits, scores, ids, batch, balance);
        return moe.NumSharedExperts == 0
            ? output
            : Add(output, FeedForward(x, weights[$"{name}.shared_experts.gate_up_projection"], weights[$"{name}.shared_experts.down_projection"]));
    }

    private double Balance(double[][] logits, double[][] scores, int[] ids, TokenBatch batch, BalanceConfig balance)
    {
        MoeConfig moe = config.Moe!;
        int length = balance.Scope == BalanceScope.Sequence ? batch.SequenceLength : batch.Count;
        int groups = batch.Count / length;
        double total = 0;
        for (int group = 0; group < groups; group++)
        {
            double[] f = new double[moe.NumExperts];
            double[] p = new double[moe.NumExperts];
            for (int t = group * length; t < (group + 1) * length; t++)
            {
                for (int k = 0; k < moe.TopK; k++)
                {
                    f[ids[(t * moe.TopK) + k]] += (double)moe.NumExperts / (moe.TopK * length);
                }

                for (int e = 0; e < moe.NumExperts; e++)
                {
                    p[e] += scores[t][e] / length;
                }
            }

            total += balance.ExpertAlpha * f.Zip(p, (a, b) => a * b).Sum() / groups;
            int size = moe.NumExperts / balance.NumDeviceGroups;
            for (int d = 0; d < balance.NumDeviceGroups; d++)
            {
                total += balance.DeviceAlpha * f.Skip(d * size).Take(size).Average() * p.Skip(d * size).Take(size).Sum() / groups;
            }
        }

        return total + (balance.ZLossAlpha * logits.Average(row => Math.Pow(LogSumExp(row), 2)));
    }

    private static double[][] FeedForward(double[][] x, double[] gateUp, double[] down)
    {
        double[][] both = Linear(x, gateUp);
        int intermediate = both[0].Length / 2;
        double[][] activation = both.Select(row => Enumerable.Range(0, intermediate).Select(f => row[f] / (1 + Math.Exp(-row[f])) * row[intermediate + f]).ToArray()).ToArray();
        return Linear(activation, down);
    }

    private double[][] RmsNorm(double[][] x, double[] weight) => x.Select(row =>
    {
        double inverse = 1 / Math.Sqrt(row.Average(value => value * value) + config.RmsNormEps);
        return row.Select((value, h) => value * inverse * weight[h]).ToArray();
    }).ToArray();

    private static double[][] Linear(double[][] x, double[] weight)
    {
        int width = x[0].Length;
        return x.Select(row => Enumerable.Range(0, weight.Length / width).Select(o =>
        {
            double sum = 0;
            for (int i = 0; i < width; i++)
            {
                sum += row[i] * weight[(o * width) + i];
            }

            return sum;
        }).ToArray()).ToArray();
    }

    private static double[][] Add(double[][] a, double[][] b) => a.Zip(b, (x, y) => x.Zip(y, (p, q) => p + q).ToArray()).ToArray();

    private static double[][] AddBias(double[][] x, double[] bias) => x.Select(row => row.Zip(bias, (p, q) => p + q).ToArray()).ToArray();

    private static double LogSumExp(double[] row)
    {
        double max = row.Max();
        return max + Math.Log(row.Sum(value => Math.Exp(value - max)));
    }
}
