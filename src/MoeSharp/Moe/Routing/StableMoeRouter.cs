using MoeSharp.Execution;
using MoeSharp.Moe.Balance;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Moe.Routing;

/// <summary>Factors of StableMoE's losses and the length of its first stage.</summary>
/// <param name="FirstStage">Share of the training run that the first stage takes.</param>
/// <param name="BalanceFactor">Factor of the balance loss.</param>
/// <param name="DistillFactor">Factor of the distillation.</param>
/// <param name="IsMean">Whether both are means over real tokens instead of sums.</param>
public readonly record struct StableMoeRule(double FirstStage, float BalanceFactor, float DistillFactor, bool IsMean);

/// <summary>One expert per token in two stages: first learned and at the same time taught to a light router that sees token ids alone, then fixed by that one (StableMoE, arXiv 2204.08396).</summary>
/// <remarks>
/// First stage: the expert with the largest affinity, with a balance loss; the light router learns these choices by cross-entropy. Second stage, and every pass
/// without gradients: the expert that the light router likes best; it gets no gradient any more, hence no update and no weight decay. The weight is the sigmoid of the
/// live affinity throughout.
/// </remarks>
/// <param name="projection">Gives the affinities.</param>
/// <param name="light">The light router.</param>
/// <param name="rule">Stages and losses.</param>
/// <param name="scale">Factor on the weights.</param>
public sealed class StableMoeRouter(IRouterProjection projection, IRouterProjection light, StableMoeRule rule, float scale) : IScoredRouter
{
    private readonly GatedChoice _choice = new(1, new WeightRule(0f, scale));

    /// <inheritdoc/>
    public RoutingPlan Route(Tensor x, ForwardContext context)
    {
        Tensor affinities = projection.Forward(x, context); // [tokens, experts]
        Tensor gates = Op.Sigmoid(affinities, context); // [tokens, experts]
        RouterScores scores = new(affinities, gates, Op.NormalizeRows(gates, context), null);
        Tensor lightLogits = light.Forward(x, context); // [tokens, experts]
        if (context.Tape is null || context.Progress >= rule.FirstStage)
        {
            return _choice.Best(lightLogits, scores with { Logits = lightLogits }, context);
        }

        RoutingPlan plan = _choice.Best(affinities, scores, context);
        double share = rule.IsMean ? 1.0 / Math.Max(1, context.Batch.CountReal()) : 1;
        Balance(plan, share, context);
        float factor = (float)(rule.DistillFactor * context.AuxiliaryScale * share);
        context.Routing.Current.Losses[AuxiliaryLoss.Distillation] = share * Op.Distill(lightLogits, plan.ExpertIds, factor, context);
        return plan;
    }

    /// <inheritdoc/>
    public RoutingPlan Choose(in RouterScores scores, in ExpertLimits limits, ForwardContext context) => _choice.Best(scores.Logits, limits, scores, context);

    private void Balance(in RoutingPlan plan, double share, ForwardContext context)
    {
        Tensor slopes = context.Pool.Rent(new Shape(1, plan.NumExperts)); // [1, experts]
        double loss = GateBalanceLoss.Measure(plan.ExpertIds, plan.RoutingWeights.Data, context.Batch.IsPadding, slopes.Data);
        foreach (ref float slope in slopes.Data)
        {
            slope *= (float)(rule.BalanceFactor * context.AuxiliaryScale * share / scale); // weights are gates times the scale
        }

        Op.AddImportanceSlopes(plan.RoutingWeights, plan.ExpertIds, slopes, context);
        context.Routing.Current.Losses[AuxiliaryLoss.GateBalance] = share * loss / scale;
    }
}

/// <summary>Logits of a token id alone: a narrow embedding times a vector per expert.</summary>
public sealed class TokenProjection : IRouterProjection
{
    private readonly Parameter _embedding; // [vocab, width]
    private readonly Parameter _weight; // [experts, width]

    /// <summary>Builds the projection with zero weights.</summary>
    /// <param name="embedding">Name of the embedding.</param>
    /// <param name="name">Name of the experts' vectors.</param>
    /// <param name="vocabSize">Tokens.</param>
    /// <param name="width">Width of the embedding.</param>
    /// <param name="numExperts">Routed experts.</param>
    /// <param name="parameters">Receives the weights.</param>
    public TokenProjection(string embedding, string name, int vocabSize, int width, int numExperts, ICollection<Parameter> parameters)
    {
        parameters.Add(_embedding = new Parameter(embedding, new Shape(vocabSize, width)));
        parameters.Add(_weight = new Parameter(name, new Shape(numExperts, width)));
    }

    /// <inheritdoc/>
    public int NumExperts => _weight.Shape[0];

    /// <inheritdoc/>
    public Tensor Forward(Tensor x, ForwardContext context) => Op.Linear(Op.Embed(_embedding, context), _weight, context); // [tokens, experts]
}
