using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Moe.Balance;
using MoeSharp.Moe.Routing;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Moe.Dispatch;

/// <summary>Takes from a plan the slots for which the experts, or the devices, have no room. Dropped slots add nothing to their token.</summary>
public sealed class CapacityLimiter
{
    private const ulong ProtectionStream = 0x9D0F; // arbitrary: keeps the draw apart from routers' noise

    private readonly CapacityRule _rule;
    private readonly ulong _layer;
    private readonly float _scale; // on the weights of tokens that went elsewhere
    private readonly int[] _taken; // scratch, [experts]
    private readonly DeviceGroups? _devices;
    private readonly int[] _deviceCounts = []; // scratch, [devices]
    private long[] _keys = []; // scratch, [slots]
    private bool[] _isProtected = []; // scratch, [tokens]

    /// <summary>Makes a limiter.</summary>
    /// <param name="rule">The rule.</param>
    /// <param name="numExperts">Routed experts.</param>
    /// <param name="layer">Decoder layer.</param>
    /// <param name="scale">Factor on routing weights, for tokens that are offered to other experts.</param>
    public CapacityLimiter(CapacityRule rule, int numExperts, int layer, float scale)
    {
        (_rule, _layer, _taken, _scale) = (rule, (ulong)layer, new int[numExperts], scale);
        if (rule.NumDevices > 0)
        {
            _devices = DeviceGroups.Contiguous(numExperts, rule.NumDevices);
            _deviceCounts = new int[rule.NumDevices];
        }
    }

    /// <summary>Limits a plan.</summary>
    /// <param name="plan">What the router wants.</param>
    /// <param name="record">Receives how many slots were asked for and dropped.</param>
    /// <param name="context">Context.</param>
    /// <returns>The same plan when all find room without a limit; otherwise one with -1 and weight 0 for slots without.</returns>
    public RoutingPlan Limit(in RoutingPlan plan, LayerRouting record, ForwardContext context)
    {
        bool isTraining = context.Tape is not null;
        double factor = isTraining ? _rule.TrainingFactor : _rule.EvaluationFactor;
        bool limitsDevices = isTraining && _devices is not null;
        if (factor == 0 && !limitsDevices)
        {
            return plan;
        }

        int slots = plan.NumTokens * plan.TopK;
        int[] kept = context.Indices.Rent(slots);
        plan.ExpertIds.CopyTo(kept);
        RemovePadding(kept.AsSpan(0, slots), plan.TopK, context.Batch.IsPadding);
        int asked = CountUsed(kept.AsSpan(0, slots));
        if (factor > 0 && _rule.Policy == DropPolicy.Reroute)
        {
            Reroute(plan, factor, kept, context);
        }
        else if (factor > 0)
        {
            Place(plan, factor, kept, context);
        }

        if (limitsDevices)
        {
            DropByDevice(plan, kept.AsSpan(0, slots), context);
        }

        (record.AskedSlots, record.DroppedSlots) = (asked, asked - CountUsed(kept.AsSpan(0, slots)));
        RoutingPlan limited = new(plan.NumExperts, kept, Weigh(plan, kept.AsSpan(0, slots), context), plan.Scores) { ChoiceChances = plan.ChoiceChances };
        if (context.Routing.CaptureTokens)
        {
            (record.RequestedExpertIds, record.ExpertIds, record.RoutingWeights) = (plan.ExpertIds.ToArray(), limited.ExpertIds.ToArray(), limited.RoutingWeights.Data.ToArray());
        }

        return limited;
    }

    private Tensor Weigh(in RoutingPlan plan, ReadOnlySpan<int> kept, ForwardContext context) =>
        _rule.Policy == DropPolicy.Reroute
            ? Op.WeighChosen(plan.Scores!.Value.Scores, plan.TopK, kept, new WeightRule(0f, _scale), context) // Reroute is for routers with scores
            : Op.KeepSlots(plan.RoutingWeights, kept, _rule.RenormalizesAfterDrop, context);

    private void Place(in RoutingPlan plan, double factor, int[] kept, ForwardContext context)
    {
        int topK = plan.TopK;
        int[] order = context.Indices.Rent(plan.NumTokens * topK);
        int[] positions = context.Indices.Rent(plan.NumTokens * topK);
        Grow(plan.NumTokens, topK);
        for (int begin = 0; begin < plan.NumTokens;)
        {
            int end = EndOfGroup(begin, plan.NumTokens);
            (int first, int slots) = (begin * topK, (end - begin) * topK);
            Span<int> ids = kept.AsSpan(first, slots);
            SlotPlacement.Order(_rule.Policy, plan.RoutingWeights.Data.Slice(first, slots), topK, _keys, order.AsSpan(0, slots));
            SlotPlacement.Serve(order.AsSpan(0, slots), ids, PlacesOf(factor, begin, end, plan, context), _taken, positions.AsSpan(0, slots));
            for (int slot = 0; slot < slots; slot++)
            {
                ids[slot] = positions[slot] < 0 ? -1 : ids[slot];
            }

            begin = end;
        }
    }

