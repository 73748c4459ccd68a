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
            if (expert >= 0)
            {
                record.TokensPerExpert[expert]++;
            }
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
        bool isJoint = balance.Scope == BalanceScope.AllLayers; // slopes need the loads of layers to come
        Tensor slopes = context.Pool.Rent(new Shape(groups, experts)); // [groups, experts]
        for (int group = 0; group < groups; group++)
        {
            MeasureGroup(plan, scores.Probs, group * groupTokens, groupTokens);
            Array.Clear(_slopes);
            record.ExpertLoss += ExpertLevelLoss.Measure(_loads, _meanScores, isJoint ? 0 : balance.ExpertAlpha, _slopes) / groups;
            if (balance.NumDeviceGroups > 1)
            {
                record.DeviceLoss += DeviceLevelLoss.Measure(_loads, _meanScores, balance.NumDeviceGroups, balance.DeviceAlpha, _slopes) / groups;
            }

            SetSlopes(slopes, group, plan.NumTokens, context);
        }

        if (isJoint)
        {
            _meanScores.CopyTo(record.MeanScores);
        }

        record.ZLoss = scores.LogSumExp is null ? 0 : RouterZLoss.Measure(scores.LogSumExp.Data);
        if (context.Tape is not null)
        {
            LeaveGradients(scores, slopes, context);
        }

        if (balance.CommunicationAlpha != 0f)
        {
            RecordCommunication(plan, scores, record, context);
        }
    }

    private void LeaveGradients(in RouterScores scores, Tensor slopes, ForwardContext context)
    {
        BalanceConfig balance = context.Balance;
        bool isJoint = balance.Scope == BalanceScope.AllLayers;
        if ((balance.ExpertAlpha != 0f && !isJoint) || balance.DeviceAlpha != 0f)
        {
            Op.AddSlopes(scores.Probs, slopes, context);
        }

        if (balance.ExpertAlpha != 0f && isJoint)
        {
            Op.AddJointSlopes(scores.Probs, balance.ExpertAlpha * context.AuxiliaryScale, context);
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

    // Always per sequence, whatever the scope of the other losses.
    private void RecordCommunication(in RoutingPlan plan, in RouterScores scores, LayerRouting record, ForwardContext context)
    {
        BalanceConfig balance = context.Balance;
        int length = GroupTokens(plan.NumTokens, BalanceScope.Sequence, context.Batch.SequenceLength);
        int sequences = plan.NumTokens / length;
        Tensor slopes = context.Pool.Rent(new Shape(sequences, plan.NumExperts)); // [sequences, experts]
        for (int sequence = 0; sequence < sequences; sequence++)
        {
            MeasureGroup(plan, scores.Probs, sequence * length, length);
            Array.Clear(_slopes);
            ReadOnlySpan<int> expertIds = plan.ExpertIds.Slice(sequence * length * plan.TopK, length * plan.TopK);
            record.CommunicationLoss += CommunicationLoss.Measure(
                expertIds, plan.TopK, _meanScores, balance.NumDeviceGroups, balance.MaxDevicesPerToken, balance.CommunicationAlpha, _slopes) / sequences;
            SetSlopes(slopes, sequence, plan.NumTokens, context);
        }

        if (context.Tape is not null)
        {
            Op.AddSlopes(scores.Probs, slopes, context);
        }
    }

    // P is a mean over the group's tokens and the loss a mean over groups: each token's score has this share.
    private void SetSlopes(Tensor slopes, int group, int numTokens, ForwardContext context)
    {
        Span<float> target = slopes.Data.Slice(group * _slopes.Length, _slopes.Length);
        for (int expert = 0; expert < _slopes.Length; expert++)
        {
            target[expert] = (float)(_slopes[expert] * context.AuxiliaryScale / numTokens);
        }
    }

    private void MeasureGroup(in RoutingPlan plan, Tensor probs, int firstToken, int tokens)
    {
        int experts = plan.NumExperts;
        Array.Clear(_loads);
        Array.Clear(_meanScores);
        foreach (int expert in plan.ExpertIds.Slice(firstToken * plan.TopK, tokens * plan.TopK))
        {
            if (expert >= 0)
            {
                _loads[expert]++;
            }
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
