using MoeSharp.Execution;
using MoeSharp.Moe.Routing;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Moe.Balance;

/// <summary>Measures how evenly a plan uses the experts, writes it into the pass's record and, when training, leaves the losses' gradients on the tape.</summary>
public sealed class BalanceLosses
{
    private double[] _loads = []; // scratch: f of one group
    private double[] _meanScores = []; // scratch: P of one group
    private double[] _slopes = []; // scratch: dL/dP of one group

    /// <summary>Records loads and losses of one layer.</summary>
    /// <param name="plan">Routing of the pass.</param>
    /// <param name="layer">Index of the decoder layer.</param>
    /// <param name="context">Context.</param>
    public void Record(in RoutingPlan plan, int layer, ForwardContext context)
    {
        LayerRouting record = context.Routing.Next(layer, plan.NumExperts);
        foreach (int expert in plan.ExpertIds)
        {
            record.TokensPerExpert[expert]++;
        }

        if (context.Routing.CaptureTokens)
        {
            Capture(plan, record);
        }

        if (plan.Scores is { } scores && context.Sequences is null)
        {
            RecordLosses(plan, scores, record, context);
        }
    }

    private void RecordLosses(in RoutingPlan plan, in RouterScores scores, LayerRouting record, ForwardContext context)
    {
        BalanceConfig balance = context.Balance;
        int experts = plan.NumExperts;
        if (_loads.Length != experts)
        {
            (_loads, _meanScores, _slopes) = (new double[experts], new double[experts], new double[experts]);
        }

        int groupTokens = GroupTokens(plan.NumTokens, balance.Scope, context.Batch.SequenceLength);
        int groups = plan.NumTokens / groupTokens;
        Tensor slopes = context.Pool.Rent(new Shape(groups, experts)); // [groups, experts]
        for (int group = 0; group < groups; group++)
        {
            MeasureGroup(plan, scores.Probs, group * groupTokens, groupTokens);
            Array.Clear(_slopes);
            record.ExpertLoss += ExpertLevelLoss.Measure(_loads, _meanScores, balance.ExpertAlpha, _slopes) / groups;
            if (balance.NumDeviceGroups > 1)
            {
                record.DeviceLoss += DeviceLevelLoss.Measure(_loads, _meanScores, balance.NumDeviceGroups, balance.DeviceAlpha, _slopes) / groups;
            }

            // P is a mean over the group's tokens and the loss a mean over groups: each token's score has this share.
            for (int expert = 0; expert < experts; expert++)
            {
                slopes.Data[(group * experts) + expert] = (float)(_slopes[expert] * context.AuxiliaryScale / plan.NumTokens);
            }
        }

        record.ZLoss = scores.LogSumExp is null ? 0 : RouterZLoss.Measure(scores.LogSumExp.Data);
        if (context.Tape is null)
        {
            return;
        }

        if (balance.ExpertAlpha != 0f || balance.DeviceAlpha != 0f)
        {
            Op.AddSlopes(scores.Probs, slopes, context);
        }

        if (balance.ZLossAlpha != 0f)
        {
            if (scores.LogSumExp is null)
            {
                throw new ConfigurationException("the router z-loss needs a softmax; this model's router scores with a sigmoid, so set the factor of the z-loss to 0");
            }

            Op.AddZLoss(scores.Logits, scores.Probs, scores.LogSumExp, balance.ZLossAlpha * context.AuxiliaryScale, context);
        }
    }

    private void MeasureGroup(in RoutingPlan plan, Tensor probs, int firstToken, int tokens)
    {
        int experts = plan.NumExperts;
        Array.Clear(_loads);
        Array.Clear(_meanScores);
        foreach (int expert in plan.ExpertIds.Slice(firstToken * plan.TopK, tokens * plan.TopK))
        {
            _loads[expert]++;
        }

        ReadOnlySpan<float> scores = probs.Data.Slice(firstToken * experts, tokens * experts);
        for (int token = 0; token < tokens; token++)
        {
            ReadOnlySpan<float> row = scores.Slice(token * experts, experts);
            for (int expert = 0; expert < experts; expert++)
            {
                _meanScores[expert] += row[expert];
            }
        }

        for (int expert = 0; expert < experts; expert++)
        {
            _loads[expert] *= (double)experts / (plan.TopK * (double)tokens);
            _meanScores[expert] /= tokens;
        }
    }

    private static int GroupTokens(int tokens, BalanceScope scope, int sequenceLength) =>
        scope == BalanceScope.Sequence && sequenceLength > 0 && tokens % sequenceLength == 0 ? sequenceLength : tokens;

    private static void Capture(in RoutingPlan plan, LayerRouting record)
    {
        record.ExpertIds = plan.ExpertIds.ToArray();
        record.RoutingWeights = plan.RoutingWeights.Data.ToArray();
        if (plan.Scores is { } scores)
        {
            record.RouterLogits = scores.Logits.Data.ToArray();
            record.RouterProbs = scores.Scores.Data.ToArray();
        }
    }
}