    private void Reroute(in RoutingPlan plan, double factor, int[] kept, ForwardContext context)
    {
        if (plan.TopK != 1 || plan.Scores is not { } scores)
        {
            throw new ConfigurationException("drop_policy 'reroute' is for routers with scores and one expert per token");
        }

        if (context.Intervention is { } intervention && intervention.ChangesChoice((int)_layer))
        {
            throw new InterventionException($"layer {_layer} offers tokens to their next best experts (drop_policy 'reroute'), so that masked experts would come back. Study this model with eval_capacity_factor null.");
        }

        (int[] positions, int[] rounds) = (context.Indices.Rent(plan.NumTokens), context.Indices.Rent(plan.NumTokens));
        (int[] wanted, int[] offered) = (context.Indices.Rent(plan.NumTokens), context.Indices.Rent(plan.NumTokens));
        int experts = plan.NumExperts;
        int maxRounds = _rule.MaxRounds == 0 ? experts : _rule.MaxRounds;
        for (int begin = 0; begin < plan.NumTokens;)
        {
            int end = EndOfGroup(begin, plan.NumTokens);
            int tokens = end - begin;
            TokenPlaces placed = new() { ExpertIds = kept.AsSpan(begin, tokens), Positions = positions.AsSpan(begin, tokens), Rounds = rounds.AsSpan(begin, tokens) };
            RerouteScratch scratch = new() { Wanted = wanted.AsSpan(begin, tokens), Offered = offered.AsSpan(begin, tokens), Taken = _taken };
            SlotPlacement.Reroute(scores.Scores.Data[(begin * experts)..(end * experts)], experts, PlacesOf(factor, begin, end, plan, context), maxRounds, scratch, placed);
            begin = end;
        }
    }

    private void DropByDevice(in RoutingPlan plan, Span<int> kept, ForwardContext context)
    {
        Grow(plan.NumTokens, plan.TopK);
        Protect(context);
        int[] order = context.Indices.Rent(kept.Length);
        int budget = CapacityRule.BudgetOf(_rule.DeviceFactor, context.Batch.CountReal(), _rule.NumDevices, plan.TopK);
        SlotPlacement.DropByDevice(
            plan.RoutingWeights.Data, plan.TopK, _devices!.DeviceOf, budget, _isProtected.AsSpan(0, plan.NumTokens), _keys, order.AsSpan(0, kept.Length), _deviceCounts, kept); // Limit asks for it only where there are devices
    }

    // Whole sequences are protected or not, so that some see what evaluation sees.
    private void Protect(ForwardContext context)
    {
        SplitMix64 random = new(context.NoiseSeed ^ ProtectionStream, _layer);
        for (int sequence = 0; sequence < context.Batch.NumSequences; sequence++)
        {
            (int begin, int count) = context.Batch.Sequence(sequence);
            _isProtected.AsSpan(begin, count).Fill((random.Next() >> 11) * (1.0 / (1UL << 53)) < _rule.ProtectedShare);
        }
    }

    private int PlacesOf(double factor, int begin, int end, in RoutingPlan plan, ForwardContext context)
    {
        int tokens = end - begin;
        ReadOnlySpan<bool> isPadding = context.Batch.IsPadding;
        for (int token = begin; token < end && isPadding.Length > 0 && !_rule.CountsPadding; token++)
        {
            tokens -= isPadding[token] ? 1 : 0;
        }

        return _rule.PlacesOf(factor, tokens, plan.NumExperts, plan.TopK);
    }

    private int EndOfGroup(int begin, int tokens) => _rule.GroupTokens == 0 ? tokens : Math.Min(tokens, begin + _rule.GroupTokens);

    private void Grow(int tokens, int topK)
    {
        if (_keys.Length < tokens * topK)
        {
            _keys = new long[tokens * topK];
        }

        if (_isProtected.Length < tokens)
        {
            _isProtected = new bool[tokens];
        }
    }

    private static void RemovePadding(Span<int> expertIds, int topK, ReadOnlySpan<bool> isPadding)
    {
        for (int slot = 0; slot < expertIds.Length && isPadding.Length > 0; slot++)
        {
            expertIds[slot] = isPadding[slot / topK] ? -1 : expertIds[slot];
        }
    }

    private static int CountUsed(ReadOnlySpan<int> expertIds)
    {
        int count = 0;
        foreach (int expert in expertIds)
        {
            count += expert >= 0 ? 1 : 0;
        }

        return count;
    }
}
