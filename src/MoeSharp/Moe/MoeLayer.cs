using MoeSharp.Execution;
using MoeSharp.Layers;
using MoeSharp.Moe.Balance;
using MoeSharp.Moe.Dispatch;
using MoeSharp.Moe.Routing;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Moe;

/// <summary>A mixture of experts: router, dispatch, routed experts, combine, and the shared experts beside them.</summary>
/// <remarks>h = sum over shared FFN_i(u) + sum over chosen g_i FFN_i(u) (DeepSeekMoE, arXiv 2401.06066, equation 9; the residual is the block's).</remarks>
public sealed class MoeLayer : IFeedForward
{
    private readonly int _layer;
    private readonly IRouter _router;
    private readonly BalanceLosses _balance;
    private readonly LocalDispatcher _dispatcher;
    private readonly GroupedExperts _experts;
    private readonly IFeedForward? _shared;
    private readonly CapacityLimiter? _capacity;
    private readonly Parameter? _outputBias; // [hidden]

    /// <summary>Puts a layer together from its parts.</summary>
    /// <param name="layer">Index of the decoder layer, for the record.</param>
    /// <param name="router">Chooses experts.</param>
    /// <param name="experts">Routed experts.</param>
    /// <param name="shared">Shared experts, or null for none.</param>
    /// <param name="capacity">Limit of what an expert takes, or null for none: then no token is ever dropped.</param>
    /// <param name="outputBias">Added to the sum of the routed experts, [hidden], or null for none.</param>
    public MoeLayer(int layer, IRouter router, GroupedExperts experts, IFeedForward? shared, CapacityLimiter? capacity = null, Parameter? outputBias = null)
    {
        (_layer, _router, _experts, _shared, _capacity, _outputBias) = (layer, router, experts, shared, capacity, outputBias);
        (_balance, _dispatcher) = (new BalanceLosses(), new LocalDispatcher());
    }

    /// <inheritdoc/>
    public Tensor Forward(Tensor x, ForwardContext context)
    {
        StepPart before = context.Timer.Switch(StepPart.Router);
        LayerRouting record = context.Routing.Next(_layer, _experts.NumExperts);
        RoutingPlan plan = _router.Route(x, context); // expert_ids, routing_weights: [tokens, top_k]
        if (context.Intervention is { } intervention && intervention.ChangesChoice(_layer))
        {
            plan = ExpertLimits.Apply(_router, plan, _layer, intervention, context);
        }

        _balance.Record(plan, record, context); // auxiliary losses into the pass's record
        plan = _capacity is null ? plan : _capacity.Limit(plan, record, context); // slots without a place become -1
        context.Timer.Switch(StepPart.Dispatch);
        DispatchedRows rows = _dispatcher.Dispatch(x, plan, context); // [routed, hidden], grouped by expert
        context.Timer.Switch(StepPart.Experts);
        Tensor output = _experts.Forward(rows, context); // [routed, hidden]
        context.Timer.Switch(StepPart.Dispatch);
        Tensor routed = _dispatcher.Combine(output, rows, context); // [tokens, hidden]
        if (_outputBias is not null)
        {
            Op.AddBiasInPlace(routed, _outputBias, context);
        }

        context.Timer.Switch(before);
        Tensor? shared = _shared is null || context.Intervention is { WithoutSharedExperts: true } ? null : _shared.Forward(x, context); // [tokens, hidden]
        if (context.MoeObserver is { } observer)
        {
            observer(plan.View(_layer) with
            {
                AskedSlots = record.AskedSlots,
                DroppedSlots = record.DroppedSlots,
                Routed = routed.Data,
                Shared = shared is null ? [] : shared.Data,
            });
        }

        return shared is null ? routed : Op.Add(routed, shared, context); // [tokens, hidden]
    }
}
