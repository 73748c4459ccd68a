using MoeSharp.Execution;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Layers;

/// <summary>Lightning attention: a decaying sum of key-value products per head instead of a softmax, no positions, a gated and normed output (MiniMax-01, arXiv 2501.08313).</summary>
public sealed class LinearAttentionLayer : IAttentionLayer
{
    private const float OutputNormEpsilon = 1e-6f; // of the released code, whatever rms_norm_eps says

    private readonly int _layer;
    private readonly int _headDim;
    private readonly float[] _decays; // [heads]
    private readonly Parameter _qkvProjection; // [heads * 3 head_dim, hidden]: q, k and v of a head lie together
    private readonly Parameter _outputGateProjection; // [heads * head_dim, hidden]
    private readonly RmsNormLayer _outputNorm;
    private readonly Parameter _outputProjection; // [hidden, heads * head_dim]

    /// <summary>Builds the layer with zero weights.</summary>
    /// <param name="place">Where it stands.</param>
    /// <param name="numHeads">Heads.</param>
    /// <param name="headDim">Width of a head.</param>
    /// <param name="numLayers">Decoder layers of the model: later ones forget more slowly.</param>
    public LinearAttentionLayer(AttentionPlace place, int numHeads, int headDim, int numLayers)
    {
        (_layer, _headDim) = (place.Layer, headDim);
        _decays = Decays(numHeads, place.Layer, numLayers);
        int width = numHeads * headDim;
        _qkvProjection = place.Add("qkv_projection", new Shape(3 * width, place.HiddenSize));
        _outputGateProjection = place.Add("output_gate_projection", new Shape(width, place.HiddenSize));
        _outputNorm = new RmsNormLayer(place.Add("output_norm", new Shape(width)), OutputNormEpsilon);
        _outputProjection = place.Add("output_projection", new Shape(place.HiddenSize, width));
    }

    /// <inheritdoc/>
    public Tensor Forward(Tensor x, ForwardContext context)
    {
        StepPart before = context.Timer.Switch(StepPart.Attention);
        Tensor qkv = Op.SiluInPlace(Op.Linear(x, _qkvProjection, context), context); // [tokens, heads * 3 head_dim]
        Tensor attended = Op.LinearAttention(qkv, _decays, _headDim, _layer, context); // [tokens, heads * head_dim]
        Tensor gate = Op.Linear(x, _outputGateProjection, context); // [tokens, heads * head_dim]
        Tensor gated = Op.SigmoidGateInPlace(_outputNorm.Forward(attended, context), gate, context); // [tokens, heads * head_dim]
        Tensor output = Op.Linear(gated, _outputProjection, context); // [tokens, hidden]
        context.Timer.Switch(before);
        return output;
    }

    // e^-slope with slope_h = 2^(-8 h / heads) (1 - layer / (layers - 1) + 1e-5), h from 1, layers as the released code counts them.
    private static float[] Decays(int numHeads, int layer, int numLayers)
    {
        const double Tiny = 1e-5;
        double depth = 1 - (layer / (numLayers - 1 + Tiny)) + Tiny;
        return [.. Enumerable.Range(1, numHeads).Select(head => (float)Math.Exp(-Math.Pow(2, -8.0 * head / numHeads) * depth))];
    }
}
