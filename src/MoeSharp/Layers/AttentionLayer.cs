using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Layers;

/// <summary>What an attention layer has beside its projections.</summary>
public sealed record AttentionOptions
{
    /// <summary>Whether queries, keys and values have a bias.</summary>
    public bool HasBias { get; init; }

    /// <summary>Whether the output has a bias.</summary>
    public bool HasOutputBias { get; init; }

    /// <summary>Heads of the queries' norm: as many as there are for a norm per head, 1 for a norm of the whole projection, 0 for none.</summary>
    public int NumQueryNorms { get; init; }

    /// <summary>The same for the keys.</summary>
    public int NumKeyNorms { get; init; }

    /// <summary>Epsilon of these norms.</summary>
    public float NormEpsilon { get; init; }

    /// <summary>Limit of queries, keys and values; 0 for none.</summary>
    public float Clip { get; init; }

    /// <summary>Whether each head has a further logit in its softmax.</summary>
    public bool HasSinks { get; init; }
}

/// <summary>Causal self-attention with rotary positions; fewer key/value heads than query heads make it grouped-query attention.</summary>
public sealed class AttentionLayer : IAttentionLayer
{
    private readonly int _layer;
    private readonly AttentionHeads _heads;
    private readonly RotaryTable _rotary;
    private readonly AttentionOptions _options;
    private readonly Parameter _qkvProjection; // [(heads + 2 kv_heads) * head_dim, hidden]: q rows, k rows, v rows
    private readonly Parameter? _qkvBias;
    private readonly HeadNorm? _queryNorm;
    private readonly HeadNorm? _keyNorm;
    private readonly Parameter? _sinks; // [heads]
    private readonly Parameter _outputProjection; // [hidden, heads * head_dim]
    private readonly Parameter? _outputBias;

    /// <summary>Builds the layer with zero weights.</summary>
    /// <param name="place">Where it stands.</param>
    /// <param name="heads">Head geometry, window and cap.</param>
    /// <param name="rotary">Cosines and sines, shared by all layers.</param>
    /// <param name="options">What else it has.</param>
    public AttentionLayer(AttentionPlace place, AttentionHeads heads, RotaryTable rotary, AttentionOptions options)
    {
        (_layer, _heads, _rotary, _options) = (place.Layer, heads, rotary, options);
        int queryWidth = heads.NumHeads * heads.HeadDim;
        int keyWidth = heads.NumKeyValueHeads * heads.HeadDim;
        int qkvWidth = queryWidth + (2 * keyWidth);
        _qkvProjection = place.Add("qkv_projection", new Shape(qkvWidth, place.HiddenSize));
        _qkvBias = options.HasBias ? place.Add("qkv_bias", new Shape(qkvWidth)) : null;
        if (options.NumQueryNorms > 0)
        {
            _queryNorm = new HeadNorm(place.Add("query_norm", new Shape(queryWidth / options.NumQueryNorms)), options.NumQueryNorms);
            _keyNorm = new HeadNorm(place.Add("key_norm", new Shape(keyWidth / options.NumKeyNorms)), options.NumKeyNorms);
        }

        _sinks = options.HasSinks ? place.Add("sinks", new Shape(heads.NumHeads)) : null;
        _outputProjection = place.Add("output_projection", new Shape(place.HiddenSize, queryWidth));
        _outputBias = options.HasOutputBias ? place.Add("output_bias", new Shape(place.HiddenSize)) : null;
    }

    /// <inheritdoc/>
    public Tensor Forward(Tensor x, ForwardContext context)
    {
        StepPart before = context.Timer.Switch(StepPart.Attention);
        Tensor qkv = Op.Linear(x, _qkvProjection, context); // [tokens, (heads + 2 kv_heads) * head_dim]
        if (_qkvBias is not null)
        {
            Op.AddBiasInPlace(qkv, _qkvBias, context);
        }

        Tensor queriesAndKeys = Prepare(qkv, context); // [tokens, at least (heads + kv_heads) * head_dim]
        int keyColumn = _heads.NumHeads * _heads.HeadDim;
        int valueColumn = keyColumn + (_heads.NumKeyValueHeads * _heads.HeadDim);
        Tensor attended = Op.Attention(
            new AttentionRows(queriesAndKeys, 0), new AttentionRows(queriesAndKeys, keyColumn), new AttentionRows(qkv, valueColumn), _heads, _sinks, _layer, context); // [tokens, heads * head_dim]
        Tensor output = Op.Linear(attended, _outputProjection, context); // [tokens, hidden]
        if (_outputBias is not null)
        {
            Op.AddBiasInPlace(output, _outputBias, context);
        }

        context.Timer.Switch(before);
        return output;
    }

    // Norm, clamp, rotation; the values only know the clamp.
    private Tensor Prepare(Tensor qkv, ForwardContext context)
    {
        int keyEnd = (_heads.NumHeads + _heads.NumKeyValueHeads) * _heads.HeadDim;
        Tensor queriesAndKeys = qkv;
        if (_queryNorm is { } queries && _keyNorm is { } keys)
        {
            queriesAndKeys = Op.NormQueriesAndKeys(qkv, queries, keys, _options.NormEpsilon, context); // [tokens, (heads + kv_heads) * head_dim]
        }

        if (_options.Clip > 0)
        {
            Op.ClampInPlace(new AttentionRows(queriesAndKeys, 0), keyEnd, _options.Clip, context);
            Op.ClampInPlace(new AttentionRows(qkv, keyEnd), qkv.Columns - keyEnd, _options.Clip, context);
        }

        return Op.RotateInPlace(new AttentionRows(queriesAndKeys, 0), _heads.NumHeads + _heads.NumKeyValueHeads, _heads.HeadDim, _rotary, context);
    }
}
