using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Layers;

/// <summary>Causal self-attention with rotary positions; fewer key/value heads than query heads make it grouped-query attention.</summary>
public sealed class AttentionLayer
{
    private readonly int _layer;
    private readonly AttentionHeads _heads;
    private readonly RotaryTable _rotary;
    private readonly Parameter _qkvProjection; // [(heads + 2 kv_heads) * head_dim, hidden]: q rows, k rows, v rows
    private readonly Parameter? _qkvBias;
    private readonly Parameter _outputProjection; // [hidden, heads * head_dim]
    private readonly Parameter? _outputBias;

    /// <summary>Builds the layer with zero weights.</summary>
    /// <param name="name">Path of the layer.</param>
    /// <param name="layer">Index of the decoder layer, for the cache.</param>
    /// <param name="hiddenSize">Width of the residual stream.</param>
    /// <param name="heads">Head geometry.</param>
    /// <param name="hasBias">Whether the projections have a bias.</param>
    /// <param name="rotary">Cosines and sines, shared by all layers.</param>
    /// <param name="parameters">Receives the weights.</param>
    public AttentionLayer(string name, int layer, int hiddenSize, AttentionHeads heads, bool hasBias, RotaryTable rotary, ICollection<Parameter> parameters)
    {
        (_layer, _heads, _rotary) = (layer, heads, rotary);
        int qkvWidth = (heads.NumHeads + (2 * heads.NumKeyValueHeads)) * heads.HeadDim;
        _qkvProjection = new Parameter($"{name}.qkv_projection", new Shape(qkvWidth, hiddenSize));
        _outputProjection = new Parameter($"{name}.output_projection", new Shape(hiddenSize, heads.NumHeads * heads.HeadDim));
        parameters.Add(_qkvProjection);
        if (hasBias)
        {
            parameters.Add(_qkvBias = new Parameter($"{name}.qkv_bias", new Shape(qkvWidth)));
        }

        parameters.Add(_outputProjection);
        if (hasBias)
        {
            parameters.Add(_outputBias = new Parameter($"{name}.output_bias", new Shape(hiddenSize)));
        }
    }

    /// <summary>Attends within the batch's segments, or over the cache when the context has one.</summary>
    /// <param name="x">[tokens, hidden].</param>
    /// <param name="context">Context.</param>
    /// <returns>[tokens, hidden].</returns>
    public Tensor Forward(Tensor x, ForwardContext context)
    {
        StepPart before = context.Timer.Switch(StepPart.Attention);
        Tensor qkv = Op.Linear(x, _qkvProjection, context); // [tokens, (heads + 2 kv_heads) * head_dim]
        if (_qkvBias is not null)
        {
            Op.AddBiasInPlace(qkv, _qkvBias, context);
        }

        Op.RotateInPlace(qkv, _heads.NumHeads + _heads.NumKeyValueHeads, _rotary, context);
        AttentionRows q = new(qkv, 0);
        AttentionRows k = new(qkv, _heads.NumHeads * _heads.HeadDim);
        AttentionRows v = new(qkv, (_heads.NumHeads + _heads.NumKeyValueHeads) * _heads.HeadDim);
        Tensor attended = Op.Attention(q, k, v, _heads, null, _layer, context); // [tokens, heads * head_dim]
        Tensor output = Op.Linear(attended, _outputProjection, context); // [tokens, hidden]
        if (_outputBias is not null)
        {
            Op.AddBiasInPlace(output, _outputBias, context);
        }

        context.Timer.Switch(before);
        return output;
    }
}
