using System.Text.Json;
using MoeSharp.Model.Families;
using MoeSharp.Moe.Routing;
using MoeSharp.Tensors;

namespace MoeSharp.Model.Routers;

/// <summary>Which router a mixture of experts has, with that router's own settings.</summary>
/// <remarks>A new router is one more file beside this one and one more row of the table of kinds.</remarks>
public abstract record RouterConfig
{
    // Name in config.json -> how the rest of the section is read.
    private static readonly (string Name, Func<ConfigReader, RouterConfig> Read)[] s_kinds =
    [
        (TopKRouterConfig.Kind, _ => new TopKRouterConfig()),
        (SwitchRouterConfig.Kind, SwitchRouterConfig.ReadSettings),
        (GShardRouterConfig.Kind, GShardRouterConfig.ReadSettings),
        (NoisyTopKRouterConfig.Kind, NoisyTopKRouterConfig.ReadSettings),
        (HashRouterConfig.Kind, HashRouterConfig.ReadSettings),
        (TaskLevelRouterConfig.Kind, TaskLevelRouterConfig.ReadSettings),
    ];

    /// <summary>Name of the kind in config.json and in messages.</summary>
    public abstract string Name { get; }

    /// <summary>Whether the router scores every expert for every token, as losses over mean scores need it.</summary>
    public virtual bool HasScores => true;

    /// <summary>Whether its choices carry noise whose chances have a gradient, as the load loss needs them.</summary>
    public virtual bool HasChoiceChances => false;

    /// <summary>Why a model with this router cannot continue a text token by token, or null when it can.</summary>
    public virtual string? DecodingRefusal => null;

    /// <summary>Reads the router of a section of config.json.</summary>
    internal static RouterConfig Read(ConfigReader section)
    {
        string name = section.OneOf(MoeSharpKeys.RouterKey, TopKRouterConfig.Kind, [.. s_kinds.Select(kind => kind.Name)]);
        return Array.Find(s_kinds, kind => kind.Name == name).Read(section);
    }

    /// <summary>Weights of the router in one layer, in model order, biases of logits and of selection apart.</summary>
    /// <param name="hiddenSize">Width of the residual stream.</param>
    /// <param name="moe">The experts.</param>
    internal abstract IReadOnlyList<RouterWeight> Weights(int hiddenSize, MoeConfig moe);

    /// <summary>Writes the router's own settings into its section; the name is already there.</summary>
    internal virtual void Write(Utf8JsonWriter writer)
    {
    }

    /// <summary>Adds what is wrong with the settings, alone and together with the model.</summary>
    /// <param name="config">The model.</param>
    /// <param name="moe">Its experts.</param>
    /// <param name="problems">Receives the problems, each with its remedy.</param>
    internal virtual void AddProblems(ModelConfig config, MoeConfig moe, List<string> problems)
    {
    }

    /// <summary>Builds the router of one layer with zero weights.</summary>
    internal abstract IRouter Build(MoePlace place, MoeConfig moe);
}

/// <summary>A weight of a router.</summary>
/// <param name="Name">Name below the path of the mixture.</param>
/// <param name="FileName">Name in a checkpoint, below <c>mlp.</c>.</param>
/// <param name="Shape">Dimensions.</param>
internal readonly record struct RouterWeight(string Name, string FileName, Shape Shape);
