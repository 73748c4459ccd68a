using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Moe.Routing;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Moe.Balance;

/// <summary>Measures how evenly a plan uses the experts, writes it into the pass's record and, when training, leaves the losses' gradients on the tape.</summary>
/// <remarks>
/// The losses over mean scores go group by group: <see cref="GroupMeasure"/> says how a group uses the experts, a loss turns that into a value and a slope per
/// expert, and the slopes become gradients of the scores. A further loss of that kind is a file beside this one and a line in <see cref="MeasureGroup"/>.
/// </remarks>
public sealed class BalanceLosses
{
    private readonly GroupMeasure _chosen = new(); // the choices that were made
    private readonly GroupMeasure _unbiased = new(); // those that would have been made without selection bias
    private double[] _slopes = []; // scratch: dL/dP of one group
    private double[] _amounts = []; // scratch: importance or load
    private BalanceConfig _balance = new();
    private BalanceConfig? _devicesOf;
    private DeviceGroups _devices = DeviceGroups.Contiguous(1, 1);

    /// <summary>Records loads and losses of one layer.</summary>
    /// <param name="plan">Routing of the pass, before any capacity.</param>
    /// <param name="record">Record of the layer.</param>
    /// <param name="context">Context.</param>
    public void Record(in RoutingPlan plan, LayerRouting record, ForwardContext context) => Record(plan, record, context.Balance, context);

    /// <summary>Records loads and losses of one layer whose losses are not simply those of the pass.</summary>
    /// <param name="plan">Routing of the pass, before any capacity.</param>
    /// <param name="record">Record of the layer.</param>
    /// <param name="balance">Its losses; the same object as long as they do not change.</param>
    /// <param name="context">Context.</param>
    public void Record(in RoutingPlan plan, LayerRouting record, BalanceConfig balance, ForwardContext context)
    {
        _balance = balance;
        CountTokens(plan, record, context.Batch.IsPadding);
        if (record.Pass.CaptureTokens)
        {
            Capture(plan, record);
        }

        if (context.Sequences is not null)
        {
            return; // a cache holds tokens of several passes: a loss over one of them says nothing
        }

        Prepare(plan.NumExperts, balance);
        if (plan.Scores is { } scores)
        {
            RecordGroups(plan, scores, record, context);
            RecordZLoss(scores, record, context);
        }

        RecordVariations(plan, record, context);
    }

    private void Prepare(int numExperts, BalanceConfig balance)
    {
        if (_slopes.Length != numExperts)
        {
            (_slopes, _amounts, _devicesOf) = (new double[numExperts], new double[numExperts], null);
        }

        if (!ReferenceEquals(_devicesOf, balance))
        {
            (_devicesOf, _devices) = (balance, DeviceGroups.Of(balance, numExperts));
        }
    }

    private void RecordGroups(in RoutingPlan plan, in RouterScores scores, LayerRouting record, ForwardContext context)
    {
        BalanceConfig balance = _balance;
        bool isJoint = balance.Scope == BalanceScope.AllLayers; // slopes need the loads of layers to come
        GroupFactors factors = new()
        {
            Expert = isJoint ? 0 : balance.ExpertAlpha,
            Device = balance.DeviceAlpha,
            FirstChoice = balance.FirstChoiceAlpha,
            MeasuresExperts = true,
            MeasuresDevices = _devices.Count > 1,
        };
        RecordGroups(_chosen, plan.RequestedIds, plan.TopK, scores.Probs, balance.Scope, factors, record, context);
        if (isJoint)
        {
            _chosen.MeanScores.CopyTo(record.MeanScores);
            if (context.Tape is not null && balance.ExpertAlpha != 0f)
            {
                Op.AddJointSlopes(scores.Probs, balance.ExpertAlpha * context.AuxiliaryScale, record.Pass, context);
            }
        }

        if (balance.CommunicationAlpha != 0f)
        {
            RecordGroups(_chosen, plan.RequestedIds, plan.TopK, scores.Probs, BalanceScope.Sequence, new GroupFactors { Communication = balance.CommunicationAlpha }, record, context);
        }

        if (balance.SequenceAlpha == 0f && balance.BatchAlpha == 0f)
        {
            return;
        }

        ReadOnlySpan<int> unbiased = ChooseUnbiased(scores.Scores, plan.TopK, context);
        if (balance.SequenceAlpha != 0f)
        {
            RecordGroups(_unbiased, unbiased, plan.TopK, scores.Probs, BalanceScope.Sequence, new GroupFactors { Sequence = balance.SequenceAlpha }, record, context);
        }

        if (balance.BatchAlpha != 0f)
        {
            RecordGroups(_unbiased, unbiased, plan.TopK, scores.Probs, BalanceScope.GlobalBatch, new GroupFactors { Batch = balance.BatchAlpha }, record, context);
        }
    }

