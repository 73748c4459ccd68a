using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;

namespace MoeSharp.Tests.Reference;

/// <summary>Attention of every kind in double precision: scores and values of each head written out, latent attention with its keys and values expanded.</summary>
internal sealed partial class ReferenceAttention(ModelConfig config, IReadOnlyDictionary<string, double[]> weights, int layer, TokenBatch batch)
{
    private readonly string _name = $"layers.{layer}.attention";

    public double[][] Forward(double[][] x)
    {
        if (config.AttentionExperts is { } experts)
        {
            double[][] mixed = experts.Kind == AttentionExpertsKind.Mixture ? Mixture(x, experts) : SwitchHead(x, experts);
            return config.AttentionOutputBias ? Add(mixed, "output_bias") : mixed;
        }

        double[][] attended = config.AttentionOf(layer) == AttentionKind.Linear ? Lightning(x) : config.LatentAttention is { } latent ? Latent(x, latent) : Grouped(x);
        double[][] output = Linear(attended, "output_projection");
        return config.AttentionOutputBias && config.AttentionOf(layer) != AttentionKind.Linear ? Add(output, "output_bias") : output;
    }

    private double[][] Grouped(double[][] x)
    {
        (int heads, int kvHeads, int d) = (config.NumAttentionHeads, config.NumKeyValueHeads, config.HeadDim);
        double[][] qkv = Linear(x, "qkv_projection");
        qkv = config.AttentionBias ? Add(qkv, "qkv_bias") : qkv;
        double[][][] rows = new double[x.Length][][]; // [token][head: queries, keys, values][d]
        for (int t = 0; t < x.Length; t++)
        {
            double[] q = qkv[t][..(heads * d)];
            double[] k = qkv[t][(heads * d)..((heads + kvHeads) * d)];
            double[] v = qkv[t][((heads + kvHeads) * d)..];
            if (config.QueryKeyNorm == QueryKeyNorm.WholeProjection)
            {
                (q, k) = (Norm(q, "query_norm", config.RmsNormEps), Norm(k, "key_norm", config.RmsNormEps));
            }

            rows[t] = [.. Split(q, d), .. Split(k, d), .. Split(v, d)];
            for (int head = 0; head < heads + kvHeads && config.QueryKeyNorm == QueryKeyNorm.PerHead; head++)
            {
                rows[t][head] = Norm(rows[t][head], head < heads ? "query_norm" : "key_norm", config.RmsNormEps);
            }

            for (int head = 0; head < rows[t].Length && config.ClipQkv > 0; head++)
            {
                rows[t][head] = [.. rows[t][head].Select(value => Math.Clamp(value, -config.ClipQkv, config.ClipQkv))];
            }

            for (int head = 0; head < heads + kvHeads; head++)
            {
                rows[t][head] = Rotate(rows[t][head], 0, config.Rope.RotaryDim > 0 ? config.Rope.RotaryDim : d, batch.Positions[t]);
            }
        }

        return Softmax(rows, heads, head => heads + (head / (heads / kvHeads)), head => heads + kvHeads + (head / (heads / kvHeads)));
    }

    private double[][] Latent(double[][] x, LatentAttentionConfig latent)
    {
        int heads = config.NumAttentionHeads;
        (int nope, int rope, int value, int rank) = (latent.NopeHeadDim, latent.RopeHeadDim, latent.ValueHeadDim, latent.LatentRank);
        double[][] queries = x;
        if (latent.QueryRank > 0)
        {
            queries = Linear(x, "query_latent_projection");
            queries = config.AttentionBias ? Add(queries, "query_latent_bias") : queries;
            queries = [.. queries.Select(row => Norm(row, "query_latent_norm", 1e-6))];
        }

        queries = Linear(queries, "query_projection");
        double[][] compressed = Linear(x, "latent_projection");
        compressed = config.AttentionBias ? Add(compressed, "latent_bias") : compressed;
        double[] toKeys = weights[$"{_name}.key_projection"]; // [heads, rank, nope]
        double[] toValues = weights[$"{_name}.value_projection"]; // [heads, value, rank]
        double[][][] rows = new double[x.Length][][];
        for (int t = 0; t < x.Length; t++)
        {
            double[] c = Norm(compressed[t][..rank], "latent_norm", 1e-6);
            double[] sharedKey = Rotate(compressed[t][rank..], 0, rope, batch.Positions[t]);
            int token = t;
            rows[t] =
            [
                .. Split(queries[t], nope + rope).Select(q => Rotate(q, nope, rope, batch.Positions[token])),
                .. Enumerable.Range(0, heads).Select(h => (double[])[.. Enumerable.Range(0, nope).Select(n => Enumerable.Range(0, rank).Sum(l => c[l] * toKeys[(((h * rank) + l) * nope) + n])), .. sharedKey]),
                .. Enumerable.Range(0, heads).Select(h => Enumerable.Range(0, value).Select(o => Enumerable.Range(0, rank).Sum(l => c[l] * toValues[(((h * value) + o) * rank) + l])).ToArray()),
            ];
        }

        return Softmax(rows, heads, head => heads + head, head => (2 * heads) + head);
    }

