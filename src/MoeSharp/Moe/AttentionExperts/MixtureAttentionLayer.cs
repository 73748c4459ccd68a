using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Layers;
using MoeSharp.Moe.Balance;
using MoeSharp.Moe.Dispatch;
using MoeSharp.Moe.Routing;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Moe.AttentionExperts;

/// <summary>How the experts of a layer's attention are chosen.</summary>
/// <param name="NumExperts">Experts, of a head where heads choose.</param>
/// <param name="TopK">Experts per token.</param>
/// <param name="IsNormalized">Whether the weights of the chosen are divided by their sum.</param>
/// <param name="HasOutputBias">Whether the output has a bias, the same whatever is chosen.</param>
public readonly record struct AttentionExpertChoice(int NumExperts, int TopK, bool IsNormalized, bool HasOutputBias);

/// <summary>Attention whose experts have query heads and an output projection of their own over keys and values that all share.</summary>
/// <remarks>
/// y = sum over chosen e of w_e O_e attention(Q_e x, K x, V x) (MoA, arXiv 2210.05144; JetMoE, arXiv 2404.07413). The heads of a token's k experts lie side by
/// side and share the key and value heads as grouped queries do, so the attention kernel and the cache know nothing of experts.
/// </remarks>
public sealed class MixtureAttentionLayer : IAttentionLayer
{
    private readonly int _layer;
    private readonly AttentionHeads _heads; // of one expert
    private readonly RotaryTable _rotary;
    private readonly AttentionExpertChoice _choice;
    private readonly TopKRouter _router;
    private readonly BalanceLosses _balance = new();
    private readonly LocalDispatcher _dispatcher = new();
    private readonly Parameter _queryProjection; // [experts, heads * head_dim, hidden]
    private readonly Parameter _keyValueProjection; // [2 kv_heads * head_dim, hidden]
    private readonly Parameter _outputProjection; // [experts, hidden, heads * head_dim]
    private readonly Parameter? _outputBias; // [hidden]
    private BalanceConfig? _balanceOf;
    private BalanceConfig _ownBalance = new();

    /// <summary>Builds the layer with zero weights.</summary>
    /// <param name="place">Where it stands.</param>
    /// <param name="heads">Heads of one expert, and the key and value heads of all.</param>
    /// <param name="rotary">Cosines and sines, shared by all layers.</param>
    /// <param name="choice">How experts are chosen.</param>
    public MixtureAttentionLayer(AttentionPlace place, AttentionHeads heads, RotaryTable rotary, AttentionExpertChoice choice)
    {
        (_layer, _heads, _rotary, _choice) = (place.Layer, heads, rotary, choice);
        (int queryWidth, int keyWidth) = (heads.NumHeads * heads.HeadDim, heads.NumKeyValueHeads * heads.HeadDim);
        _router = new TopKRouter($"{place.Name}.router", place.HiddenSize, choice.NumExperts, choice.TopK, choice.IsNormalized, 1f, place.Parameters);
        _queryProjection = place.Add("query_projection", new Shape(choice.NumExperts, queryWidth, place.HiddenSize));
        _keyValueProjection = place.Add("key_value_projection", new Shape(2 * keyWidth, place.HiddenSize));
        _outputProjection = place.Add("output_projection", new Shape(choice.NumExperts, place.HiddenSize, queryWidth));
        _outputBias = choice.HasOutputBias ? place.Add("output_bias", new Shape(place.HiddenSize)) : null;
    }

    /// <inheritdoc/>
    public Tensor Forward(Tensor x, ForwardContext context)
    {
        StepPart before = context.Timer.Switch(StepPart.Router);
        RoutingPlan plan = Route(x, context); // [tokens, top_k]
        context.Timer.Switch(StepPart.Attention);
        SlotOrder order = _dispatcher.Sort(plan.ExpertIds, _choice.NumExperts, _choice.TopK, context);
        SlotHeadOrder places = new(order, new SlotColumns(_choice.TopK, 1, _heads.NumKeyValueHeads, _heads.NumHeads / _heads.NumKeyValueHeads * _heads.HeadDim));
        Tensor rows = Op.GroupedLinear(Op.DispatchRows(x, order, context), order.Offsets, _queryProjection, context); // [routed, heads * head_dim]
        AttentionHeads heads = _heads with { NumHeads = _choice.TopK * _heads.NumHeads };
        Tensor queries = Op.SlotsToHeads(rows, places, context); // [tokens, kv_heads * top_k * (heads / kv_heads) * head_dim]
        Op.RotateInPlace(new AttentionRows(queries, 0), heads.NumHeads, heads.HeadDim, _rotary, context);
        Tensor keysAndValues = Op.Linear(x, _keyValueProjection, context); // [tokens, 2 kv_heads * head_dim]
        Op.RotateInPlace(new AttentionRows(keysAndValues, 0), heads.NumKeyValueHeads, heads.HeadDim, _rotary, context);
        Tensor attended = Op.Attention(
            new AttentionRows(queries, 0), new AttentionRows(keysAndValues, 0), new AttentionRows(keysAndValues, heads.NumKeyValueHeads * heads.HeadDim), heads, null, _layer, context); // as queries
        rows = Op.WeighHeadsToSlots(attended, plan.RoutingWeights, places, context); // [routed, heads * head_dim]
        Tensor output = Op.CombineRows(Op.GroupedLinear(rows, order.Offsets, _outputProjection, context), order, context); // [tokens, hidden]
        if (_outputBias is not null)
        {
            Op.AddBiasInPlace(output, _outputBias, context);
        }

        context.Timer.Switch(before);
        return output;
    }

    private RoutingPlan Route(Tensor x, ForwardContext context)
    {
        LayerRouting record = context.AttentionRouting.Next(_layer, _choice.NumExperts);
        RoutingPlan plan = _router.Route(x, context);
        if (!ReferenceEquals(_balanceOf, context.Balance))
        {
            // Devices hold the experts of the feed-forward; those of attention are not spread.
            _balanceOf = context.Balance;
            _ownBalance = context.Balance with { DeviceAlpha = 0, CommunicationAlpha = 0, NumDeviceGroups = 1, ExpertDevices = [], LoadAlpha = 0 };
        }

        _balance.Record(plan, record, _ownBalance, context);
        context.AttentionObserver?.Invoke(plan.View(_layer) with { Part = ExpertPart.Attention });
        return plan;
    }
}
