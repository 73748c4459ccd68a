using MoeSharp.Execution;
using MoeSharp.Model;
using MoeSharp.Tests.Kernels;
using MoeSharp.Tests.Reference;

namespace MoeSharp.Tests.Moe;

/// <summary>All losses together, over sequences of unequal length with padding, against their formulas in double precision.</summary>
public sealed class CombinedLossTests
{
    private const int Hidden = 5;
    private const int Experts = 6;
    private const int TopK = 2;
    private const int GroupTokens = 4;

    private static readonly int[] s_lengths = [4, 1, 7, 2]; // the last sequence is all padding
    private static readonly int[] s_padding = [3, 5, 11, 12, 13];
    private static readonly int[] s_devices = [0, 1, 1, 2, 0, 0];
    private static readonly int[] s_real = [.. Enumerable.Range(0, 14).Except(s_padding)];

    private static readonly BalanceConfig s_balance = new()
    {
        ExpertAlpha = 0.3f,
        DeviceAlpha = 0.7f,
        CommunicationAlpha = 0.4f,
        FirstChoiceAlpha = 0.2f,
        SequenceAlpha = 0.6f,
        BatchAlpha = 0.5f,
        ImportanceAlpha = 0.9f,
        ZLossAlpha = 0.05f,
        ExpertDevices = s_devices,
        MaxDevicesPerToken = 2,
        GroupTokens = GroupTokens,
    };

    [Theory]
    [InlineData(BalanceScope.Sequence, false)]
    [InlineData(BalanceScope.MicroBatch, false)]
    [InlineData(BalanceScope.GlobalBatch, true)]
    [InlineData(BalanceScope.Group, false)]
    [InlineData(BalanceScope.Group, true)]
    public void Values_and_gradients_are_those_of_the_formulas(BalanceScope scope, bool isSigmoid)
    {
        MoeConfig moe = new() { NumExperts = Experts, TopK = TopK, IntermediateSize = 3, NormTopKProb = true, Scoring = isSigmoid ? RouterScoring.Sigmoid : RouterScoring.Softmax, HasSelectionBias = isSigmoid };
        BalanceConfig balance = s_balance with { Scope = scope, ZLossAlpha = isSigmoid ? 0 : s_balance.ZLossAlpha };
        using MoeBench bench = new(moe, Hidden);
        bench.Fill(3, 0.7f);
        if (isSigmoid)
        {
            new[] { 0.4f, 0f, 0f, -0.3f, 0f, 0.2f }.CopyTo(bench.Parameter("moe.selection_bias").Value); // the choice is not that of the scores
        }

        float[] x = KernelCheck.Random(14 * Hidden, 8);
        TokenBatch rows = new();
        rows.Resize(14, 14);
        rows.SetSequences(s_lengths);
        Array.ForEach(s_padding, rows.MarkPadding);
        bench.Differentiate(x, new float[x.Length], balance, rows);

        Reference reference = new(x, bench.Routing.ExpertIds, balance, isSigmoid);
        double[] weight = KernelCheck.Double(bench.Parameter("moe.router").Value.ToArray());
        AuxiliaryLosses losses = bench.Routing.Losses;
        double sum = (balance.ExpertAlpha * losses[AuxiliaryLoss.ExpertLevel]) + (balance.DeviceAlpha * losses[AuxiliaryLoss.DeviceLevel]) + (balance.CommunicationAlpha * losses[AuxiliaryLoss.Communication])
            + (balance.FirstChoiceAlpha * losses[AuxiliaryLoss.FirstChoice]) + (balance.SequenceAlpha * losses[AuxiliaryLoss.SequenceWise]) + (balance.BatchAlpha * losses[AuxiliaryLoss.BatchWise])
            + (balance.ImportanceAlpha * losses[AuxiliaryLoss.Importance]) + (balance.ZLossAlpha * losses[AuxiliaryLoss.ZLoss]);
        Assert.Equal(reference.Loss(weight), sum, 1e-5);
        KernelCheck.Close(RowReference.Gradient(value => [reference.Loss(value)], weight, [1]), bench.Parameter("moe.router").Gradient.ToArray(), 1e-6, 1e-4, "router");
    }

