using System.Globalization;
using MoeSharp.Inference;
using MoeSharp.Model;
using MoeSharp.Moe.Balance;
using MoeSharp.Training;

namespace MoeSharp.Analysis.Study;

/// <summary>What a study found, in sentences, each with its figures and what may not be concluded from it.</summary>
public static class StudySummary
{
    private const double ClearErrors = 2; // standard errors that a difference must exceed to be called one
    private const double UnevenLoad = 1.0; // MaxVio from which the fullest expert has twice its share
    private const double LowEntropy = 0.999;
    private const double AlikeShares = 0.1; // of a share, by which two may differ and still be compared: 1/16 of 63 experts is 4 (arbitrary)

    /// <summary>The sentences.</summary>
    public static IReadOnlyList<string> Sentences(StudyResult result)
    {
        List<string> sentences = [Baseline(result)];
        AddAttention(result.Statistics.AttentionLayers, sentences);
        if (result.Statistics.Layers.Count == 0)
        {
            sentences.Add(result.Statistics.AttentionLayers.Count > 0 ? "The feed-forwards have no routed experts that can be counted." : "The model has no layer with routed experts that can be counted, so there is no routing to study.");
            return sentences;
        }

        sentences.Add(Load(result.Statistics));
        AddCollapse(result.Statistics, sentences);
        AddDrops(result.Statistics, sentences);
        sentences.Add(Tokens(result.Statistics));
        AddDomains(result, sentences);
        AddCurves(result, sentences);
        AddRival(result, sentences);
        AddFacts(result.Facts, sentences);
        AddSaturation(result, sentences);
        sentences.Add(Text($"Counting took {result.RecordingSeconds:0.0} s, in the pass that measures the loss; the experiments are further passes and took {result.FurtherSeconds:0.0} s."));
        return sentences;
    }

    private static string Baseline(StudyResult result)
    {
        StudyLosses losses = result.Curves.Baseline;
        string unit = losses.ErrorUnit == ErrorUnit.Document ? "documents" : "windows";
        string bits = double.IsNaN(losses.BitsPerByte) ? "" : Text($", {losses.BitsPerByte:0.000} bits per byte");
        bits = result.Floor is { } floor ? Text($" (the truth itself costs {floor:0.0000})") : bits;
        return Text($"Loss {Pair(losses.Loss)} nats per token{bits}, over {result.Text.NumScored} tokens; standard errors here and below are over {unit}, differences are paired.");
    }

    private static string Load(RoutingStatistics statistics)
    {
        LayerStatistics worst = statistics.Layers.MaxBy(layer => layer.MaxViolation)!; // not empty
        int dead = statistics.Layers.Sum(layer => layer.NumDead);
        int all = statistics.Layers.Sum(layer => layer.NumExperts);
        string verdict = worst.MaxViolation < UnevenLoad ? "Loads are even enough" : "Loads are uneven";
        string deadText = dead == 0 ? "no expert is dead" : Text($"{dead} of {all} experts are dead (below {100 * LayerStatistics.DeadBelow:0} % of an even load)");
        return Text($"{verdict}: MaxVio is {statistics.Layers.Average(layer => layer.MaxViolation):0.00} on average over the layers and {worst.MaxViolation:0.00} in layer {worst.Layer}, where the fullest expert has {1 + worst.MaxViolation:0.0} times its share; within single passes it is {statistics.Layers.Average(layer => layer.BatchMaxViolation):0.00}; {deadText}.");
    }

    private static void AddAttention(IReadOnlyList<LayerStatistics> layers, List<string> sentences)
    {
        if (layers.Count == 0)
        {
            return;
        }

        LayerStatistics worst = layers.MaxBy(layer => layer.MaxViolation)!; // not empty
        LayerStatistics most = layers.MaxBy(layer => layer.Lift.MutualInformation())!;
        (int dead, int all) = (layers.Sum(layer => layer.NumDead), layers.Sum(layer => layer.NumExperts));
        sentences.Add(Text($"Experts in attention: the fullest has {1 + worst.MaxViolation:0.0} times its share (layer {worst.Name}), {dead} of {all} are dead, and choices tell most about the token in layer {most.Name}: {most.Lift.MutualInformation():0.00} bits per slot."));
        sentences.Add("The experiments below change the choice of feed-forward experts alone: the experts in attention are counted and left as they are.");
    }

    private static void AddCollapse(RoutingStatistics statistics, List<string> sentences)
    {
        LoadCollapse[] collapsed = [.. statistics.Layers.Select(layer => layer.Collapse).OfType<LoadCollapse>()];
        if (collapsed.Length > 0)
        {
            sentences.Add($"Experts have collapsed on this text: {CollapseWords.Describe(collapsed)}. If that is so on the text the model was trained on, and not this text's doing, train it with {CollapseWords.GeneralAdvice}.");
        }
    }

