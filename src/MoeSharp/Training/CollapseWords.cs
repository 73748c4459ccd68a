using System.Globalization;
using MoeSharp.Execution;
using MoeSharp.Model;
using MoeSharp.Moe.Balance;

namespace MoeSharp.Training;

/// <summary>Says in words which experts have collapsed and what can be done about it, the same everywhere.</summary>
public static class CollapseWords
{
    private const int MostLayers = 3; // told one by one; a sentence with more is not read
    private const int MostExperts = 8;

    /// <summary>What is wrong, worst layers first: <c>in layer 1 experts 2 and 5 (2 of 16) get less than 1 % of an even load, and the fullest (expert 3) 6.1 times the mean</c>.</summary>
    /// <param name="layers">Collapsed layers; at least one.</param>
    public static string Describe(IReadOnlyList<LoadCollapse> layers)
    {
        LoadCollapse[] worst = [.. layers.OrderByDescending(layer => layer.Idle.Count / (double)layer.NumExperts).ThenByDescending(layer => layer.MaxOverMean).ThenBy(layer => layer.Layer)];
        string told = string.Join("; ", worst.Take(MostLayers).Select(Describe));
        int more = worst.Length - MostLayers;
        return more <= 0 ? told : string.Create(CultureInfo.InvariantCulture, $"{told}; and in {more} more layer{(more == 1 ? "" : "s")}");
    }

    /// <summary>What keeps experts in use, for a run with this configuration.</summary>
    /// <param name="config">Configuration of the run.</param>
    public static string Advice(TrainingConfig config)
    {
        MoeConfig? moe = config.Model?.Moe;
        if (moe is { Router.HasScores: false })
        {
            return $"The router '{moe.Router.Name}' does not learn from a balance loss; another router or a balanced form of it would spread the tokens.";
        }

        BalanceConfig balance = config.Balance;
        if (moe is { HasSelectionBias: true })
        {
            return string.Create(CultureInfo.InvariantCulture, $"To spread the tokens, {Raise("balance.bias_update_speed", balance.BiasUpdateSpeed, "0.001")} in a new run.");
        }

        (string Key, float Factor)[] losses =
        [
            ("balance.expert_alpha", balance.ExpertAlpha),
            ("balance.sequence_alpha", balance.SequenceAlpha),
            ("balance.batch_alpha", balance.BatchAlpha),
            ("balance.first_choice_alpha", balance.FirstChoiceAlpha),
            ("balance.importance_alpha", balance.ImportanceAlpha),
            ("balance.load_alpha", balance.LoadAlpha),
        ];
        (string key, float factor) = losses.MaxBy(loss => loss.Factor); // of equal ones the first
        return string.Create(CultureInfo.InvariantCulture, $"To spread the tokens, {Raise(key, factor, "0.01")} in a new run.");
    }

    /// <summary>What keeps experts in use, for a model that was trained nobody knows how.</summary>
    public const string GeneralAdvice = "a larger balance loss (balance.expert_alpha) or a faster selection bias (balance.bias_update_speed)";

    private static string Raise(string key, float factor, string usual) => factor == 0
        ? $"set {key} (now 0), for example to {usual},"
        : string.Create(CultureInfo.InvariantCulture, $"raise {key} (now {factor})");

    private static string Describe(LoadCollapse layer)
    {
        string fullest = string.Create(CultureInfo.InvariantCulture, $"the fullest (expert {layer.Fullest}) {layer.MaxOverMean:0.0} times the mean");
        if (layer.Idle.Count == 0)
        {
            return string.Create(CultureInfo.InvariantCulture, $"in layer {layer.Layer} {fullest} of its {layer.NumExperts} experts");
        }

        string verb = layer.Idle.Count == 1 ? "gets" : "get";
        return string.Create(CultureInfo.InvariantCulture,
            $"in layer {layer.Layer} {Experts(layer.Idle)} ({layer.Idle.Count} of {layer.NumExperts}) {verb} less than {100 * LoadCollapse.IdleBelow:0} % of an even load, {fullest}");
    }

    private static string Experts(IReadOnlyList<int> experts)
    {
        if (experts.Count == 1)
        {
            return string.Create(CultureInfo.InvariantCulture, $"expert {experts[0]}");
        }

        string shown = string.Join(", ", experts.Take(MostExperts).Select(expert => expert.ToString(CultureInfo.InvariantCulture)));
        return $"experts {shown}{(experts.Count > MostExperts ? ", ..." : "")}";
    }
}
