using MoeSharp.Execution;
using MoeSharp.Moe.Routing.Assignment;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Moe.Routing;

/// <summary>The experts that a balanced transport plan of the pass's tokens sends each token to (S-BASE of Clark et al., arXiv 2202.01169).</summary>
/// <remarks>
/// Training passes choose by the plan, other passes by the logits, so that no text depends on its neighbours. The weight is the sigmoid or softmax of the logits
/// themselves, through which the router learns; the plan has no gradient. Padding takes no part.
/// </remarks>
/// <param name="projection">Gives the logits.</param>
/// <param name="rule">How the plan is made.</param>
/// <param name="isSigmoid">Whether weights are sigmoids instead of a softmax over all experts.</param>
/// <param name="choice">Chooses and weighs.</param>
public sealed class SinkhornRouter(IRouterProjection projection, SinkhornRule rule, bool isSigmoid, GatedChoice choice) : IScoredRouter
{
    private readonly SinkhornScaling _scaling = new();

    /// <inheritdoc/>
    public RoutingPlan Route(Tensor x, ForwardContext context)
    {
        Tensor logits = projection.Forward(x, context); // [tokens, experts]
        RouterScores scores = Score(logits, context);
        return choice.Best(context.Tape is null ? logits : Plan(logits, context, out _), scores, context);
    }

    /// <inheritdoc/>
    public RoutingPlan Choose(in RouterScores scores, in ExpertLimits limits, ForwardContext context) => choice.Best(scores.Logits, limits, scores, context);

    /// <summary>The transport plan of a pass's tokens, without gradient.</summary>
    /// <param name="logits">[tokens, experts].</param>
    /// <param name="context">Context.</param>
    /// <param name="rounds">= rounds that it took.</param>
    /// <returns>[tokens, experts]; 0 for padding.</returns>
    public Tensor Plan(Tensor logits, ForwardContext context, out int rounds)
    {
        Tensor plan = context.Pool.Rent(logits.Shape); // [tokens, experts]
        rounds = _scaling.Balance(logits.Data, logits.Columns, context.Batch.IsPadding, rule, plan.Data);
        return plan;
    }

    private RouterScores Score(Tensor logits, ForwardContext context)
    {
        if (isSigmoid)
        {
            Tensor gates = Op.Sigmoid(logits, context); // [tokens, experts]
            return new RouterScores(logits, gates, Op.NormalizeRows(gates, context), null);
        }

        Tensor probs = Op.Softmax(logits, out Tensor logSumExp, context); // [tokens, experts]
        return new RouterScores(logits, probs, probs, logSumExp);
    }
}