    // The experts with the largest scores, whatever groups and biases say, [tokens * topK].
    private static ReadOnlySpan<int> ChooseUnbiased(Tensor scores, int topK, ForwardContext context)
    {
        int slots = scores.Rows * topK;
        Span<int> expertIds = context.Indices.Rent(slots).AsSpan(0, slots);
        TopK.Select(context.Workers, scores.Rows, scores.Columns, topK, scores.Data, expertIds);
        return expertIds;
    }

    private void RecordGroups(
        GroupMeasure measure, ReadOnlySpan<int> expertIds, int topK, Tensor probs, BalanceScope scope, in GroupFactors factors, LayerRouting record, ForwardContext context)
    {
        bool isOfStep = scope == BalanceScope.GlobalBatch;
        if (isOfStep)
        {
            measure.BeginPassOfStep(context); // also when the pass turns out to be all padding
        }

        TokenGroups groups = TokenGroups.Of(scope, context);
        if (groups.NumMeasured == 0)
        {
            return;
        }

        Tensor slopes = context.Pool.Rent(new Shape(groups.Count, probs.Columns)); // [groups, experts]
        AuxiliaryLosses sums = default;
        for (int group = 0; group < groups.Count; group++)
        {
            Span<float> target = slopes.Data.Slice(group * probs.Columns, probs.Columns);
            target.Clear();
            if (!measure.Take(groups.Range(group), expertIds, topK, probs, isOfStep, context))
            {
                continue;
            }

            Array.Clear(_slopes);
            MeasureGroup(measure.Use(topK), factors, _balance, ref sums);

            // P is a mean over the group's tokens and the loss a mean over groups: each token's score has this share.
            double share = context.AuxiliaryScale / ((double)groups.NumMeasured * measure.NumTokens);
            for (int expert = 0; expert < target.Length; expert++)
            {
                target[expert] = (float)(_slopes[expert] * share);
            }
        }

        record.Losses.Add(sums, 1.0 / groups.NumMeasured);
        if (context.Tape is not null && factors.AreAny)
        {
            Op.AddSlopes(probs, slopes, groups.Ends, context);
        }
    }

    private void MeasureGroup(in GroupUse use, in GroupFactors factors, BalanceConfig balance, ref AuxiliaryLosses sums)
    {
        if (factors.MeasuresExperts)
        {
            sums[AuxiliaryLoss.ExpertLevel] += LoadLoss.Measure(use.Loads, use.MeanScores, factors.Expert, _slopes);
        }

        if (factors.MeasuresDevices)
        {
            sums[AuxiliaryLoss.DeviceLevel] += DeviceLevelLoss.Measure(use, _devices, factors.Device, _slopes);
        }

        if (factors.FirstChoice != 0)
        {
            sums[AuxiliaryLoss.FirstChoice] += LoadLoss.Measure(use.FirstLoads, use.MeanScores, factors.FirstChoice, _slopes);
        }

        if (factors.Communication != 0)
        {
            sums[AuxiliaryLoss.Communication] += CommunicationLoss.Measure(use, _devices, balance.MaxDevicesPerToken, factors.Communication, _slopes);
        }

        if (factors.Sequence != 0)
        {
            sums[AuxiliaryLoss.SequenceWise] += LoadLoss.Measure(use.Loads, use.MeanScores, factors.Sequence, _slopes);
        }

        if (factors.Batch != 0)
        {
            sums[AuxiliaryLoss.BatchWise] += LoadLoss.Measure(use.Loads, use.MeanScores, factors.Batch, _slopes);
        }
    }

