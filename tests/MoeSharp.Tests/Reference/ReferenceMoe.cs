using MoeSharp.Execution;
using MoeSharp.Model;

namespace MoeSharp.Tests.Reference;

/// <summary>A mixture of experts in double precision, one token and one expert after another; slow and plain.</summary>
internal sealed class ReferenceMoe(MoeConfig moe, int hidden, IReadOnlyDictionary<string, double[]> weights)
{
    /// <summary>What an intervention changes of layer 0; null for the model as it is.</summary>
    public RoutingIntervention? Intervention { get; init; }

    public double[] Forward(double[] x) => [.. x.Chunk(hidden).SelectMany(Token)];

    /// <summary>Chosen experts in order of selection with their weights.</summary>
    public (int Expert, double Weight)[] Route(double[] u)
    {
        double[] logits = Logits(u);
        double[] scores = moe.Scoring switch
        {
            RouterScoring.Sigmoid => [.. logits.Select(Sigmoid)],
            RouterScoring.Softmax => Softmax(logits),
            _ => logits,
        };
        double[] candidates = moe.HasSelectionBias ? [.. scores.Zip(weights["moe.selection_bias"], (s, b) => s + b)] : scores;
        bool[] barred = Barred(scores);
        candidates = [.. candidates.Select((c, e) => barred[e] ? double.NegativeInfinity : c)];
        int size = moe.NumExperts / moe.NumGroups;
        int best = moe.GroupScoring == GroupScoring.TopTwoSum ? 2 : 1;
        HashSet<int> groups = [.. Enumerable.Range(0, moe.NumGroups).OrderByDescending(g => candidates[(g * size)..((g + 1) * size)].OrderDescending().Take(best).Sum()).Take(moe.TopKGroups)];
        int[] chosen = [.. Enumerable.Range(0, moe.NumExperts).Where(e => groups.Contains(e / size) && !barred[e]).OrderByDescending(e => candidates[e]).Take(Intervention?.TopK ?? moe.TopK)];
        double[] kept = [.. chosen.Select(e => scores[e])];
        if (moe.Scoring == RouterScoring.SoftmaxOverChosen)
        {
            kept = [.. Softmax(kept).Select(p => p * moe.RoutedScalingFactor)];
        }
        else if (moe.NormTopKProb)
        {
            double norm = Math.Pow(kept.Sum(s => Math.Pow(s, moe.NormOrder)), 1.0 / moe.NormOrder);
            kept = [.. kept.Select(s => s / norm * (moe.ScalesNormalizedWeights ? moe.RoutedScalingFactor : 1))];
        }
        else
        {
            kept = [.. kept.Select(s => s * moe.RoutedScalingFactor)];
        }

        return [.. chosen.Zip(kept)];
    }

    private bool[] Barred(double[] scores)
    {
        int[] off = [.. (Intervention?.SwitchedOff ?? []).Where(place => place.Layer == 0).Select(place => place.Expert)];
        int[] best = [.. Enumerable.Range(0, moe.NumExperts).Except(off).OrderByDescending(e => scores[e]).Take(Intervention?.MaskedBest ?? 0)];
        return [.. Enumerable.Range(0, moe.NumExperts).Select(e => off.Contains(e) || best.Contains(e))];
    }

    private double[] Token(double[] u)
    {
        double[] y = new double[hidden];
        foreach ((int expert, double weight) in Route(u))
        {
            Add(y, Expert(u, expert), weight);
        }

        if (moe.SharedWidth > 0 && Intervention?.WithoutSharedExperts != true)
        {
            double gate = moe.HasSharedExpertGate ? Sigmoid(Linear(u, weights["moe.shared_expert_gate"], 0, 1)[0]) : 1;
            double[] both = Linear(u, weights["moe.shared_experts.gate_up_projection"], 0, 2 * moe.SharedWidth);
            double[] inner = [.. Enumerable.Range(0, moe.SharedWidth).Select(f => both[f] * Sigmoid(both[f]) * both[moe.SharedWidth + f])];
            Add(y, Linear(inner, weights["moe.shared_experts.down_projection"], 0, hidden), gate);
        }

        return y;
    }

    private double[] Logits(double[] u)
    {
        double[] logits = Linear(u, weights["moe.router"], 0, moe.NumExperts);
        if (moe.HasRouterBias)
        {
            Add(logits, weights["moe.router_bias"], 1);
        }

        return moe.HasRouterNetwork ? Linear([.. logits.Select(Math.Tanh)], weights["moe.router_output"], 0, moe.NumExperts) : logits;
    }

    private double[] Expert(double[] u, int expert)
    {
        int width = moe.IntermediateSize;
        double[] both = Linear(u, weights["moe.experts.gate_up_projection"], expert * 2 * width, 2 * width);
        if (moe.HasExpertBias)
        {
            Add(both, weights["moe.experts.gate_up_bias"][(expert * 2 * width)..((expert + 1) * 2 * width)], 1);
        }

        double[] inner = [.. Enumerable.Range(0, width).Select(f => Activation(both[f], both[width + f]))];
        double[] y = Linear(inner, weights["moe.experts.down_projection"], expert * hidden, hidden);
        if (moe.HasExpertBias)
        {
            Add(y, weights["moe.experts.down_bias"][(expert * hidden)..((expert + 1) * hidden)], 1);
        }

        return y;
    }

    private double Activation(double gate, double up)
    {
        switch (moe.Activation)
        {
            case ExpertActivation.GeGlu:
                return 0.5 * gate * (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * (gate + (0.044715 * gate * gate * gate)))) * up;
            case ExpertActivation.ClampedSwiGlu:
                double g = Math.Min(gate, moe.ActivationLimit);
                return (Math.Clamp(up, -moe.ActivationLimit, moe.ActivationLimit) + 1) * g * Sigmoid(1.702 * g);
            default:
                return gate * Sigmoid(gate) * up;
        }
    }

    private static double[] Linear(double[] x, double[] matrix, int firstRow, int rows)
    {
        double[] y = new double[rows];
        for (int row = 0; row < rows; row++)
        {
            for (int i = 0; i < x.Length; i++)
            {
                y[row] += x[i] * matrix[((firstRow + row) * x.Length) + i];
            }
        }

        return y;
    }

    private static void Add(double[] y, double[] x, double factor)
    {
        for (int i = 0; i < y.Length; i++)
        {
            y[i] += factor * x[i];
        }
    }

    private static double Sigmoid(double x) => 1 / (1 + Math.Exp(-x));

    private static double[] Softmax(double[] x)
    {
        double max = x.Max();
        double[] exponentials = [.. x.Select(value => Math.Exp(value - max))];
        return [.. exponentials.Select(value => value / exponentials.Sum())];
    }
}
