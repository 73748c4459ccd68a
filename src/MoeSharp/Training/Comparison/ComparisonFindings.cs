using System.Globalization;
using MoeSharp.Model;

namespace MoeSharp.Training.Comparison;

/// <summary>Says in words what a comparison shows, and what may not be concluded from it. Every sentence follows from the figures.</summary>
public static class ComparisonFindings
{
    private const double EarlyShare = 0.1; // of a run
    private const double NotableCost = 0.05; // of seconds: less is not worth a sentence (arbitrary)

    /// <summary>What the figures show, a sentence or two each.</summary>
    public static IReadOnlyList<string> Conclusions(ComparisonResult result)
    {
        List<string> sentences = [];
        foreach (ConditionResult condition in result.Conditions)
        {
            string place = result.Conditions.Count > 1 ? $"{condition.Label}: " : "";
            AddOrder(sentences, condition, place);
            AddDifferences(sentences, condition, place);
            AddCosts(sentences, condition, place);
            AddLoads(sentences, condition, place);
            AddSaturation(sentences, condition, place);
        }

        AddTrends(sentences, result);
        sentences.AddRange(result.Failed.Select(failed => $"{failed.Run.Architecture.Title}, seed {failed.Run.Seed}, did not finish and is in no mean: {failed.Reason}"));
        return sentences;
    }

    /// <summary>What must not be read out of the figures.</summary>
    public static IReadOnlyList<string> Limits(ComparisonResult result)
    {
        List<string> sentences = [];
        if (result.Conditions.Count == 0)
        {
            return sentences;
        }

        AddScale(sentences, result);
        if (result.Conditions.Any(condition => condition.IsRegret))
        {
            sentences.Add("The corpora are generated to have a stated property. What holds on them says how an architecture deals with that property, not how it does on natural text.");
        }

        int comparisons = result.Conditions.Sum(NumTested);
        if (comparisons > 1)
        {
            sentences.Add(string.Create(CultureInfo.InvariantCulture, $"{comparisons} differences are tested (those of the tables, and neighbours in the orders), each at the 5 % level and without correction: {comparisons * ComparisonWords.SignificantP:0.##} of them would be expected to pass by chance alone if nothing differed."));
        }

        foreach (ConditionResult condition in result.Conditions.Where(condition => !condition.HasEqualSeeds))
        {
            sentences.Add($"{condition.Label}: not all rows rest on the same seeds ({string.Join(", ", condition.Rows.Select(row => $"{row.Architecture.Title}: {row.Runs.Count}"))}). Their means must not be compared with each other; order and differences are taken over shared seeds alone.");
        }

        int fewest = result.Conditions.Min(condition => condition.Rows.Min(row => row.Runs.Count));
        if (fewest < 5)
        {
            sentences.Add($"Some rows rest on {fewest} seed{(fewest == 1 ? "" : "s")}: their standard errors are themselves uncertain.");
        }

        string middle = result.Conditions.SelectMany(condition => condition.Rows).Any(row => Falls(row.Runs[0])) ? ", and note that a curve's middle was computed at a higher learning rate than its end" : "";
        sentences.Add($"Architectures are compared at equal tokens. At equal seconds the answer can be another one: see the curves over seconds{middle}.");
        sentences.Add(HasOwnRates(result)
            ? "Architectures differ in their optimiser or schedule as the table of settings says; part of a difference may come from that."
            : "All architectures share one learning rate, which was not tuned for each of them; a rate that suits one better than another is part of a difference.");
        double router = result.Conditions.SelectMany(condition => condition.Rows).Max(row => (double)row.Size.Router / (row.Size.Activated + row.Size.Router));
        sentences.Add(string.Create(CultureInfo.InvariantCulture, $"Parameters are matched without the routers, as the DeepSeekMoE paper counts them; routers add up to {100 * router:0.0} % to the activated parameters of a row (see the table of sizes)."));
        return sentences;
    }

