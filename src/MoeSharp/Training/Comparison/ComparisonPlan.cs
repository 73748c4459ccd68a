using System.Globalization;
using System.Text.Json.Nodes;
using MoeSharp.Model;

namespace MoeSharp.Training.Comparison;

/// <summary>One run of a comparison.</summary>
/// <param name="Condition">Corpus and number of steps.</param>
/// <param name="Architecture">What is trained.</param>
/// <param name="Seed">Seed of weights and training lines.</param>
/// <param name="Config">Its whole configuration.</param>
public sealed record PlannedRun(ComparisonCondition Condition, ComparedArchitecture Architecture, ulong Seed, TrainingConfig Config)
{
    /// <summary>Name of its folder.</summary>
    public string FolderName => string.Create(CultureInfo.InvariantCulture, $"{Condition.Corpus.Name}-{Condition.Steps}-{Architecture.Name}-s{Seed}");
}

/// <summary>What all architectures are compared under: the same corpus and the same number of steps.</summary>
/// <param name="Corpus">Corpus.</param>
/// <param name="Steps">Optimiser steps.</param>
public sealed record ComparisonCondition(ComparisonCorpus Corpus, long Steps);

/// <summary>The weights of an architecture beside those of the reference.</summary>
/// <param name="Architecture">Which.</param>
/// <param name="Total">All weights, routers left out.</param>
/// <param name="Activated">Weights that a token uses, routers left out.</param>
/// <param name="Router">Weights of the routers, which every token uses.</param>
/// <param name="FlopsPerToken">Training FLOPs of a token in matrices, routers included.</param>
public sealed record ArchitectureSize(ComparedArchitecture Architecture, long Total, long Activated, long Router, double FlopsPerToken);

/// <summary>All runs of a comparison, checked: the same tokens, equal parameters where they must be.</summary>
public sealed class ComparisonPlan
{
    private const int MostRuns = 10_000;

    private readonly Dictionary<string, string> _contentHashes;

    private ComparisonPlan(ComparisonConfig config, IReadOnlyList<PlannedRun> runs, ComparisonSources sources)
    {
        (Config, Runs) = (config, runs);
        _contentHashes = config.Corpora.ToDictionary(corpus => corpus.Name, corpus => sources.Open(corpus).ContentHash, StringComparer.Ordinal);
        Conditions = [.. runs.Select(run => run.Condition).Distinct()];
        Sizes = Conditions.ToDictionary(condition => condition, condition => (IReadOnlyList<ArchitectureSize>)[.. config.Architectures.Select(one => SizeOf(condition, one))]);
    }

    /// <summary>The comparison.</summary>
    public ComparisonConfig Config { get; }

    /// <summary>Runs in the order in which they are made: seed by seed, so that whatever else the machine does meets all architectures.</summary>
    public IReadOnlyList<PlannedRun> Runs { get; }

    /// <summary>Corpora and steps, in the order of the report.</summary>
    public IReadOnlyList<ComparisonCondition> Conditions { get; }

    /// <summary>Weights of every architecture under every condition.</summary>
    public IReadOnlyDictionary<ComparisonCondition, IReadOnlyList<ArchitectureSize>> Sizes { get; }

    /// <summary>Hash of what a run learns from and is measured on.</summary>
    public string ContentHashOf(PlannedRun run) => _contentHashes[run.Condition.Corpus.Name];

