using MoeSharp.Kernels;
using MoeSharp.Layers;
using MoeSharp.Moe;
using MoeSharp.Moe.Dispatch;
using MoeSharp.Moe.Routing;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Model;

/// <summary>Puts the mixture of experts of one layer together, as a <see cref="MoeConfig"/> describes it.</summary>
internal static class MoeAssembly
{
    /// <summary>Builds the layer with zero weights.</summary>
    /// <param name="place">Where it stands.</param>
    /// <param name="moe">What it is.</param>
    public static MoeLayer Build(MoePlace place, MoeConfig moe)
    {
        IRouter router = BuildRouter(place, moe);
        GatedActivation activation = new(FunctionOf(moe.Activation), moe.ActivationLimit);
        GroupedExperts experts = new($"{place.Name}.experts", moe.NumExperts, place.HiddenSize, moe.IntermediateSize, activation, moe.HasExpertBias, place.Parameters);
        CapacityLimiter? capacity = moe.Capacity is { } rule ? new CapacityLimiter(rule, moe.NumExperts, place.Layer, moe.ScalingOf(place.Layer)) : null;
        IFeedForward? shared = BuildShared(place, moe);
        Parameter? outputBias = null;
        if (moe.HasOutputBias)
        {
            place.Parameters.Add(outputBias = new Parameter($"{place.Name}.output_bias", new Shape(place.HiddenSize)));
        }

        return new MoeLayer(place.Layer, router, experts, shared, capacity, outputBias);
    }

    /// <summary>Builds the router alone, with zero weights.</summary>
    public static IRouter BuildRouter(MoePlace place, MoeConfig moe) => moe.Router.Build(place, moe);

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
internal readonly record struct MoePlace(int Layer, string Name, int HiddenSize, ICollection<Parameter> Parameters)
{
    /// <summary>Tokens of the vocabulary, for routers that go by them.</summary>
    public int VocabSize { get; init; }
}