    private double[][] Lightning(double[][] x)
    {
        (int heads, int d) = (config.NumAttentionHeads, config.HeadDim);
        double[][] qkv = [.. Linear(x, "qkv_projection").Select(row => row.Select(value => value / (1 + Math.Exp(-value))).ToArray())];
        double[][] gate = Linear(x, "output_gate_projection");
        double[][] output = [.. x.Select(_ => new double[heads * d])];
        foreach (AttentionSegment segment in batch.Segments.ToArray())
        {
            for (int head = 0; head < heads; head++)
            {
                double slope = Math.Pow(2, -8.0 * (head + 1) / heads) * (1 - (layer / (config.NumHiddenLayers - 1 + 1e-5)) + 1e-5);
                for (int i = 0; i < segment.QueryCount; i++)
                {
                    // The sum over earlier tokens, each decayed by its distance, instead of a running state.
                    double[] now = qkv[segment.QueryBegin + i][(head * 3 * d)..((head + 1) * 3 * d)];
                    for (int j = 0; j <= i; j++)
                    {
                        double[] then = qkv[segment.QueryBegin + j][(head * 3 * d)..((head + 1) * 3 * d)];
                        double weight = Enumerable.Range(0, d).Sum(c => now[c] * then[d + c]) * Math.Exp(-slope * (i - j));
                        for (int c = 0; c < d; c++)
                        {
                            output[segment.QueryBegin + i][(head * d) + c] += weight * then[(2 * d) + c];
                        }
                    }
                }
            }
        }

        return [.. output.Select((row, t) => Norm(row, "output_norm", 1e-6).Select((value, c) => value / (1 + Math.Exp(-gate[t][c]))).ToArray())];
    }

    // rows[t] holds the heads of queries, keys and values; the functions say which belong together.
    private double[][] Softmax(double[][][] rows, int heads, Func<int, int> keyOf, Func<int, int> valueOf)
    {
        double scale = config.AttentionScale != 0 ? config.AttentionScale : Math.Pow(config.Rope.MscaleAllDim == 0 ? 1 : (0.1 * config.Rope.MscaleAllDim * Math.Log(config.Rope.Factor)) + 1, 2) / Math.Sqrt(config.HeadDim);
        int window = config.AttentionOf(layer) == AttentionKind.Sliding ? config.SlidingWindow : int.MaxValue;
        int width = rows[0][valueOf(0)].Length;
        double[][] output = new double[rows.Length][];
        foreach (AttentionSegment segment in batch.Segments.ToArray())
        {
            for (int i = 0; i < segment.QueryCount; i++)
            {
                double[] row = output[segment.QueryBegin + i] = new double[heads * width];
                for (int head = 0; head < heads; head++)
                {
                    int first = Math.Max(0, i - window + 1);
                    double[] scores = [.. Enumerable.Range(first, i - first + 1).Select(j => Cap(scale * Dot(rows[segment.QueryBegin + i][head], rows[segment.QueryBegin + j][keyOf(head)])))];
                    double[] logits = config.HasAttentionSinks ? [.. scores, weights[$"{_name}.sinks"][head]] : scores;
                    double max = logits.Max();
                    double sum = logits.Sum(value => Math.Exp(value - max));
                    for (int j = first; j <= i; j++)
                    {
                        double share = Math.Exp(scores[j - first] - max) / sum;
                        double[] values = rows[segment.QueryBegin + j][valueOf(head)];
                        for (int c = 0; c < width; c++)
                        {
                            row[(head * width) + c] += share * values[c];
                        }
                    }
                }
            }
        }

        return output;
    }