    private void RecordZLoss(in RouterScores scores, LayerRouting record, ForwardContext context)
    {
        float alpha = _balance.ZLossAlpha;
        if (scores.LogSumExp is not { } logSumExp)
        {
            if (alpha != 0f && context.Tape is not null)
            {
                throw new ConfigurationException("the router z-loss needs a softmax; this model's router scores with a sigmoid, so set the factor of the z-loss to 0");
            }

            return;
        }

        record.Losses[AuxiliaryLoss.ZLoss] = RouterZLoss.Measure(logSumExp.Data, context.Batch.IsPadding);
        if (context.Tape is not null && alpha != 0f)
        {
            Op.AddZLoss(scores.Logits, scores.Probs, logSumExp, alpha * context.AuxiliaryScale, context);
        }
    }

    // Importance is a sum of routing weights, load a sum of chances to be chosen: their losses are not linear, so they take all tokens of the pass together.
    private void RecordVariations(in RoutingPlan plan, LayerRouting record, ForwardContext context)
    {
        BalanceConfig balance = _balance;
        if (balance.ImportanceAlpha != 0f && plan.Scores is not null) // weights of a router without scores have nothing to learn
        {
            plan.SumImportance(context.Batch.IsPadding, _amounts);
            record.Losses[AuxiliaryLoss.Importance] = VariationLoss.Measure(_amounts, _slopes);
            if (context.Tape is not null)
            {
                Op.AddImportanceSlopes(plan.RoutingWeights, plan.ExpertIds, Slopes(balance.ImportanceAlpha, context), context);
            }
        }

        if (balance.LoadAlpha != 0f)
        {
            if (plan.ChoiceChances is not { } chances)
            {
                if (context.Tape is null)
                {
                    return;
                }

                throw new ConfigurationException("balance.load_alpha is for the router noisy_top_k, whose loads have a gradient; set it to 0");
            }

            Sum(chances, context.Batch, _amounts);
            record.Losses[AuxiliaryLoss.Load] = VariationLoss.Measure(_amounts, _slopes);
            if (context.Tape is not null)
            {
                Op.AddSlopes(chances, Slopes(balance.LoadAlpha, context), TokenGroups.Of(BalanceScope.MicroBatch, context).Ends, context);
            }
        }
    }

    private Tensor Slopes(float alpha, ForwardContext context)
    {
        Tensor slopes = context.Pool.Rent(new Shape(1, _slopes.Length)); // [1, experts]
        for (int expert = 0; expert < _slopes.Length; expert++)
        {
            slopes.Data[expert] = (float)(alpha * context.AuxiliaryScale * _slopes[expert]);
        }

        return slopes;
    }

    private static void Sum(Tensor values, TokenBatch batch, Span<double> sums)
    {
        sums.Clear();
        for ((int Begin, int End) run = batch.RealRun(0, batch.Count); run.Begin < run.End; run = batch.RealRun(run.End, batch.Count))
        {
            int rows = run.End - run.Begin;
            RowSums.Add(rows, values.Columns, values.Data.Slice(run.Begin * values.Columns, rows * values.Columns), sums);
        }
    }

    // What routers want counts as load: an expert that turns tokens away is no less busy for it.
    private static void CountTokens(in RoutingPlan plan, LayerRouting record, ReadOnlySpan<bool> isPadding)
    {
        ReadOnlySpan<int> expertIds = plan.RequestedIds;
        ReadOnlySpan<int> kept = plan.ExpertIds;
        long[] counts = record.TokensPerExpert;
        (long asked, long dropped) = (0, 0);
        for (int slot = 0; slot < expertIds.Length; slot++)
        {
            if (expertIds[slot] >= 0 && (isPadding.Length == 0 || !isPadding[slot / plan.TopK]))
            {
                counts[expertIds[slot]]++;
                asked++;
                dropped += kept[slot] < 0 ? 1 : 0;
            }
        }

        if (plan.Requests is not null)
        {
            (record.AskedSlots, record.DroppedSlots) = (asked, dropped); // of a router that fills its experts itself
        }
    }

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

    // Factors of the losses that are taken in one walk over the groups; 0 for those that are not.
    private readonly record struct GroupFactors
    {
        public bool MeasuresExperts { get; init; }

        public bool MeasuresDevices { get; init; }

        public float Expert { get; init; }

        public float Device { get; init; }

        public float FirstChoice { get; init; }

        public float Communication { get; init; }

        public float Sequence { get; init; }

        public float Batch { get; init; }

        public bool AreAny => Expert != 0 || (MeasuresDevices && Device != 0) || FirstChoice != 0 || Communication != 0 || Sequence != 0 || Batch != 0;
    }
}
