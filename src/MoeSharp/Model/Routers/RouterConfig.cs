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
        (AssignmentRouterConfig.Kind, AssignmentRouterConfig.ReadSettings),
        (SinkhornRouterConfig.Kind, SinkhornRouterConfig.ReadSettings),
        (ExpertChoiceRouterConfig.Kind, ExpertChoiceRouterConfig.ReadSettings),
        (ReinforceRouterConfig.Kind, ReinforceRouterConfig.ReadSettings),
        (StableMoeRouterConfig.Kind, StableMoeRouterConfig.ReadSettings),
    ];

    /// <summary>Name of the kind in config.json and in messages.</summary>
    public abstract string Name { get; }

    /// <summary>Whether the router scores every expert for every token, as losses over mean scores need it.</summary>
    public virtual bool HasScores => true;

    /// <summary>Whether its choices carry noise whose chances have a gradient, as the load loss needs them.</summary>
    public virtual bool HasChoiceChances => false;

    /// <summary>Whether scores are a softmax over all experts, whose logarithm of a sum the z-loss keeps small.</summary>
    /// <param name="moe">Experts with this router.</param>
    public virtual bool HasSoftmax(MoeConfig moe) => HasScores && moe.Scoring != RouterScoring.Sigmoid;

    /// <summary>Why a model with this router cannot continue a text token by token, or null when it can.</summary>
    public virtual string? DecodingRefusal => null;

    /// <summary>Why losses of a model with this router are not what they seem, or null when they are.</summary>
    public virtual string? LossCaveat => null;

    /// <summary>Whether capacity is part of the router's own rule, so that its keys are the router's and nothing is dropped afterwards.</summary>
    internal virtual bool HasOwnCapacity => false;

    /// <summary>Reads the router of a section of config.json.</summary>
    internal static RouterConfig Read(ConfigReader section)
    {
        string name = section.OneOf(MoeSharpKeys.RouterKey, TopKRouterConfig.Kind, [.. s_kinds.Select(kind => kind.Name)]);
        return Array.Find(s_kinds, kind => kind.Name == name).Read(section);
    }

    /// <summary>Weights of the router in one layer, in model order, biases of logits and of selection apart.</summary>
    /// <param name="config">The model.</param>
    /// <param name="moe">The experts.</param>
    internal abstract IReadOnlyList<RouterWeight> Weights(ModelConfig config, MoeConfig moe);

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

    /// <summary>The problem of a router that knows only one expert per token.</summary>
    protected void RequireOneExpert(MoeConfig moe, List<string> problems)
    {
        if (moe.TopK != 1)
        {
            problems.Add($"router '{Name}' gives every token one expert, num_experts_per_tok is {moe.TopK}; set it to 1, or use router 'sinkhorn' or 'top_k'");
        }

        if (moe.NormTopKProb)
        {
            problems.Add($"norm_topk_prob does not go with router '{Name}': a single weight divided by itself would always be 1; set it to false");
        }
    }

    /// <summary>The same experts with the router top_k where that gives the same results in passes without gradients, for formats that know no other; else null.</summary>
    /// <param name="moe">Experts with this router.</param>
    internal virtual MoeConfig? AsTopK(MoeConfig moe) => null;

    /// <summary>How a weight begins in a new model.</summary>
    /// <param name="weight">Its name, without the path.</param>
    /// <param name="config">The model.</param>
    internal virtual FirstValues FirstValuesOf(string weight, ModelConfig config) => FirstValues.Drawn;

    /// <summary>Builds the router of one layer with zero weights.</summary>
    internal abstract IRouter Build(MoePlace place, MoeConfig moe);
}

/// <summary>A weight of a router.</summary>
/// <param name="Name">Name below the path of the mixture.</param>
/// <param name="FileName">Name in a checkpoint, below <c>mlp.</c>.</param>
/// <param name="Shape">Dimensions.</param>
internal readonly record struct RouterWeight(string Name, string FileName, Shape Shape)
{
    /// <summary>Whether every token is multiplied by it, which takes time; otherwise it is looked up or added.</summary>
    public bool IsProduct { get; init; } = true;
}

/// <summary>How a weight of a router begins in a new model.</summary>
/// <param name="Kind">Kind of beginning.</param>
/// <param name="Amount">Value, or length of the vectors.</param>
internal readonly record struct FirstValues(FirstValueKind Kind, float Amount)
{
    /// <summary>Drawn as other matrices are.</summary>
    public static FirstValues Drawn => default;

    /// <summary>One value everywhere.</summary>
    public static FirstValues Constant(float value) => new(FirstValueKind.Constant, value);

    /// <summary>Orthogonal rows, or columns where there are fewer of them.</summary>
    public static FirstValues Orthogonal(float length) => new(FirstValueKind.Orthogonal, length);
}

/// <summary>Kinds of <see cref="FirstValues"/>.</summary>
internal enum FirstValueKind
{
    /// <summary>Random, by the model's scheme.</summary>
    Drawn,

    /// <summary>One value.</summary>
    Constant,

    /// <summary>Random orthogonal vectors.</summary>
    Orthogonal,
}