    private double Cap(double score) => config.AttentionScoreCap > 0 ? config.AttentionScoreCap * Math.Tanh(score / config.AttentionScoreCap) : score;

    // Turns dim lanes from a column on; the angles are written out here, not taken from the model's table.
    private double[] Rotate(double[] head, int column, int dim, int position)
    {
        double[] turned = [.. head];
        RopeConfig rope = config.Rope;
        double factor = rope.Scaling == RopeScaling.Yarn ? rope.AttentionFactor : 1;
        for (int pair = 0; pair < dim / 2; pair++)
        {
            double angle = position * Frequency(rope, dim, pair, position);
            (int a, int b) = rope.IsInterleaved ? (column + (2 * pair), column + (2 * pair) + 1) : (column + pair, column + pair + (dim / 2));
            turned[a] = factor * ((head[a] * Math.Cos(angle)) - (head[b] * Math.Sin(angle)));
            turned[b] = factor * ((head[b] * Math.Cos(angle)) + (head[a] * Math.Sin(angle)));
        }

        return turned;
    }

    private static double Frequency(RopeConfig rope, int dim, int pair, int position)
    {
        double plain = Math.Pow(rope.Theta, -2.0 * pair / dim);
        switch (rope.Scaling)
        {
            case RopeScaling.Linear:
                return plain / rope.Factor;
            case RopeScaling.Dynamic when position + 1 > rope.OriginalMaxPositions:
                double growth = (rope.Factor * (position + 1) / rope.OriginalMaxPositions) - (rope.Factor - 1);
                return Math.Pow(rope.Theta * Math.Pow(growth, dim / (dim - 2.0)), -2.0 * pair / dim);
            case RopeScaling.Yarn:
                double Corner(double turns) => dim * Math.Log(rope.OriginalMaxPositions / (turns * 2 * Math.PI)) / (2 * Math.Log(rope.Theta));
                double low = Math.Max(0, rope.Truncates ? Math.Floor(Corner(rope.BetaFast)) : Corner(rope.BetaFast));
                double high = Math.Min(dim - 1, rope.Truncates ? Math.Ceiling(Corner(rope.BetaSlow)) : Corner(rope.BetaSlow));
                double ramp = Math.Clamp((pair - low) / (high == low ? 0.001 : high - low), 0, 1);
                return (ramp * plain / rope.Factor) + ((1 - ramp) * plain);
            case RopeScaling.Llama3:
                // By wavelengths: below the first bound as it is, above the second divided, between a mixture of both.
                double length = 2 * Math.PI / plain;
                if (length < rope.OriginalMaxPositions / rope.HighFrequencyFactor)
                {
                    return plain;
                }

                if (length > rope.OriginalMaxPositions / rope.LowFrequencyFactor)
                {
                    return plain / rope.Factor;
                }

                double smooth = ((rope.OriginalMaxPositions / length) - rope.LowFrequencyFactor) / (rope.HighFrequencyFactor - rope.LowFrequencyFactor);
                return ((1 - smooth) * plain / rope.Factor) + (smooth * plain);
            case RopeScaling.Divided:
                return plain / rope.FrequencyDivisors[pair];
            default:
                return plain;
        }
    }

    private double[][] Linear(double[][] x, string name)
    {
        double[] weight = weights[$"{_name}.{name}"];
        int width = x[0].Length;
        return [.. x.Select(row => Enumerable.Range(0, weight.Length / width).Select(o => Enumerable.Range(0, width).Sum(i => row[i] * weight[(o * width) + i])).ToArray())];
    }

    private double[][] Add(double[][] x, string bias) => [.. x.Select(row => row.Zip(weights[$"{_name}.{bias}"], (a, b) => a + b).ToArray())];

    private double[] Norm(double[] row, string name, double epsilon)
    {
        double inverse = 1 / Math.Sqrt(row.Average(value => value * value) + epsilon);
        return [.. row.Zip(weights[$"{_name}.{name}"], (value, weight) => value * inverse * weight)];
    }

    private static double[][] Split(double[] row, int width) => [.. row.Chunk(width)];

    private static double Dot(double[] a, double[] b) => a.Zip(b, (x, y) => x * y).Sum();
}