    private static void AddOrder(List<string> sentences, ConditionResult condition, string place)
    {
        ArchitectureResult[] order = Order(condition);
        if (order.Length < 2)
        {
            return;
        }

        List<string> parts = [order[0].Architecture.Title];
        for (int index = 1; index < order.Length; index++)
        {
            Certainty certainty = ComparisonWords.CertaintyOf(PairedDifference.Between(order[index - 1], order[index]).Difference);
            string sign = certainty switch { Certainty.Shown => "<", Certainty.Notable => "(<)", _ => "~" };
            parts.Add($"{sign} {order[index].Architecture.Title}");
        }

        string seeds = condition.HasEqualSeeds ? "" : $", over the seeds that all have ({string.Join(", ", condition.CommonSeeds)})";
        sentences.Add($"{place}{char.ToUpperInvariant(condition.ScoreName[0])}{condition.ScoreName[1..]} from best to worst{seeds}: {string.Join(' ', parts)}. (Each against the one before it: < beyond chance at the 5 % level, (<) more than two standard errors, ~ not told apart.)");
    }

    // By the mean over the seeds that all have: means over other seeds are no order. Empty when there is no such seed.
    private static ArchitectureResult[] Order(ConditionResult condition)
    {
        HashSet<ulong> seeds = [.. condition.CommonSeeds];
        return seeds.Count == 0 ? [] : [.. condition.Rows.Select(row => row.Of(seeds)).OrderBy(row => row.Score.Mean)];
    }

    // Pairs that some sentence or table tests; a pair that stands in both is one.
    private static int NumTested(ConditionResult condition)
    {
        ArchitectureResult[] order = Order(condition);
        IEnumerable<(string, string)> neighbours = order.Zip(order.Skip(1), (one, next) => (one.Architecture.Name, next.Architecture.Name));
        IEnumerable<(string One, string Other)> pairs = condition.Differences.Select(pair => (pair.Of.Architecture.Name, pair.Against.Architecture.Name)).Concat(neighbours);
        return pairs.Select(pair => string.CompareOrdinal(pair.One, pair.Other) < 0 ? pair : (pair.Other, pair.One)).Distinct().Count();
    }

    private static void AddDifferences(List<string> sentences, ConditionResult condition, string place)
    {
        if (condition.Differences.Count > 0 && condition.Differences.All(difference => ComparisonWords.CertaintyOf(difference.Difference) == Certainty.OneSeed))
        {
            sentences.Add($"{place}There is one seed only: no difference in the tables can be told from chance.");
            return;
        }

        sentences.AddRange(condition.Differences.Select(difference =>
            place + ComparisonWords.Sentence(difference.Difference, difference.Of.Architecture.Title, difference.Against.Architecture.Title, condition.ScoreName)));
    }

    private static void AddCosts(List<string> sentences, ConditionResult condition, string place)
    {
        foreach (PairedDifference difference in condition.Differences)
        {
            double ratio = difference.Of.Seconds.Mean / difference.Against.Seconds.Mean;
            bool isAhead = difference.Difference.Mean < 0 && (ComparisonWords.CertaintyOf(difference.Difference) is Certainty.Shown or Certainty.Notable);
            if (isAhead && ratio > 1 + NotableCost)
            {
                sentences.Add(string.Create(CultureInfo.InvariantCulture, $"{place}{difference.Of.Architecture.Title} takes {ratio:0.00} times the seconds of {difference.Against.Architecture.Title} for the same tokens on this machine; at equal seconds its lead is smaller, or gone.{AtEqualSeconds(difference)}"));
            }
        }
    }

    // What the dearer one had reached when the cheaper one was done.
    private static string AtEqualSeconds(PairedDifference difference)
    {
        double seconds = difference.Against.Seconds.Mean;
        return difference.Of.ScoreAt(seconds) is not { } score
            ? ""
            : string.Create(CultureInfo.InvariantCulture,
                $" After the {seconds:0} s of {difference.Against.Architecture.Title}'s runs it stood at {ComparisonWords.Score(score)} against {ComparisonWords.Score(difference.Against.Score.Mean)}{(Falls(difference.Of.Runs[0]) ? ", with its learning rate not yet down" : "")}.");
    }

    private static void AddLoads(List<string> sentences, ConditionResult condition, string place)
    {
        foreach (ArchitectureResult row in condition.Rows.Where(row => row.NumCollapsed + row.NumRecovered > 0))
        {
            string title = row.Architecture.Title;
            int runs = row.Runs.Count;
            sentences.Add(row.NumCollapsed > 0
                ? string.Create(CultureInfo.InvariantCulture, $"{place}{title} collapsed in {row.NumCollapsed} of {Runs(runs)}: over all held-out data at the end {Idle(row)} and the fullest expert of the worst layer gets {row.LoadMaxOverMean.Mean:0.0} times the mean (means of the runs). {CollapseWords.Advice(row.Runs[0].Run.Config)}")
                : $"{place}{title} had collapsed experts on the way in {row.NumRecovered} of {Runs(runs)}; at the end none has.");
        }
    }

