using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Layers;

/// <summary>Widths of latent attention.</summary>
/// <param name="NumHeads">Heads.</param>
/// <param name="QueryRank">Width of the compressed queries, or 0 for a full projection.</param>
/// <param name="LatentRank">Width of the latent.</param>
/// <param name="NopeHeadDim">Part of a head without rotation.</param>
/// <param name="RopeHeadDim">Rotated part of a head.</param>
/// <param name="ValueHeadDim">Width of a head's values.</param>
/// <param name="Scale">Factor on the scores.</param>
public readonly record struct LatentHeads(int NumHeads, int QueryRank, int LatentRank, int NopeHeadDim, int RopeHeadDim, int ValueHeadDim, float Scale);

/// <summary>Multi-head latent attention in its absorbed form: queries are taken to the latent and the attended latents to values, so that keys and values of the heads never exist.</summary>
/// <remarks>
/// DeepSeek-V2, arXiv 2405.04434, section 2.1: q_h^T k_h = (W_h^UK^T q_h^nope)^T c + q_h^rope^T k^rope, and sum p v_h = W_h^UV (sum p c).
/// One key head of latent and rotary part serves all query heads; the cache keeps nothing else.
/// </remarks>
public sealed class LatentAttentionLayer : IAttentionLayer
{
    private const float InnerEpsilon = 1e-6f; // of the released code, whatever rms_norm_eps says

    private readonly int _layer;
    private readonly LatentHeads _heads;
    private readonly RotaryTable _rotary;
    private readonly Parameter? _queryLatentProjection; // [query_rank, hidden]
    private readonly Parameter? _queryLatentBias;
    private readonly RmsNormLayer? _queryLatentNorm;
    private readonly Parameter _queryProjection; // [heads * (nope + rope), hidden or query_rank]
    private readonly Parameter _latentProjection; // [latent + rope, hidden]
    private readonly Parameter? _latentBias;
    private readonly Parameter _latentNorm; // [latent]
    private readonly Parameter _keyProjection; // [heads, latent, nope]
    private readonly Parameter _valueProjection; // [heads, value, latent]
    private readonly Parameter _outputProjection; // [hidden, heads * value]
    private readonly Parameter? _outputBias;

    /// <summary>Builds the layer with zero weights.</summary>
    /// <param name="place">Where it stands.</param>
    /// <param name="heads">Widths.</param>
    /// <param name="rotary">Cosines and sines of the rotary part, shared by all layers.</param>
    /// <param name="hasBias">Whether the projections from the residual stream have a bias, the full query projection excepted.</param>
    /// <param name="hasOutputBias">Whether the output has a bias.</param>
    public LatentAttentionLayer(AttentionPlace place, LatentHeads heads, RotaryTable rotary, bool hasBias, bool hasOutputBias)
    {
        (_layer, _heads, _rotary) = (place.Layer, heads, rotary);
        int queryWidth = heads.NumHeads * (heads.NopeHeadDim + heads.RopeHeadDim);
        if (heads.QueryRank > 0)
        {
            _queryLatentProjection = place.Add("query_latent_projection", new Shape(heads.QueryRank, place.HiddenSize));
            _queryLatentBias = hasBias ? place.Add("query_latent_bias", new Shape(heads.QueryRank)) : null;
            _queryLatentNorm = new RmsNormLayer(place.Add("query_latent_norm", new Shape(heads.QueryRank)), InnerEpsilon);
        }

        _queryProjection = place.Add("query_projection", new Shape(queryWidth, heads.QueryRank > 0 ? heads.QueryRank : place.HiddenSize));
        _latentProjection = place.Add("latent_projection", new Shape(heads.LatentRank + heads.RopeHeadDim, place.HiddenSize));
        _latentBias = hasBias ? place.Add("latent_bias", new Shape(heads.LatentRank + heads.RopeHeadDim)) : null;
        _latentNorm = place.Add("latent_norm", new Shape(heads.LatentRank));
        _keyProjection = place.Add("key_projection", new Shape(heads.NumHeads, heads.LatentRank, heads.NopeHeadDim));
        _valueProjection = place.Add("value_projection", new Shape(heads.NumHeads, heads.ValueHeadDim, heads.LatentRank));
        _outputProjection = place.Add("output_projection", new Shape(place.HiddenSize, heads.NumHeads * heads.ValueHeadDim));
        _outputBias = hasOutputBias ? place.Add("output_bias", new Shape(place.HiddenSize)) : null;
    }

    /// <inheritdoc/>
    public Tensor Forward(Tensor x, ForwardContext context)
    {
        StepPart before = context.Timer.Switch(StepPart.Attention);
        Tensor queries = Op.LatentQueries(Queries(x, context), _keyProjection, context); // [tokens, heads * (latent | rope)]
        Tensor keys = Keys(x, context); // [tokens, latent | rope]
        Tensor attended = Attend(queries, keys, context); // [tokens, heads * (latent ...)]
        Tensor values = Op.LinearHeads(attended, _valueProjection, context); // [tokens, heads * value]
        Tensor output = Op.Linear(values, _outputProjection, context); // [tokens, hidden]
        if (_outputBias is not null)
        {
            Op.AddBiasInPlace(output, _outputBias, context);
        }

        context.Timer.Switch(before);
        return output;
    }

    private Tensor Queries(Tensor x, ForwardContext context)
    {
        if (_queryLatentProjection is not null && _queryLatentNorm is not null)
        {
            x = Op.Linear(x, _queryLatentProjection, context); // [tokens, query_rank]
            if (_queryLatentBias is not null)
            {
                Op.AddBiasInPlace(x, _queryLatentBias, context);
            }

            x = _queryLatentNorm.Forward(x, context); // [tokens, query_rank]
        }

        Tensor queries = Op.Linear(x, _queryProjection, context); // [tokens, heads * (nope | rope)]
        return Op.RotateInPlace(new AttentionRows(queries, _heads.NopeHeadDim), _heads.NumHeads, _heads.NopeHeadDim + _heads.RopeHeadDim, _rotary, context);
    }

    private Tensor Keys(Tensor x, ForwardContext context)
    {
        Tensor latent = Op.Linear(x, _latentProjection, context); // [tokens, latent | rope]
        if (_latentBias is not null)
        {
            Op.AddBiasInPlace(latent, _latentBias, context);
        }

        Tensor keys = Op.LatentKeys(latent, _latentNorm, InnerEpsilon, context); // [tokens, latent | rope]
        return Op.RotateInPlace(new AttentionRows(keys, _heads.LatentRank), 1, _heads.LatentRank + _heads.RopeHeadDim, _rotary, context);
    }

    // The values are the latent part of the keys. A backward pass exists for values as wide as keys, so training takes the whole key and leaves its rotary part unused:
    // the same bits where they are used.
    private Tensor Attend(Tensor queries, Tensor keys, ForwardContext context)
    {
        AttentionHeads heads = new(_heads.NumHeads, 1, _heads.LatentRank + _heads.RopeHeadDim, _heads.Scale);
        return context.Tape is null
            ? Op.Attention(new AttentionRows(queries, 0), new AttentionRows(keys, 0), new AttentionRows(keys, 0), heads with { ValueDim = _heads.LatentRank }, null, _layer, context)
            : Op.Attention(new AttentionRows(queries, 0), new AttentionRows(keys, 0), new AttentionRows(Op.Copy(keys, context), 0), heads, null, _layer, context);
    }
}