    /// <summary>Builds every run's configuration and checks them.</summary>
    /// <param name="config">The comparison.</param>
    /// <param name="sources">Opens the corpora, for their vocabularies.</param>
    /// <exception cref="ConfigurationException">A configuration is wrong, or parameters differ that should not; every problem of the latter kind is listed.</exception>
    public static ComparisonPlan Create(ComparisonConfig config, ComparisonSources sources)
    {
        double numRuns = (double)config.Seeds.Count * config.Steps.Count * config.Corpora.Count * config.Architectures.Count;
        if (numRuns > MostRuns)
        {
            throw new ConfigurationException($"{config.Name}: the table has {numRuns} runs; at most {MostRuns} are made. Take fewer seeds, steps or architectures.");
        }

        List<PlannedRun> runs = [];
        foreach (ulong seed in config.Seeds)
        {
            foreach (long steps in config.Steps)
            {
                foreach (ComparisonCorpus corpus in config.Corpora)
                {
                    ComparisonCondition condition = new(corpus, steps);
                    runs.AddRange(config.Architectures.Select(architecture => new PlannedRun(condition, architecture, seed, Configure(config, condition, architecture, seed, sources))));
                }
            }
        }

        if (runs.GroupBy(run => run.FolderName, StringComparer.OrdinalIgnoreCase).FirstOrDefault(group => group.Count() > 1) is { } twice)
        {
            throw new ConfigurationException($"{config.Name}: two runs would share the folder {twice.Key}. Give corpora and architectures names that cannot be confused, also where capitals do not count.");
        }

        ComparisonPlan plan = new(config, runs, sources);
        plan.RequireEqualParameters();
        return plan;
    }

    private static TrainingConfig Configure(ComparisonConfig config, ComparisonCondition condition, ComparedArchitecture architecture, ulong seed, ComparisonSources sources)
    {
        JsonObject own = new() { ["budget"] = new JsonObject { ["steps"] = condition.Steps, ["tokens"] = null, ["minutes"] = null }, ["seed"] = seed, ["validation"] = new JsonObject { ["saturation_at"] = new JsonArray([.. config.History.Select(share => (JsonNode)share)]) } };
        if (condition.Corpus.Language is { } language)
        {
            int rows = language.LineTokens - 1; // of a line: its last token is only a target
            own["batch"] = new JsonObject { ["sequence_length"] = rows, ["tokens"] = (long)rows * condition.Corpus.LinesPerStep, ["micro_batch_tokens"] = 0 };
        }

        string source = $"{config.Name}, architecture {architecture.Name}";
        ITrainingSource learned = sources.Open(condition.Corpus);
        TrainingConfig built = FittedRouter.Fit(learned.Fit(TrainingConfigJson.Build(source, config.Training, architecture.Sections, own)), learned); // as in run.json
        built.Validate(source); // again: the corpus has given the model its vocabulary
        built.RequireModel().Validate(source);
        return built;
    }

    private ArchitectureSize SizeOf(ComparisonCondition condition, ComparedArchitecture architecture)
    {
        ModelSize size = ModelSize.Of(Runs.First(run => run.Condition == condition && run.Architecture == architecture).Config.RequireModel());
        long router = size.RouterParameters;
        return new ArchitectureSize(architecture, size.Parameters.Total - router, size.Parameters.Activated - router, router, size.TrainingFlopsPerToken);
    }

    private void RequireEqualParameters()
    {
        List<string> problems = [];
        foreach (ComparisonCondition condition in Conditions)
        {
            ArchitectureSize reference = Sizes[condition].Single(size => size.Architecture.Name == Config.Reference);
            foreach (ArchitectureSize size in Sizes[condition])
            {
                if (size.Architecture.Matches is ParameterMatch.Both or ParameterMatch.Total)
                {
                    AddDifference(problems, condition, size.Architecture, "total", size.Total, reference.Total);
                }

                if (size.Architecture.Matches is ParameterMatch.Both or ParameterMatch.Activated)
                {
                    AddDifference(problems, condition, size.Architecture, "activated", size.Activated, reference.Activated);
                }
            }
        }

        if (problems.Count > 0)
        {
            throw new ConfigurationException($"{Config.Name}: the architectures are not of equal size: {string.Join("; ", problems.Distinct())}. Change their widths or numbers of experts, or declare one that is meant to differ with \"matches\": \"activated\", \"total\" or \"nothing\".");
        }
    }

    private void AddDifference(List<string> problems, ComparisonCondition condition, ComparedArchitecture architecture, string what, long count, long expected)
    {
        double difference = ((double)count / expected) - 1;
        if (Math.Abs(difference) > Config.Tolerance)
        {
            problems.Add(string.Create(CultureInfo.InvariantCulture, $"{architecture.Name} has {count} {what} parameters on corpus {condition.Corpus.Name}, {Config.Reference} {expected} ({100 * difference:+0.0;-0.0} %, allowed {100 * Config.Tolerance:0.##} %, routers left out)"));
        }
    }
}
