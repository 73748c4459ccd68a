using MoeSharp.Kernels;
using MoeSharp.Layers;
using MoeSharp.Moe;
using MoeSharp.Moe.Balance;
using MoeSharp.Moe.Routing;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Model;

/// <summary>Puts the mixture of experts of one layer together, as a <see cref="MoeConfig"/> describes it.</summary>
internal static class MoeAssembly
{
    // A new router is one more row.
    private static readonly Dictionary<RouterKind, Func<MoePlace, MoeConfig, IRouter>> s_routers = new()
    {
        [RouterKind.TopK] = BuildTopK,
        [RouterKind.Hash] = (place, moe) => new HashRouter(place.Layer, moe.NumExperts, moe.TopK),
    };

    /// <summary>Builds the layer with zero weights.</summary>
    /// <param name="place">Where it stands.</param>
    /// <param name="moe">What it is.</param>
    public static MoeLayer Build(MoePlace place, MoeConfig moe)
    {
        IRouter router = BuildRouter(place, moe);
        GatedActivation activation = new(FunctionOf(moe.Activation), moe.ActivationLimit);
        GroupedExperts experts = new($"{place.Name}.experts", moe.NumExperts, place.HiddenSize, moe.IntermediateSize, activation, moe.HasExpertBias, place.Parameters);
        return new MoeLayer(place.Layer, router, experts, BuildShared(place, moe));
    }

    /// <summary>Builds the router alone, with zero weights.</summary>
    public static IRouter BuildRouter(MoePlace place, MoeConfig moe) => s_routers[moe.Router](place, moe);

    private static IRouter BuildTopK(MoePlace place, MoeConfig moe)
    {
        string name = $"{place.Name}.router";
        float scale = moe.ScalingOf(place.Layer);
        IRouterProjection projection = moe.HasRouterNetwork
            ? new NetworkRouterProjection(name, place.HiddenSize, moe.NumExperts, place.Parameters)
            : new LinearRouterProjection(name, place.HiddenSize, moe.NumExperts, moe.HasRouterBias, place.Parameters);
        if (moe.Scoring == RouterScoring.SoftmaxOverChosen)
        {
            return new ChosenSoftmaxRouter(projection, moe.TopK, scale);
        }

        Parameter? selectionBias = null;
        if (moe.HasSelectionBias)
        {
            place.Parameters.Add(selectionBias = new Parameter(SelectionBias.NameIn(place.Name), new Shape(moe.NumExperts)));
        }

        bool divides = moe.NormTopKProb && moe.TopK > 1;
        ExpertChoice choice = new(moe.TopK, moe.NumGroups, moe.TopKGroups, moe.GroupScoring == GroupScoring.TopTwoSum ? 2 : 1);
        WeightRule weights = new(divides ? moe.NormOrder : 0f, divides && !moe.ScalesNormalizedWeights ? 1f : scale);
        ExpertSelection selection = new(choice, weights, selectionBias);
        return moe.Scoring == RouterScoring.Sigmoid ? new SigmoidRouter(projection, selection) : new TopKRouter(projection, selection);
    }

    private static IFeedForward? BuildShared(MoePlace place, MoeConfig moe)
    {
        if (moe.SharedWidth == 0)
        {
            return null;
        }

        FeedForwardLayer shared = new($"{place.Name}.shared_experts", place.HiddenSize, moe.SharedWidth, place.Parameters);
        return moe.HasSharedExpertGate ? new GatedSharedExperts($"{place.Name}.shared_expert_gate", place.HiddenSize, shared, place.Parameters) : shared;
    }

    private static GatedFunction FunctionOf(ExpertActivation activation) => activation switch
    {
        ExpertActivation.GeGlu => GatedFunction.GeGlu,
        ExpertActivation.ClampedSwiGlu => GatedFunction.ClampedSwiGlu,
        _ => GatedFunction.SwiGlu,
    };
}

/// <summary>Where a mixture of experts stands in the model.</summary>
/// <param name="Layer">Decoder layer.</param>
/// <param name="Name">Path, for example <c>layers.3.moe</c>.</param>
/// <param name="HiddenSize">Width of the residual stream.</param>
/// <param name="Parameters">Receives the weights.</param>
internal readonly record struct MoePlace(int Layer, string Name, int HiddenSize, ICollection<Parameter> Parameters);
