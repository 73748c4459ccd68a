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

        x = Scale(x, config.EmbeddingScale);
        for (int layer = 0; layer < config.NumHiddenLayers; layer++)
        {
            x = Block(x, layer, batch, balance, ref auxiliary);
        }

        double[] head = config.TieWordEmbeddings ? weights["embedding"] : weights["head"];
        Logits = Scale(Linear(Norm(x, "final_norm"), head), config.LogitScale);
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

    private double[][] Block(double[][] x, int layer, TokenBatch batch, BalanceConfig balance, ref double auxiliary)
    {
        string name = $"layers.{layer}";
        double[][] first = Norm(x, $"{name}.attention_norm");
        ReferenceAttention attention = new(config, weights, layer, batch);
        double[][] attended = attention.Forward(first);
        ExpertIds.AddRange(attention.ExpertIds);
        if (config.AttentionExperts is { Kind: AttentionExpertsKind.Mixture } experts)
        {
            auxiliary += Balance(attention.RouterLogits, attention.RouterScores, attention.ExpertIds[0], experts.NumExperts, experts.TopK, batch, balance with { DeviceAlpha = 0, NumDeviceGroups = 1 });
        }

        ResidualScales scales = config.ResidualScales;
        bool isLinear = config.AttentionOf(layer) == AttentionKind.Linear;
        double[][] middle = config.BlockLayout switch
        {
            BlockLayout.SandwichNorm => Add(x, Norm(attended, $"{name}.attention_output_norm")),
            BlockLayout.NormedResidual => Add(
                Scale(first, isLinear ? scales.LinearAttentionAlpha : scales.FullAttentionAlpha), Scale(attended, isLinear ? scales.LinearAttentionBeta : scales.FullAttentionBeta)),
            _ => Add(x, attended),
        };
        bool isParallel = config.BlockLayout == BlockLayout.ParallelExperts && config.IsMoeLayer(layer);
        double[][] second = Norm(isParallel ? x : middle, $"{name}.feed_forward_norm");
        double[][] fed = config.IsMoeLayer(layer)
            ? IsPlain(config.Moe!) ? Moe(second, $"{name}.moe", batch, balance, ref auxiliary) : AnyMoe(second, layer)
            : FeedForward(second, weights[$"{name}.feed_forward.gate_up_projection"], weights[$"{name}.feed_forward.down_projection"]);
        if (config.IsMoeLayer(layer) && config.Moe!.HasOutputBias)
        {
            fed = [.. fed.Select(row => row.Zip(weights[$"{name}.moe.output_bias"], (value, bias) => value + bias).ToArray())];
        }

        if (isParallel)
        {
            double[][] dense = FeedForward(Norm(middle, $"{name}.residual_norm"), weights[$"{name}.residual_feed_forward.gate_up_projection"], weights[$"{name}.residual_feed_forward.down_projection"]);
            return Add(Add(middle, dense), fed);
        }

        return config.BlockLayout switch
        {
            BlockLayout.SandwichNorm => Add(middle, Norm(fed, $"{name}.feed_forward_output_norm")),
            BlockLayout.NormedResidual => Add(Scale(second, scales.FeedForwardAlpha), Scale(fed, scales.FeedForwardBeta)),
            _ => Add(middle, fed),
        };
    }

    // What the balance losses below are written for.
    private static bool IsPlain(MoeConfig moe) =>
        moe is { Scoring: RouterScoring.Softmax, NumGroups: 1, NormOrder: 1, HasSharedExpertGate: false, Activation: ExpertActivation.SwiGlu, HasRouterNetwork: false, HasExpertBias: false, ScalesNormalizedWeights: true };

    // Every other mixture, for logits alone.
    private double[][] AnyMoe(double[][] x, int layer)
    {
        string prefix = $"layers.{layer}.";
        Dictionary<string, double[]> own = weights.Where(pair => pair.Key.StartsWith(prefix, StringComparison.Ordinal)).ToDictionary(pair => pair.Key[prefix.Length..], pair => pair.Value);
        return [.. new ReferenceMoe(config.Moe!, config.HiddenSize, own).Forward([.. x.SelectMany(row => row)]).Chunk(config.HiddenSize)];
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
        auxiliary += Balance(logits, scores, ids, moe.NumExperts, moe.TopK, batch, balance);
        return moe.SharedWidth == 0
            ? output
            : Add(output, FeedForward(x, weights[$"{name}.shared_experts.gate_up_projection"], weights[$"{name}.shared_experts.down_projection"]));
    }

    private static double Balance(double[][] logits, double[][] scores, int[] ids, int numExperts, int topK, TokenBatch batch, BalanceConfig balance)
    {
        int length = balance.Scope == BalanceScope.Sequence ? batch.SequenceLength : batch.Count;
        int groups = batch.Count / length;
        double total = 0;
        for (int group = 0; group < groups; group++)
        {
            double[] f = new double[numExperts];
            double[] p = new double[numExperts];
            for (int t = group * length; t < (group + 1) * length; t++)
            {
                for (int k = 0; k < topK; k++)
                {
                    f[ids[(t * topK) + k]] += (double)numExperts / (topK * length);
                }

                for (int e = 0; e < numExperts; e++)
                {
                    p[e] += scores[t][e] / length;
                }
            }

            total += balance.ExpertAlpha * f.Zip(p, (a, b) => a * b).Sum() / groups;
            int size = numExperts / balance.NumDeviceGroups;
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

    private double[][] Norm(double[][] x, string name) => x.Select(row =>
    {
        double mean = config.UsesLayerNorm ? row.Average() : 0;
        double epsilon = name == "final_norm" && config.FinalNormEps > 0 ? config.FinalNormEps : config.RmsNormEps;
        double inverse = 1 / Math.Sqrt(row.Average(value => (value - mean) * (value - mean)) + epsilon);
        return row.Zip(weights[name], (value, weight) => (value - mean) * inverse * weight).ToArray();
    }).ToArray();

    private static double[][] Scale(double[][] x, double factor) => x.Select(row => row.Select(value => value * factor).ToArray()).ToArray();

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

    private static double LogSumExp(double[] row)
    {
        double max = row.Max();
        return max + Math.Log(row.Sum(value => Math.Exp(value - max)));
    }
}
