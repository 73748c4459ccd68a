namespace MoeSharp.Training.Comparison;

/// <summary>What one architecture came to under one condition.</summary>
/// <param name="Size">Its weights.</param>
/// <param name="Runs">Its finished runs, by seed.</param>
public sealed record ArchitectureResult(ArchitectureSize Size, IReadOnlyList<RunOutcome> Runs)
{
    /// <summary>The architecture.</summary>
    public ComparedArchitecture Architecture => Size.Architecture;

    /// <summary>Regret, or cross-entropy where the truth is not known, nats; lower is better.</summary>
    public SampleMean Score { get; } = SampleMean.Of([.. Runs.Select(run => run.Score)]);

    /// <summary>Share of favourites that are right.</summary>
    public SampleMean Recall { get; } = SampleMean.Of([.. Runs.Select(run => run.Recall)]);

    /// <summary>Seconds of a run on one thread.</summary>
    public SampleMean Seconds { get; } = SampleMean.Of([.. Runs.Select(run => run.Seconds)]);

    /// <summary>Mean score at a second of the runs, between measurements on a straight line of its logarithm; null before the first measurement.</summary>
    /// <param name="seconds">Seconds of training.</param>
    public double? ScoreAt(double seconds)
    {
        List<double> scores = [];
        foreach (RunOutcome run in Runs)
        {
            double step = seconds / run.StepSeconds;
            CurvePoint[] before = [.. run.Curve.Where(point => point.Step <= step)];
            if (before.Length == 0)
            {
                return null;
            }

            CurvePoint last = before[^1];
            if (before.Length == run.Curve.Count || !(last.Score > 0))
            {
                scores.Add(last.Score);
                continue;
            }

            CurvePoint next = run.Curve[before.Length];
            double share = (step - last.Step) / (next.Step - last.Step);
            scores.Add(next.Score > 0 ? last.Score * Math.Pow(next.Score / last.Score, share) : last.Score);
        }

        return scores.Average();
    }

    /// <summary>The runs of some seeds alone.</summary>
    public ArchitectureResult Of(IReadOnlySet<ulong> seeds) => new(Size, [.. Runs.Where(run => seeds.Contains(run.Run.Seed)).OrderBy(run => run.Run.Seed)]);

    /// <summary>Load of the fullest expert over the mean of its layer, worst layer, over all held-out data at the end; without values for a model without experts.</summary>
    public SampleMean LoadMaxOverMean { get; } = SampleMean.Of([.. Loads(Runs).Select(load => load.MaxOverMean)]);

    /// <summary>Experts of all layers with less than a hundredth of an even load over all held-out data at the end.</summary>
    public SampleMean IdleExperts { get; } = SampleMean.Of([.. Loads(Runs).Select(load => (double)load.NumIdle)]);

    /// <summary>Mean router saturation of the runs, by step; empty where it was not kept.</summary>
    public IReadOnlyList<(long Step, double Share)> Saturation { get; } =
        [.. Runs.SelectMany(run => run.Saturation).GroupBy(point => point.Step).OrderBy(group => group.Key).Select(group => (group.Key, group.Average(point => point.Mean)))];

    /// <summary>Runs that end with a collapsed layer.</summary>
    public int NumCollapsed { get; } = Loads(Runs).Count(load => load.NumCollapsedLayers > 0);

    /// <summary>Runs in which experts collapsed on the way, and which end without a collapsed layer.</summary>
    public int NumRecovered { get; } = Runs.Count(run => run.Alarms.Count > 0 && run.Load is { NumCollapsedLayers: 0 });

    private static IEnumerable<LoadSummary> Loads(IReadOnlyList<RunOutcome> runs) => runs.Where(run => run.Load is not null).Select(run => run.Load!.Value); // filtered
}

/// <summary>One architecture minus another, seed by seed: the same lines in the same order, and the same first values of the weights they share.</summary>
/// <param name="Of">The architecture.</param>
/// <param name="Against">The one that is subtracted.</param>
/// <param name="Difference">Mean of the differences of the scores; below 0 where the first is better.</param>
public sealed record PairedDifference(ArchitectureResult Of, ArchitectureResult Against, SampleMean Difference)
{
    /// <summary>Subtracts over the seeds that both have; the two sides hold the runs of these seeds alone.</summary>
    public static PairedDifference Between(ArchitectureResult one, ArchitectureResult other)
    {
        HashSet<ulong> seeds = [.. one.Runs.Select(run => run.Run.Seed)];
        seeds.IntersectWith(other.Runs.Select(run => run.Run.Seed));
        (ArchitectureResult left, ArchitectureResult right) = (one.Of(seeds), other.Of(seeds));
        return new PairedDifference(left, right, SampleMean.Of([.. left.Runs.Zip(right.Runs, (mine, theirs) => mine.Score - theirs.Score)]));
    }
}

