using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Layers;
using MoeSharp.Moe.Dispatch;
using MoeSharp.Moe.Routing;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Moe.AttentionExperts;

/// <summary>Attention whose heads have several value and several output projections each, of which a token uses those with the largest sigmoid gates.</summary>
/// <remarks>
/// V_h = sum over chosen e of s_he(x) V_he x, chosen by the token that is looked at; y = sum over h and chosen e of r_he(x) O_he A_h, chosen by the token that
/// looks; s and r are sigmoids of linear gates, neither normalised nor balanced (SwitchHead, arXiv 2312.07987, equations 7 to 10). The cache holds the sums V_h.
/// </remarks>
public sealed class SwitchHeadLayer : IAttentionLayer
{
    private readonly int _layer;
    private readonly AttentionHeads _heads;
    private readonly RotaryTable _rotary;
    private readonly AttentionExpertChoice _choice;
    private readonly SigmoidRouter _valueRouter;
    private readonly SigmoidRouter _outputRouter;
    private readonly LocalDispatcher _dispatcher = new();
    private readonly Parameter _queryKeyProjection; // [(heads + kv_heads) * head_dim, hidden]: q rows, k rows
    private readonly Parameter _valueProjection; // [kv_heads * experts, head_dim, hidden]
    private readonly Parameter _outputProjection; // [heads * experts, hidden, head_dim]
    private readonly Parameter? _outputBias; // [hidden]

    /// <summary>Builds the layer with zero weights.</summary>
    /// <param name="place">Where it stands.</param>
    /// <param name="heads">Head geometry.</param>
    /// <param name="rotary">Cosines and sines, shared by all layers.</param>
    /// <param name="choice">How every head chooses.</param>
    public SwitchHeadLayer(AttentionPlace place, AttentionHeads heads, RotaryTable rotary, AttentionExpertChoice choice)
    {
        (_layer, _heads, _rotary, _choice) = (place.Layer, heads, rotary, choice);
        _queryKeyProjection = place.Add("query_key_projection", new Shape((heads.NumHeads + heads.NumKeyValueHeads) * heads.HeadDim, place.HiddenSize));
        _valueRouter = Router("value_router", heads.NumKeyValueHeads, place);
        _valueProjection = place.Add("value_projection", new Shape(heads.NumKeyValueHeads * choice.NumExperts, heads.HeadDim, place.HiddenSize));
        _outputRouter = Router("output_router", heads.NumHeads, place);
        _outputProjection = place.Add("output_projection", new Shape(heads.NumHeads * choice.NumExperts, place.HiddenSize, heads.HeadDim));
        _outputBias = choice.HasOutputBias ? place.Add("output_bias", new Shape(place.HiddenSize)) : null;
    }

    /// <inheritdoc/>
    public Tensor Forward(Tensor x, ForwardContext context)
    {
        StepPart before = context.Timer.Switch(StepPart.Attention);
        Tensor queriesAndKeys = Op.Linear(x, _queryKeyProjection, context); // [tokens, (heads + kv_heads) * head_dim]
        Op.RotateInPlace(new AttentionRows(queriesAndKeys, 0), _heads.NumHeads + _heads.NumKeyValueHeads, _heads.HeadDim, _rotary, context);
        Tensor values = Values(x, context); // [tokens, kv_heads * head_dim]
        int keyColumn = _heads.NumHeads * _heads.HeadDim;
        Tensor attended = Op.Attention(new AttentionRows(queriesAndKeys, 0), new AttentionRows(queriesAndKeys, keyColumn), new AttentionRows(values, 0), _heads, null, _layer, context); // [tokens, heads * head_dim]
        Tensor output = Output(x, attended, context); // [tokens, hidden]
        if (_outputBias is not null)
        {
            Op.AddBiasInPlace(output, _outputBias, context);
        }

        context.Timer.Switch(before);
        return output;
    }

    private SigmoidRouter Router(string name, int heads, AttentionPlace place) => new(
        new HeadRouterProjection($"{place.Name}.{name}", place.HiddenSize, heads, _choice.NumExperts, place.Parameters), new ExpertSelection(new ExpertChoice(_choice.TopK), new WeightRule(0f, 1f), null));

    private Tensor Values(Tensor x, ForwardContext context)
    {
        RoutingPlan plan = _valueRouter.Route(x, context); // [tokens * kv_heads, top_k]
        SlotHeadOrder places = Sort(plan, _heads.NumKeyValueHeads, ExpertPart.AttentionValues, context);
        Tensor rows = Op.GroupedLinear(Op.DispatchRows(x, places.Order, context), places.Order.Offsets, _valueProjection, context); // [routed, head_dim]
        return Op.WeighSlotsToHeads(rows, plan.RoutingWeights, places, context); // [tokens, kv_heads * head_dim]
    }

    private Tensor Output(Tensor x, Tensor attended, ForwardContext context)
    {
        RoutingPlan plan = _outputRouter.Route(x, context); // [tokens * heads, top_k]
        SlotHeadOrder places = Sort(plan, _heads.NumHeads, ExpertPart.AttentionOutputs, context);
        Tensor rows = Op.WeighHeadsToSlots(attended, plan.RoutingWeights, places, context); // [routed, head_dim]
        return Op.CombineRows(Op.GroupedLinear(rows, places.Order.Offsets, _outputProjection, context), places.Order, context); // [tokens, hidden]
    }

    // Expert e of head h is matrix h * experts + e; a token has top_k slots for every head.
    private SlotHeadOrder Sort(in RoutingPlan plan, int heads, ExpertPart part, ForwardContext context)
    {
        ReadOnlySpan<int> chosen = plan.ExpertIds;
        int[] matrices = context.Indices.Rent(chosen.Length);
        for (int slot = 0; slot < chosen.Length; slot++)
        {
            matrices[slot] = (slot / _choice.TopK % heads * _choice.NumExperts) + chosen[slot];
        }

        int slotsPerToken = heads * _choice.TopK;
        if (context.AttentionObserver is { } observer)
        {
            MoeView view = new()
            {
                Layer = _layer,
                Part = part,
                NumExperts = heads * _choice.NumExperts,
                TopK = slotsPerToken,
                ExpertIds = matrices.AsSpan(0, chosen.Length),
                RoutingWeights = plan.RoutingWeights.Data,
                Routed = [],
            };
            observer(view);
        }

        SlotOrder order = _dispatcher.Sort(matrices.AsSpan(0, chosen.Length), heads * _choice.NumExperts, slotsPerToken, context);
        return new SlotHeadOrder(order, new SlotColumns(slotsPerToken, _choice.TopK, 1, _heads.HeadDim));
    }
}
