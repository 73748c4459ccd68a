using MoeSharp.Execution;
using MoeSharp.Moe.Routing.Assignment;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Moe.Routing;

/// <summary>One expert per token, all experts equally many tokens, the sum of affinities the largest there is (BASE layers, arXiv 2103.16716).</summary>
/// <remarks>
/// Training passes assign all real tokens of the pass together; other passes take each token's best expert, so that no text depends on its neighbours.
/// Either way the weight is the sigmoid of the affinity, through which the router learns; the assignment itself has no gradient.
/// </remarks>
/// <param name="projection">Gives the affinities.</param>
/// <param name="scale">Factor on the weights.</param>
public sealed class AssignmentRouter(IRouterProjection projection, float scale) : IScoredRouter
{
    private readonly BalancedAuction _auction = new();
    private readonly GatedChoice _choice = new(1, new WeightRule(0f, scale));

    /// <inheritdoc/>
    public RoutingPlan Route(Tensor x, ForwardContext context)
    {
        Tensor affinities = projection.Forward(x, context); // [tokens, experts]
        Tensor gates = Op.Sigmoid(affinities, context); // [tokens, experts]
        RouterScores scores = new(affinities, gates, Op.NormalizeRows(gates, context), null);
        if (context.Tape is null)
        {
            return _choice.Best(affinities, scores, context);
        }

        int[] expertIds = context.Indices.Rent(affinities.Rows);
        _auction.Solve(affinities.Data, affinities.Columns, context.Batch.IsPadding, expertIds.AsSpan(0, affinities.Rows));
        return _choice.Given(expertIds, scores, context);
    }

    /// <inheritdoc/>
    public RoutingPlan Choose(in RouterScores scores, in ExpertLimits limits, ForwardContext context) => _choice.Best(scores.Logits, limits, scores, context);
}
