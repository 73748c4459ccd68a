using MoeSharp.Model;

namespace MoeSharp.Tests.Reference;

/// <summary>Attention experts in double precision, token by token and expert by expert.</summary>
internal sealed partial class ReferenceAttention
{
    /// <summary>Choices of every router of the layer, ascending within a token and head.</summary>
    public List<int[]> ExpertIds { get; } = [];

    /// <summary>Logits of the mixture's router, [tokens][experts].</summary>
    public double[][] RouterLogits { get; private set; } = [];

    /// <summary>Their softmax.</summary>
    public double[][] RouterScores { get; private set; } = [];

    private double[][] Mixture(double[][] x, AttentionExpertsConfig experts)
    {
        (int heads, int kvHeads, int d) = (config.NumAttentionHeads, config.NumKeyValueHeads, config.HeadDim);
        RouterLogits = Linear(x, "router");
        RouterScores = [.. RouterLogits.Select(row => row.Select(value => Math.Exp(value) / row.Sum(Math.Exp)).ToArray())];
        int[][] chosen = [.. RouterScores.Select(row => Best(row, experts.TopK))];
        ExpertIds.Add([.. chosen.SelectMany(ids => ids)]);
        double[][] keysAndValues = Linear(x, "key_value_projection");
        double[][][] rows = new double[x.Length][][];
        for (int t = 0; t < x.Length; t++)
        {
            int position = batch.Positions[t];
            double[] token = x[t];
            rows[t] =
            [
                .. chosen[t].SelectMany(e => Split(Multiply(token, "query_projection", e, heads * d), d)).Select(q => Rotate(q, 0, d, position)),
                .. Split(keysAndValues[t][..(kvHeads * d)], d).Select(k => Rotate(k, 0, d, position)),
                .. Split(keysAndValues[t][(kvHeads * d)..], d),
            ];
        }

        int all = experts.TopK * heads;
        double[][] attended = Softmax(rows, all, head => all + (head % heads / (heads / kvHeads)), head => all + kvHeads + (head % heads / (heads / kvHeads)));
        return [.. attended.Select((row, t) =>
        {
            double sum = experts.NormTopKProb ? chosen[t].Sum(e => RouterScores[t][e]) : 1;
            double[] output = new double[config.HiddenSize];
            for (int slot = 0; slot < experts.TopK; slot++)
            {
                int expert = chosen[t][slot];
                double[] part = Multiply(row[(slot * heads * d)..((slot + 1) * heads * d)], "output_projection", expert, config.HiddenSize);
                AddTo(output, part, RouterScores[t][expert] / sum);
            }

            return output;
        })];
    }

    private double[][] SwitchHead(double[][] x, AttentionExpertsConfig experts)
    {
        (int heads, int kvHeads, int d) = (config.NumAttentionHeads, config.NumKeyValueHeads, config.HeadDim);
        double[][][] valueGates = Gates(x, "value_router", experts);
        double[][][] outputGates = Gates(x, "output_router", experts);
        double[][] queriesAndKeys = Linear(x, "query_key_projection");
        double[][][] rows = new double[x.Length][][];
        for (int t = 0; t < x.Length; t++)
        {
            (double[] token, double[][] gates, int position) = (x[t], valueGates[t], batch.Positions[t]);
            rows[t] = [.. Split(queriesAndKeys[t], d).Select(head => Rotate(head, 0, d, position)), .. Enumerable.Range(0, kvHeads).Select(Value)];

            double[] Value(int head)
            {
                double[] value = new double[d];
                foreach (int expert in Best(gates[head], experts.TopK))
                {
                    AddTo(value, Multiply(token, "value_projection", (head * experts.NumExperts) + expert, d), gates[head][expert]);
                }

                return value;
            }
        }

        double[][] attended = Softmax(rows, heads, head => heads + (head / (heads / kvHeads)), head => heads + kvHeads + (head / (heads / kvHeads)));
        return [.. attended.Select((row, t) =>
        {
            double[] output = new double[config.HiddenSize];
            for (int head = 0; head < heads; head++)
            {
                foreach (int expert in Best(outputGates[t][head], experts.TopK))
                {
                    AddTo(output, Multiply(row[(head * d)..((head + 1) * d)], "output_projection", (head * experts.NumExperts) + expert, config.HiddenSize), outputGates[t][head][expert]);
                }
            }

            return output;
        })];
    }

    // [tokens][heads][experts]
    private double[][][] Gates(double[][] x, string router, AttentionExpertsConfig experts)
    {
        double[][][] gates = [.. Linear(x, router).Select(row => row.Select(value => 1 / (1 + Math.Exp(-value))).Chunk(experts.NumExperts).ToArray())];
        ExpertIds.Add([.. gates.SelectMany(token => token.SelectMany((head, index) => Best(head, experts.TopK).Select(expert => (index * experts.NumExperts) + expert)))]);
        return gates;
    }

    private static int[] Best(double[] scores, int count) => [.. Enumerable.Range(0, scores.Length).OrderByDescending(e => scores[e]).ThenBy(e => e).Take(count).Order()];

    // Matrix number index of a stack, times a row.
    private double[] Multiply(double[] row, string name, int index, int outWidth)
    {
        double[] weight = weights[$"{_name}.{name}"];
        int first = index * outWidth * row.Length;
        return [.. Enumerable.Range(0, outWidth).Select(o => Enumerable.Range(0, row.Length).Sum(i => row[i] * weight[first + (o * row.Length) + i]))];
    }

    private static void AddTo(double[] sum, double[] part, double factor)
    {
        for (int i = 0; i < sum.Length; i++)
        {
            sum[i] += factor * part[i];
        }
    }
}