    private static void AddDrops(RoutingStatistics statistics, List<string> sentences)
    {
        double dropped = statistics.Layers.Max(layer => layer.DropRate);
        if (dropped > 0)
        {
            sentences.Add(Text($"Experts have a capacity here: up to {100 * dropped:0.0} % of a layer's slots reached no expert, so a token's result depends on its neighbours."));
        }
    }

    private static string Tokens(RoutingStatistics statistics)
    {
        LayerStatistics most = statistics.Layers.MaxBy(layer => layer.Lift.MutualInformation())!; // not empty
        double entropy = statistics.Layers.Average(layer => layer.RouterEntropy);
        string sure = double.IsNaN(entropy) ? "" : Text($" Routers are {(entropy < LowEntropy ? Text($"at {100 * entropy:0} % of") : "practically at")} the entropy of an indifferent one.");
        return Text($"Choices tell most about the token itself in layer {most.Layer}: {most.Lift.MutualInformation():0.00} bits per slot, of which a part is chance where the text is short.{sure}");
    }

    private static void AddDomains(StudyResult result, List<string> sentences)
    {
        int domains = result.Text.Domains.Length;
        if (domains < 2)
        {
            return;
        }

        List<(int Left, int Right, double Similarity)> pairs = [];
        for (int left = 0; left < domains; left++)
        {
            for (int right = left + 1; right < domains; right++)
            {
                pairs.Add((left, right, result.Statistics.Layers.Average(layer => layer.DomainSimilarity(left, right))));
            }
        }

        double chance = Enumerable.Range(0, domains).Average(domain => result.Statistics.Layers.Average(layer => layer.DomainSimilarity(domain, domain)));
        pairs.RemoveAll(pair => double.IsNaN(pair.Similarity)); // a domain of which no expert took a token
        if (pairs.Count == 0)
        {
            return;
        }

        (int a, int b, double least) = pairs.MinBy(pair => pair.Similarity);
        string control = double.IsNaN(chance) ? "" : Text($"; alternate documents of one domain share {100 * chance:0} %");
        sentences.Add(Text($"The domains that share experts least are {Name(result, a)} and {Name(result, b)}: {100 * least:0} % of their choices go to the same experts{control}."));
    }

    private static string Name(StudyResult result, int domain) => result.Text.Domains[domain].Length == 0 ? "(unnamed)" : result.Text.Domains[domain];

    private static void AddCurves(StudyResult result, List<string> sentences)
    {
        SpecialisationCurves curves = result.Curves;
        if (curves.Refusal is { } refusal)
        {
            sentences.Add($"No choice was changed: {refusal}");
            return;
        }

        if (curves.Masked.Count > 1)
        {
            (StudyPoint first, StudyPoint last) = (curves.Masked[1], curves.Masked[^1]);
            string further = last == first ? "" : Text($"; with a share of {last.X:0.###} disabled it {Moves(last.Increase)}");
            sentences.Add(Text($"With the {first.Name} the loss {Moves(first.Increase)}{further}.{Redundancy(first.Increase)}"));
        }

        foreach (StudyPoint point in curves.Shared)
        {
            sentences.Add(Text($"With {point.Name} the loss {Moves(point.Increase)}."));
        }

        if (curves.Shared.Count > 1 && HasError(curves.Shared[^1].Increase))
        {
            Estimate sameWork = curves.Shared[^1].Increase;
            sentences.Add(!IsClear(sameWork) ? "So routed experts make up for the shared ones, as far as this text can tell."
                : sameWork.Mean > 0 ? "So routed experts do not make up for the shared ones: they hold what routed experts do not."
                : "So the shared ones do harm on this text.");
        }

        if (curves.Fewer.Count > 1)
        {
            StudyPoint half = curves.Fewer[Math.Max(0, ((curves.Fewer.Count + 1) / 2) - 1)];
            string one = half == curves.Fewer[0] ? "" : Text($", with one it {Moves(curves.Fewer[0].Increase)}");
            sentences.Add(Text($"With {half.Name} the loss {Moves(half.Increase)}{one}; the model was trained with {curves.Fewer[^1].X:0}."));
        }

        if (result.SwitchedOff is { } off)
        {
            sentences.Add(Text($"With {off.Name} the loss {Moves(off.Increase)}."));
        }
    }

    // Nothing where no error is known: a single difference shows neither.
    private static string Redundancy(Estimate increase) => !HasError(increase) ? ""
        : !IsClear(increase) ? " Other experts do what the best ones do, as far as this text can tell: there is redundancy."
        : increase.Mean < 0 ? " The model reads this text better without its best experts: it is hardly the kind of text that they were trained on, and says nothing about redundancy."
        : " The steeper the rise, the less other experts can do what the best ones do; it means something against another model (--with), not by itself.";

