using MoeSharp.Moe.Balance;
using MoeSharp.Moe.Routing;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Model.Routers;

/// <summary>Learned scores, the top k kept (DeepSeekMoE, GShard without its randomness, Switch without jitter, Mixtral, DeepSeek-V2 and V3).</summary>
/// <remarks>What varies between these models stands in <see cref="MoeConfig"/>, because published families set it: scoring, norm, groups, bias, scale.</remarks>
public sealed record TopKRouterConfig : RouterConfig
{
    internal const string Kind = "top_k";

    /// <inheritdoc/>
    public override string Name => Kind;

    internal override IReadOnlyList<RouterWeight> Weights(ModelConfig config, MoeConfig moe)
    {
        RouterWeight first = new("router", "gate.weight", new Shape(moe.NumExperts, config.HiddenSize));
        return moe.HasRouterNetwork ? [first, new("router_output", "gate.output.weight", new Shape(moe.NumExperts, moe.NumExperts))] : [first];
    }

    internal override void AddProblems(ModelConfig config, MoeConfig moe, List<string> problems)
    {
        if (moe.Scoring == RouterScoring.SoftmaxOverChosen && (moe.NumGroups > 1 || moe.HasSelectionBias))
        {
            problems.Add("score_order 'top_k_then_softmax' chooses by the logits of all experts: groups (n_group) and a selection bias would do nothing; use 'score_then_top_k', or topk_method 'greedy' with selection_bias false");
        }
    }

    internal override MoeConfig? AsTopK(MoeConfig moe) => moe;

    internal override IRouter Build(MoePlace place, MoeConfig moe)
    {
        string name = $"{place.Name}.router";
        IRouterProjection projection = moe.HasRouterNetwork
            ? new NetworkRouterProjection(name, place.HiddenSize, moe.NumExperts, place.Parameters)
            : new LinearRouterProjection(name, place.HiddenSize, moe.NumExperts, moe.HasRouterBias, place.Parameters);
        Parameter? selectionBias = null;
        if (moe.HasSelectionBias)
        {
            place.Parameters.Add(selectionBias = new Parameter(SelectionBias.NameIn(place.Name), new Shape(moe.NumExperts)));
        }

        return Over(projection, selectionBias, moe, moe.ScalingOf(place.Layer));
    }

    /// <summary>The router over a projection, as the experts' settings describe it.</summary>
    /// <param name="projection">Gives the logits.</param>
    /// <param name="selectionBias">[experts], or null.</param>
    /// <param name="moe">Scoring, norm, groups.</param>
    /// <param name="scale">Factor on the weights.</param>
    internal static IRouter Over(IRouterProjection projection, Parameter? selectionBias, MoeConfig moe, float scale)
    {
        if (moe.Scoring == RouterScoring.SoftmaxOverChosen)
        {
            return new ChosenSoftmaxRouter(projection, moe.TopK, scale);
        }

        bool divides = moe.NormTopKProb && moe.TopK > 1;
        ExpertChoice choice = new(moe.TopK, moe.NumGroups, moe.TopKGroups, moe.GroupScoring == GroupScoring.TopTwoSum ? 2 : 1);
        WeightRule weights = new(divides ? moe.NormOrder : 0f, divides && !moe.ScalesNormalizedWeights ? 1f : scale);
        ExpertSelection selection = new(choice, weights, selectionBias);
        return moe.Scoring == RouterScoring.Sigmoid ? new SigmoidRouter(projection, selection) : new TopKRouter(projection, selection);
    }
}