    private static void AddSaturation(List<string> sentences, ConditionResult condition, string place)
    {
        long early = (long)(condition.Condition.Steps * EarlyShare);
        string[] parts = [.. condition.Rows.Where(row => row.Saturation.Count > 1).Select(row =>
        {
            (long step, double share) = row.Saturation.MinBy(point => Math.Abs(point.Step - early));
            return string.Create(CultureInfo.InvariantCulture, $"{row.Architecture.Title} {100 * share:0} % at step {step}");
        })];
        if (parts.Length > 0)
        {
            sentences.Add($"{place}Choices of experts on held-out data that were already the final ones (router saturation): {string.Join(", ", parts)}.");
        }
    }

    private static string Runs(int count) => $"{count} run{(count == 1 ? "" : "s")}";

    private static string Idle(ArchitectureResult row)
    {
        ModelConfig model = row.Runs[0].Run.Config.Model!; // a planned run has a model
        int experts = (model.Moe?.NumExperts ?? 0) * Enumerable.Range(0, model.NumHiddenLayers).Count(model.IsMoeLayer);
        return row.IdleExperts.Mean == 0
            ? "no expert is idle"
            : string.Create(CultureInfo.InvariantCulture, $"{row.IdleExperts.Mean:0.#} of {experts} experts get less than 1 % of an even load");
    }

    // The same pair under several conditions: does the gap grow along them?
    private static void AddTrends(List<string> sentences, ComparisonResult result)
    {
        if (result.Conditions.Count < 2)
        {
            return;
        }

        foreach (IGrouping<(string, string), (ConditionResult Condition, PairedDifference Pair)> group in result.Conditions
            .SelectMany(condition => condition.Differences.Select(pair => (Condition: condition, Pair: pair)))
            .GroupBy(one => (one.Pair.Of.Architecture.Title, one.Pair.Against.Architecture.Title))
            .Where(group => group.Count() > 1))
        {
            string gaps = string.Join(", ", group.Select(one => string.Create(CultureInfo.InvariantCulture,
                $"{one.Condition.Label} {ComparisonWords.Signed(one.Pair.Difference.Mean)} ({100 * one.Pair.Difference.Mean / one.Pair.Against.Score.Mean:+0;-0;0} %)")));
            int better = group.Count(one => one.Pair.Difference.Mean < 0 && ComparisonWords.CertaintyOf(one.Pair.Difference) == Certainty.Shown);
            int worse = group.Count(one => one.Pair.Difference.Mean > 0 && ComparisonWords.CertaintyOf(one.Pair.Difference) == Certainty.Shown);
            int level = group.Count() - better - worse;
            sentences.Add($"{group.Key.Item1} minus {group.Key.Item2} over all conditions: {gaps}; ahead beyond chance in {better}, behind beyond chance in {worse}, not told apart in {level}.");
        }
    }

    private static void AddScale(List<string> sentences, ComparisonResult result)
    {
        TrainingConfig[] configs = [.. result.Plan.Runs.Select(run => run.Config)];
        ArchitectureSize largest = result.Conditions.SelectMany(condition => condition.Rows).Select(row => row.Size).MaxBy(size => size.Total)!; // there is at least one row
        string steps = string.Join(" and ", result.Plan.Config.Steps.Select(one => one.ToString(CultureInfo.InvariantCulture)));
        sentences.Add(string.Create(CultureInfo.InvariantCulture,
            $"The models are small (hidden size {ComparisonWords.Either(configs.Select(one => one.Model!.HiddenSize))}, {ComparisonWords.Either(configs.Select(one => one.Model!.NumHiddenLayers))} layers, at most {(largest.Total + largest.Router) / 1e6:0.##} million parameters) and train for {steps} steps of {ComparisonWords.Either(configs.Select(one => one.Batch.Tokens))} tokens. Nothing here says what happens at a thousand times the size."));
    }

    // Whether the learning rate is lower at the end of a run than before.
    private static bool Falls(RunOutcome run) => run.Run.Config.Schedule.Kind != ScheduleKind.Constant;

    private static bool HasOwnRates(ComparisonResult result) =>
        result.Plan.Config.Architectures.Any(architecture => architecture.Sections.ContainsKey("optimizer") || architecture.Sections.ContainsKey("schedule"));
}