/// <summary>All architectures under one condition.</summary>
public sealed class ConditionResult
{
    internal ConditionResult(ComparisonCondition condition, string label, IReadOnlyList<ArchitectureResult> rows)
    {
        (Condition, Label, Rows) = (condition, label, rows);
        Differences = [.. rows
            .Where(row => row.Architecture.Against != row.Architecture.Name)
            .Select(row => (Row: row, Against: rows.FirstOrDefault(other => other.Architecture.Name == row.Architecture.Against)))
            .Where(pair => pair.Against is not null)
            .Select(pair => PairedDifference.Between(pair.Row, pair.Against!)) // filtered just above
            .Where(difference => difference.Difference.Count > 0)];
    }

    /// <summary>Corpus and steps.</summary>
    public ComparisonCondition Condition { get; }

    /// <summary>Its name in the report.</summary>
    public string Label { get; }

    /// <summary>Architectures with at least one finished run, in the order of the configuration.</summary>
    public IReadOnlyList<ArchitectureResult> Rows { get; }

    /// <summary>Every architecture against the one that it is compared with.</summary>
    public IReadOnlyList<PairedDifference> Differences { get; }

    /// <summary>Whether scores are exact divergences from the truth; else cross-entropies of text.</summary>
    public bool IsRegret => Condition.Corpus.Language is not null;

    /// <summary>Seeds that every row has, rising; fewer than a row's while runs are missing.</summary>
    public IReadOnlyList<ulong> CommonSeeds => [.. Rows.Select(row => row.Runs.Select(run => run.Run.Seed)).Aggregate((seeds, more) => seeds.Intersect(more)).Order()];

    /// <summary>Whether all rows rest on the same seeds, so that their means may be compared.</summary>
    public bool HasEqualSeeds => Rows.All(row => row.Runs.Count == CommonSeeds.Count);

    /// <summary>What a score is called.</summary>
    public string ScoreName => IsRegret ? "regret" : "cross-entropy";
}

/// <summary>A run that could not go on.</summary>
/// <param name="Run">The run.</param>
/// <param name="Reason">Why.</param>
public sealed record FailedRun(PlannedRun Run, string Reason);

/// <summary>What a comparison came to so far.</summary>
public sealed class ComparisonResult
{
    /// <summary>Puts the finished runs together.</summary>
    /// <param name="plan">All runs.</param>
    /// <param name="finished">The finished ones.</param>
    /// <param name="failed">Runs that could not go on.</param>
    /// <param name="jobs">Runs at once.</param>
    public ComparisonResult(ComparisonPlan plan, IReadOnlyList<RunOutcome> finished, IReadOnlyList<FailedRun> failed, int jobs)
    {
        (Plan, Failed, Jobs, NumFinished) = (plan, failed, jobs, finished.Count);
        bool hasCorpora = plan.Config.Corpora.Count > 1;
        bool hasSteps = plan.Config.Steps.Count > 1;
        Conditions = [.. plan.Conditions
            .Select(condition => new ConditionResult(condition, LabelOf(condition, hasCorpora, hasSteps), Rows(plan, condition, finished)))
            .Where(condition => condition.Rows.Count > 0)];
    }

    /// <summary>All runs.</summary>
    public ComparisonPlan Plan { get; }

    /// <summary>Conditions with at least one finished run.</summary>
    public IReadOnlyList<ConditionResult> Conditions { get; }

    /// <summary>Runs that could not go on.</summary>
    public IReadOnlyList<FailedRun> Failed { get; }

    /// <summary>Finished runs.</summary>
    public int NumFinished { get; }

    /// <summary>Runs that were made at once.</summary>
    public int Jobs { get; }

    private static string LabelOf(ComparisonCondition condition, bool hasCorpora, bool hasSteps) => (hasCorpora, hasSteps) switch
    {
        (true, true) => $"{condition.Corpus.Name}, {condition.Steps} steps",
        (false, true) => $"{condition.Steps} steps",
        _ => condition.Corpus.Name,
    };

    private static ArchitectureResult[] Rows(ComparisonPlan plan, ComparisonCondition condition, IReadOnlyList<RunOutcome> finished) =>
        [.. plan.Sizes[condition]
            .Select(size => new ArchitectureResult(size, [.. finished.Where(outcome => outcome.Run.Condition == condition && outcome.Run.Architecture == size.Architecture).OrderBy(outcome => outcome.Run.Seed)]))
            .Where(row => row.Runs.Count > 0)];
}
