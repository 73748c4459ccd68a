using System.Text.Json;
using MoeSharp.Model.Routers;

namespace MoeSharp.Model.Families;

/// <summary>The section <c>moesharp</c> of a config.json: what no published family has a key for. Other programs read the rest and do not know the section.</summary>
internal static class MoeSharpKeys
{
    /// <summary>Name of the section.</summary>
    public const string SectionName = "moesharp";

    /// <summary>Key of the router's kind in it.</summary>
    public const string RouterKey = "router";

    /// <summary>Reads what the section says of attention; null where it says nothing.</summary>
    public static AttentionExpertsConfig? ReadAttention(ConfigReader reader) => reader.Value(SectionName) is null ? null : AttentionExpertKeys.Read(reader.Section(SectionName));

    /// <summary>Reads the section, where there is one, over what the family's own keys say.</summary>
    /// <param name="reader">The file.</param>
    /// <param name="decoder">The model without experts.</param>
    /// <param name="moe">The experts as the family's keys describe them.</param>
    /// <returns>The model with its experts.</returns>
    public static ModelConfig Read(ConfigReader reader, ModelConfig decoder, MoeConfig moe)
    {
        if (reader.Value(SectionName) is null)
        {
            return decoder with { Moe = moe };
        }

        ConfigReader section = reader.Section(SectionName);
        moe = ReadRouter(section, moe);
        moe = moe.Router.HasOwnCapacity ? moe : moe with { Capacity = CapacityKeys.Read(section) };
        return ExpertShapeKeys.Read(section, decoder, moe);
    }

    /// <summary>Keys of a section that belong to its router and mean nothing to another one.</summary>
    /// <param name="section">The section as JSON.</param>
    public static IReadOnlyCollection<string> KeysOfRouter(string section)
    {
        using JsonDocument document = JsonDocument.Parse(section);
        ConfigReader reader = new(document.RootElement);
        ReadRouter(reader, new MoeConfig { NumExperts = 1, TopK = 1, IntermediateSize = 1 });
        return reader.KnownKeys;
    }

    /// <summary>Writes the section, unless the family's own keys say everything.</summary>
    public static void Write(Utf8JsonWriter writer, ModelConfig config)
    {
        bool describesExperts = config.Moe is { } mixture && NeedsSection(mixture);
        string? denseResidual = ExpertShapeKeys.DenseResidual(config);
        if (!describesExperts && config.AttentionExperts is null && denseResidual is null)
        {
            return;
        }

        writer.WriteStartObject(SectionName);
        if (config.AttentionExperts is { } attention)
        {
            AttentionExpertKeys.Write(writer, attention);
        }

        if (denseResidual is not null)
        {
            writer.WriteString(ExpertShapeKeys.DenseResidualKey, denseResidual);
        }

        if (describesExperts && config.Moe is { } moe)
        {
            WriteExperts(writer, moe);
        }

        writer.WriteEndObject();
    }

    private static bool HasScores(MoeConfig moe) => moe.Router is TopKRouterConfig && (moe.Scoring != RouterScoring.Softmax || moe.NumGroups > 1 || moe.HasSelectionBias);

    private static bool NeedsSection(MoeConfig moe) => moe.Router is not TopKRouterConfig || HasScores(moe) || moe.Capacity is not null;

    private static void WriteExperts(Utf8JsonWriter writer, MoeConfig moe)
    {
        writer.WriteString(RouterKey, moe.Router.Name);
        moe.Router.Write(writer);
        if (HasScores(moe))
        {
            WriteScores(writer, moe);
        }

        if (moe.Capacity is { } capacity)
        {
            CapacityKeys.Write(writer, capacity);
        }
    }

    private static MoeConfig ReadRouter(ConfigReader section, MoeConfig moe)
    {
        moe = moe with { Router = RouterConfig.Read(section) };
        return moe.Router is TopKRouterConfig ? ReadScores(section, moe) : moe;
    }

    private static MoeConfig ReadScores(ConfigReader section, MoeConfig moe)
    {
        bool isSigmoid = section.OneOf("scoring_func", "softmax", "softmax", "sigmoid") == "sigmoid";
        bool choosesFirst = section.OneOf("score_order", "score_then_top_k", "score_then_top_k", "top_k_then_softmax") == "top_k_then_softmax";
        if (isSigmoid && choosesFirst)
        {
            section.Problems.Add($"{section.Place("score_order")} 'top_k_then_softmax' does not go with scoring_func 'sigmoid'; use one of them");
        }

        string method = section.OneOf("topk_method", "greedy", "greedy", "group_limited_greedy", "noaux_tc");
        if (method == "group_limited_greedy" && section.Int("n_group", 1) <= 1)
        {
            section.Problems.Add($"{section.Place("topk_method")} 'group_limited_greedy' without {section.Place("n_group")} of 2 or more limits nothing; set it, with topk_group, or use 'greedy'");
        }

        bool hasBias = section.Switch("selection_bias", method == "noaux_tc");
        return moe with
        {
            Scoring = choosesFirst ? RouterScoring.SoftmaxOverChosen : isSigmoid ? RouterScoring.Sigmoid : RouterScoring.Softmax,
            HasSelectionBias = hasBias,
            NumGroups = method == "greedy" ? 1 : section.Int("n_group", 1),
            TopKGroups = method == "greedy" ? 1 : section.Int("topk_group", 1),
            GroupScoring = method == "noaux_tc" ? GroupScoring.TopTwoSum : GroupScoring.Max,
        };
    }

    private static void WriteScores(Utf8JsonWriter writer, MoeConfig moe)
    {
        writer.WriteString("scoring_func", moe.Scoring == RouterScoring.Sigmoid ? "sigmoid" : "softmax");
        writer.WriteString("score_order", moe.Scoring == RouterScoring.SoftmaxOverChosen ? "top_k_then_softmax" : "score_then_top_k");
        writer.WriteString("topk_method", moe.GroupScoring == GroupScoring.TopTwoSum ? "noaux_tc" : moe.NumGroups > 1 ? "group_limited_greedy" : "greedy");
        writer.WriteBoolean("selection_bias", moe.HasSelectionBias);
        if (moe.NumGroups > 1 || moe.GroupScoring == GroupScoring.TopTwoSum)
        {
            writer.WriteNumber("n_group", moe.NumGroups);
            writer.WriteNumber("topk_group", moe.TopKGroups);
        }
    }
}