    private static void AddRival(StudyResult result, List<string> sentences)
    {
        if (result.Rival is not { } rival)
        {
            return;
        }

        (long own, long others) = (ModelSize.Of(result.Config).Parameters.Activated, ModelSize.Of(rival.Config).Parameters.Activated);
        sentences.Add(Text($"The other model ({rival.Model}) activates {others / 1e6:0.00} million parameters per token, this one {own / 1e6:0.00} million."));
        sentences.Add(rival.Increase is { } increase
            ? Text($"The other model has a loss of {Pair(rival.Curves.Baseline.Loss)}: it {Moves(increase, "is", "higher", "lower")}.")
            : Text($"It reads other tokens; its {rival.Curves.Baseline.BitsPerByte:0.000} bits per byte compare with {result.Curves.Baseline.BitsPerByte:0.000}."));
        if (result.Curves.Masked.Count > 1 && rival.Curves.Masked.Count > 1)
        {
            (StudyPoint mine, StudyPoint theirs) = (result.Curves.Masked[1], rival.Curves.Masked[1]);
            sentences.Add(Text($"This model's loss {Moves(mine.Increase)} with the {mine.Name}, the other's {Moves(theirs.Increase)} with the {theirs.Name}: {LessRedundant(mine, theirs)}."));
        }

        if (rival.Increase is not null && result.Curves.Fewer.FirstOrDefault(point => point.Loss.Mean <= rival.Curves.Baseline.Loss.Mean) is { Intervention: not null } enough)
        {
            sentences.Add(Text($"With {enough.Name} this model is still no worse than the other as it is ({enough.Loss.Mean:0.0000} against {rival.Curves.Baseline.Loss.Mean:0.0000})."));
        }
    }

    // The two models' errors are taken as independent, which they are not quite where both read the same text: a careful bound.
    private static string LessRedundant(StudyPoint mine, StudyPoint theirs)
    {
        if (Math.Abs(mine.X - theirs.X) > AlikeShares * Math.Max(mine.X, theirs.X))
        {
            return Text($"shares of {mine.X:0.###} and {theirs.X:0.###} do not compare; give --ratios that both models can make");
        }

        double error = Math.Sqrt((mine.Increase.StandardError * mine.Increase.StandardError) + (theirs.Increase.StandardError * theirs.Increase.StandardError));
        Estimate gap = new(mine.Increase.Mean - theirs.Increase.Mean, error);
        return IsClear(gap) ? $"{(gap.Mean > 0 ? "this" : "the other")} model has the less redundant experts" : "which model has the less redundant experts cannot be told from this text";
    }

    private static void AddFacts(FactStudy? facts, List<string> sentences)
    {
        if (facts is null)
        {
            return;
        }

        sentences.Add(Text($"Facts: {100 * facts.All.Recall:0.0} % of {facts.Questions.Count} questions are answered word for word."));
        if (facts.WithoutShared is { } shared)
        {
            sentences.Add(Text($"Without the shared experts it is {100 * shared.Recall:0.0} %."));
        }

        if (facts.WithoutSet is { } set)
        {
            sentences.Add(Text($"With the given experts switched off it is {100 * set.Recall:0.0} %, {facts.NumLost(set)} answers fewer."));
        }

        if (facts.Experts.Count > 0)
        {
            IReadOnlyList<ExpertLoss> carriers = facts.Carriers;
            string best = carriers.Count == 0 ? "" : Text($"; the most expert {carriers[0].Place.Expert} of layer {carriers[0].Place.Layer}, without which {facts.NumLost(carriers[0].Scores)} answers are lost and an answer costs {Pair(carriers[0].Increase)} nats more");
            sentences.Add(Text($"Switched off alone, {carriers.Count} of {facts.Experts.Count} experts cost the facts clearly more than chance ({FactStudy.Clear} standard errors){best}."));
        }
    }

    private static void AddSaturation(StudyResult result, List<string> sentences)
    {
        if (result.Saturation.Count > 1)
        {
            SaturationPoint first = result.Saturation[0];
            sentences.Add(Text($"At step {first.Step}, {100 * first.Mean:0} % of the choices were already those of step {result.Saturation[^1].Step} (router saturation)."));
        }
    }

    private static bool HasError(Estimate estimate) => !double.IsNaN(estimate.StandardError);

    private static bool IsClear(Estimate estimate) => Math.Abs(estimate.Mean) > ClearErrors * estimate.StandardError;

    private static string Moves(Estimate increase, string verb = "is", string up = "higher", string down = "lower") => IsClear(increase) || !HasError(increase)
        ? Text($"{verb} {Pair(increase with { Mean = Math.Abs(increase.Mean) })} nats per token {(increase.Mean > 0 ? up : down)}{(HasError(increase) ? "" : " (from a single piece of text, so that no error is known)")}")
        : Text($"{verb} the same within the error ({(increase.Mean < 0 ? "" : "+")}{Pair(increase)})");

    private static string Pair(Estimate estimate) => double.IsNaN(estimate.StandardError)
        ? Text($"{estimate.Mean:0.0000}")
        : Text($"{estimate.Mean:0.0000} +- {estimate.StandardError:0.0000}");

    private static string Text(FormattableString text) => FormattableString.Invariant(text);
}
