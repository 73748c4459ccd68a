using System.Globalization;
using MoeSharp.Execution;
using MoeSharp.Model;

namespace MoeSharp.Analysis.Study;

/// <summary>Which experiments a study makes.</summary>
public sealed record StudyPlan
{
    /// <summary>Shares of the routed experts to mask for each token, the best first.</summary>
    public IReadOnlyList<double> MaskedShares { get; init; } = [1 / 16.0, 2 / 16.0, 3 / 16.0, 4 / 16.0];

    /// <summary>Whether fewer routed experts per token are tried, from the model's number down to 1.</summary>
    public bool TriesFewerExperts { get; init; } = true;

    /// <summary>Whether the shared experts are left out, alone and for as many more routed ones.</summary>
    public bool TriesWithoutShared { get; init; } = true;

    /// <summary>No experiment: statistics alone.</summary>
    public static StudyPlan None { get; } = new() { MaskedShares = [], TriesFewerExperts = false, TriesWithoutShared = false };
}

/// <summary>One experiment's outcome.</summary>
/// <param name="Name">What was changed, in words.</param>
/// <param name="X">Place on the curve: share masked, or experts per token.</param>
/// <param name="Intervention">The change; null for the model as it is.</param>
/// <param name="Loss">Nats per token.</param>
/// <param name="Increase">Nats per token more than the model as it is, paired.</param>
public sealed record StudyPoint(string Name, double X, RoutingIntervention? Intervention, Estimate Loss, Estimate Increase);

/// <summary>The experiments of section 4.5 of DeepSeekMoE (arXiv 2401.06066) on one model.</summary>
/// <param name="Baseline">The model as it is.</param>
/// <param name="Masked">The best routed experts of each token disabled, by share; the first point is the model as it is.</param>
/// <param name="Shared">Shared experts disabled; empty for a model without.</param>
/// <param name="Fewer">Routed experts per token, 1 upwards; the last point is the model as it is.</param>
/// <param name="Refusal">Why no choice could be changed, or null.</param>
public sealed record SpecialisationCurves(StudyLosses Baseline, IReadOnlyList<StudyPoint> Masked, IReadOnlyList<StudyPoint> Shared, IReadOnlyList<StudyPoint> Fewer, string? Refusal)
{
    /// <summary>Makes the experiments; each is one pass over the text.</summary>
    /// <param name="config">Model.</param>
    /// <param name="passes">Runs it.</param>
    /// <param name="baseline">Losses of the model as it is.</param>
    /// <param name="plan">Which experiments.</param>
    public static SpecialisationCurves Measure(ModelConfig config, StudyPasses passes, StudyLosses baseline, StudyPlan plan)
    {
        if (config.Moe is not { } moe)
        {
            return new SpecialisationCurves(baseline, [], [], [], "the model has no experts");
        }

        try
        {
            List<StudyPoint> masked = Mask(moe, passes, baseline, plan);
            List<StudyPoint> fewer = Reduce(moe, passes, baseline, plan);
            return new SpecialisationCurves(baseline, masked, WithoutShared(moe, passes, baseline, plan), fewer, null);
        }
        catch (InterventionException error)
        {
            return new SpecialisationCurves(baseline, [], [], [], error.Message);
        }
    }

    /// <summary>Passes over the text that a plan takes, the model as it is not counted.</summary>
    public static int NumExperiments(ModelConfig config, StudyPlan plan) => config.Moe is not { } moe ? 0
        : MaskedCounts(moe, plan).Count + (plan.TriesFewerExperts ? moe.TopK - 1 : 0) + (plan.TriesWithoutShared ? SharedChanges(moe).Count : 0);

    private static List<StudyPoint> Mask(MoeConfig moe, StudyPasses passes, StudyLosses baseline, StudyPlan plan)
    {
        List<StudyPoint> points = [new StudyPoint("as it is", 0, null, baseline.Loss, new Estimate(0, 0))];
        foreach ((double share, int count) in MaskedCounts(moe, plan))
        {
            string name = string.Create(CultureInfo.InvariantCulture, $"best {count} of {moe.NumExperts} routed experts of each token disabled");
            points.Add(Point(name, share, new RoutingIntervention { MaskedBest = count }, passes, baseline));
        }

        return points.Count == 1 ? [] : points;
    }

    // A share that rounds to no expert, or to the same number as the one before, would be the same experiment again.
    private static List<(double Share, int Count)> MaskedCounts(MoeConfig moe, StudyPlan plan)
    {
        List<(double, int)> counts = [];
        int last = 0;
        foreach (double share in plan.MaskedShares.Order())
        {
            int count = (int)Math.Round(share * moe.NumExperts, MidpointRounding.AwayFromZero);
            if (count > last && count + moe.TopK <= moe.NumExperts)
            {
                counts.Add(((double)count / moe.NumExperts, count));
                last = count;
            }
        }

        return counts;
    }

    private static List<StudyPoint> Reduce(MoeConfig moe, StudyPasses passes, StudyLosses baseline, StudyPlan plan)
    {
        List<StudyPoint> points = [];
        for (int topK = 1; plan.TriesFewerExperts && topK < moe.TopK; topK++)
        {
            string name = string.Create(CultureInfo.InvariantCulture, $"{topK} instead of {moe.TopK} routed experts per token");
            points.Add(Point(name, topK, new RoutingIntervention { TopK = topK }, passes, baseline));
        }

        return points.Count == 0 ? [] : [.. points, new StudyPoint("as it is", moe.TopK, null, baseline.Loss, new Estimate(0, 0))];
    }

    private static List<StudyPoint> WithoutShared(MoeConfig moe, StudyPasses passes, StudyLosses baseline, StudyPlan plan)
    {
        List<StudyPoint> points = [];
        foreach (int more in plan.TriesWithoutShared ? SharedChanges(moe) : [])
        {
            string name = more == 0 ? "shared experts disabled" : string.Create(CultureInfo.InvariantCulture, $"shared experts disabled, {moe.TopK + more} instead of {moe.TopK} routed experts per token");
            points.Add(Point(name, more, new RoutingIntervention { WithoutSharedExperts = true, TopK = more == 0 ? null : moe.TopK + more }, passes, baseline));
        }

        return points;
    }

    // Nothing in their place; one more routed expert; as many as the shared ones were wide, so that the arithmetic stays the same.
    private static List<int> SharedChanges(MoeConfig moe)
    {
        if (moe.SharedWidth == 0)
        {
            return [];
        }

        int sameWork = Math.Max(1, (int)Math.Round(moe.SharedWidth / (double)moe.IntermediateSize, MidpointRounding.AwayFromZero));
        return [.. new[] { 0, 1, sameWork }.Distinct().Where(more => moe.TopK + more <= moe.NumExperts)];
    }

    private static StudyPoint Point(string name, double x, RoutingIntervention intervention, StudyPasses passes, StudyLosses baseline)
    {
        StudyLosses losses = passes.Run(intervention, null);
        return new StudyPoint(name, x, intervention, losses.Loss, losses.Minus(baseline));
    }
}