    // Choices are constants of the gradient: those made, and those of the scores at the weights that the pass had.
    private sealed class Reference(float[] x, int[] chosen, BalanceConfig balance, bool isSigmoid)
    {
        private int[]? _unbiased;

        public double Loss(double[] weight)
        {
            double[][] logits = [.. KernelCheck.Double(x).Chunk(Hidden).Select(row => Enumerable.Range(0, Experts).Select(e => row.Select((value, h) => value * weight[(e * Hidden) + h]).Sum()).ToArray())];
            double[][] scores = [.. logits.Select(row => isSigmoid ? [.. row.Select(z => 1 / (1 + Math.Exp(-z)))] : Normalize([.. row.Select(Math.Exp)]))];
            double[][] probs = [.. scores.Select(Normalize)];
            _unbiased ??= [.. scores.SelectMany(row => Enumerable.Range(0, Experts).OrderByDescending(e => row[e]).Take(TopK))];
            int[][] sequences = Cut(s_lengths);
            int[][] groups = balance.Scope switch
            {
                BalanceScope.Sequence => sequences,
                BalanceScope.Group => Cut([4, 4, 4, 2]),
                _ => Cut([14]),
            };
            double loss = groups.Average(rows => (balance.ExpertAlpha * Expert(rows, chosen, probs)) + (balance.DeviceAlpha * Device(rows, probs)) + (balance.FirstChoiceAlpha * FirstChoice(rows, probs)));
            loss += sequences.Average(rows => (balance.CommunicationAlpha * Communication(rows, probs)) + (balance.SequenceAlpha * Expert(rows, _unbiased, probs)));
            loss += balance.BatchAlpha * Expert(s_real, _unbiased, probs);
            loss += balance.ImportanceAlpha * Variation(scores);
            return loss + (balance.ZLossAlpha * s_real.Average(row => Math.Pow(Math.Log(logits[row].Sum(Math.Exp)), 2)));
        }

        private static double Expert(int[] rows, int[] ids, double[][] probs) =>
            Enumerable.Range(0, Experts).Sum(e => Load(rows, ids, e) * rows.Average(row => probs[row][e]));

        private double Device(int[] rows, double[][] probs) => Enumerable.Range(0, 3).Sum(device =>
        {
            int[] members = [.. Enumerable.Range(0, Experts).Where(e => s_devices[e] == device)];
            return members.Average(e => Load(rows, chosen, e)) * members.Sum(e => rows.Average(row => probs[row][e]));
        });

        private double Communication(int[] rows, double[][] probs) => Enumerable.Range(0, 3).Sum(device =>
        {
            int users = rows.Count(row => Choices(chosen, row).Any(e => s_devices[e] == device));
            return 3.0 / (balance.MaxDevicesPerToken * rows.Length) * users * rows.Average(row => Enumerable.Range(0, Experts).Where(e => s_devices[e] == device).Sum(e => probs[row][e]));
        });

        private double FirstChoice(int[] rows, double[][] probs) =>
            Experts * Enumerable.Range(0, Experts).Sum(e => rows.Count(row => chosen[row * TopK] == e) / (double)rows.Length * rows.Average(row => probs[row][e]));

        private double Variation(double[][] scores)
        {
            double[] importance = new double[Experts];
            foreach (int row in s_real)
            {
                foreach (int e in Choices(chosen, row))
                {
                    importance[e] += scores[row][e] / Choices(chosen, row).Sum(other => scores[row][other]);
                }
            }

            double mean = importance.Average();
            return importance.Average(value => (value - mean) * (value - mean)) / ((mean * mean) + 1e-10);
        }

        private static double Load(int[] rows, int[] ids, int expert) => (double)Experts / (TopK * rows.Length) * rows.Count(row => Choices(ids, row).Contains(expert));

        private static int[] Choices(int[] ids, int row) => ids[(row * TopK)..((row + 1) * TopK)];

        private static double[] Normalize(double[] values) => [.. values.Select(value => value / values.Sum())];

        // Real rows of runs of these lengths; runs without one do not count.
        private static int[][] Cut(int[] lengths)
        {
            int begin = 0;
            List<int[]> runs = [];
            foreach (int length in lengths)
            {
                runs.Add([.. s_real.Where(row => row >= begin && row < begin + length)]);
                begin += length;
            }

            return [.. runs.Where(run => run.Length > 0)];
        }
    }
}
