using MoeSharp.Kernels;
using MoeSharp.Layers;
using MoeSharp.Model.Blocks;
using MoeSharp.Moe.AttentionExperts;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Model;

/// <summary>Puts the decoder layers of a model together, as its configuration describes them.</summary>
/// <param name="config">The architecture.</param>
/// <param name="parameters">Receives the weights, in model order.</param>
internal sealed class DecoderAssembly(ModelConfig config, ICollection<Parameter> parameters)
{
    private readonly RotaryTable _rotary = RopeFrequencies.Table(config);

    /// <summary>Builds one layer with zero weights.</summary>
    public IDecoderBlock Block(int layer)
    {
        string name = $"layers.{layer}";
        INormLayer attentionNorm = Norm($"{name}.attention_norm");
        IAttentionLayer attention = Attention(new AttentionPlace($"{name}.attention", layer, config.HiddenSize, parameters));
        switch (config.BlockLayout)
        {
            case BlockLayout.SandwichNorm:
                INormLayer attentionOutputNorm = Norm($"{name}.attention_output_norm");
                INormLayer innerNorm = Norm($"{name}.feed_forward_norm");
                IFeedForward inner = FeedForward(name, layer);
                return new SandwichNormBlock(attentionNorm, attention, attentionOutputNorm, innerNorm, inner, Norm($"{name}.feed_forward_output_norm"));

            case BlockLayout.NormedResidual:
                ResidualScales scales = config.ResidualScales;
                ResidualFactors factors = config.AttentionOf(layer) == AttentionKind.Linear
                    ? new ResidualFactors(scales.LinearAttentionAlpha, scales.LinearAttentionBeta)
                    : new ResidualFactors(scales.FullAttentionAlpha, scales.FullAttentionBeta);
                return new NormedResidualBlock(
                    attentionNorm, attention, factors, Norm($"{name}.feed_forward_norm"), FeedForward(name, layer), new ResidualFactors(scales.FeedForwardAlpha, scales.FeedForwardBeta));

            case BlockLayout.ParallelExperts when config.IsMoeLayer(layer):
                INormLayer residualNorm = Norm($"{name}.residual_norm");
                FeedForwardLayer residual = new($"{name}.residual_feed_forward", config.HiddenSize, config.HiddenSize, parameters); // as wide inside as outside
                return new ParallelExpertsBlock(attentionNorm, attention, residualNorm, residual, Norm($"{name}.feed_forward_norm"), FeedForward(name, layer));

            default:
                return new PreNormBlock(attentionNorm, attention, Norm($"{name}.feed_forward_norm"), FeedForward(name, layer));
        }
    }

    /// <summary>Builds the norm before the head.</summary>
    public INormLayer FinalNorm() => Norm("final_norm", config.FinalNormEps > 0 ? config.FinalNormEps : config.RmsNormEps);

    // A norm over the residual stream.
    private INormLayer Norm(string name) => Norm(name, config.RmsNormEps);

    private INormLayer Norm(string name, float epsilon)
    {
        Parameter weight = new(name, new Shape(config.HiddenSize));
        parameters.Add(weight);
        return config.UsesLayerNorm ? new CenteredNormLayer(weight, epsilon) : new RmsNormLayer(weight, epsilon);
    }

    private IAttentionLayer Attention(AttentionPlace place)
    {
        AttentionKind kind = config.AttentionOf(place.Layer);
        if (kind == AttentionKind.Linear)
        {
            return new LinearAttentionLayer(place, config.NumAttentionHeads, config.HeadDim, config.NumHiddenLayers);
        }

        float scale = (float)config.ScoreScale;
        if (config.LatentAttention is { } latent)
        {
            LatentHeads widths = new(config.NumAttentionHeads, latent.QueryRank, latent.LatentRank, latent.NopeHeadDim, latent.RopeHeadDim, latent.ValueHeadDim, scale);
            return new LatentAttentionLayer(place, widths, _rotary, config.AttentionBias, config.AttentionOutputBias);
        }

        AttentionHeads heads = new(config.NumAttentionHeads, config.NumKeyValueHeads, config.HeadDim, scale)
        {
            Window = kind == AttentionKind.Sliding ? config.SlidingWindow : 0,
            ScoreCap = config.AttentionScoreCap,
        };
        if (config.AttentionExperts is { } experts)
        {
            AttentionExpertChoice choice = new(experts.NumExperts, experts.TopK, experts.NormTopKProb, config.AttentionOutputBias);
            return experts.Kind == AttentionExpertsKind.Mixture ? new MixtureAttentionLayer(place, heads, _rotary, choice) : new SwitchHeadLayer(place, heads, _rotary, choice);
        }

        return new AttentionLayer(place, heads, _rotary, Options());
    }

    private AttentionOptions Options() => new()
    {
        HasBias = config.AttentionBias,
        HasOutputBias = config.AttentionOutputBias,
        NumQueryNorms = NumNorms(config.NumAttentionHeads),
        NumKeyNorms = NumNorms(config.NumKeyValueHeads),
        NormEpsilon = config.RmsNormEps,
        Clip = config.ClipQkv,
        HasSinks = config.HasAttentionSinks,
    };

    private int NumNorms(int numHeads) => config.QueryKeyNorm switch
    {
        QueryKeyNorm.PerHead => numHeads,
        QueryKeyNorm.WholeProjection => 1,
        _ => 0,
    };

    private IFeedForward FeedForward(string name, int layer) => config.IsMoeLayer(layer)
        ? MoeAssembly.Build(new MoePlace(layer, $"{name}.moe", config.HiddenSize, parameters) { VocabSize = config.VocabSize }, config.Moe!) // IsMoeLayer is false without experts
        : new FeedForwardLayer($"{name}.feed_forward", config.HiddenSize, config.IntermediateSize, parameters);
}
