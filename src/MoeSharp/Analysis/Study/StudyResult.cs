using MoeSharp.Execution;
using MoeSharp.Model;
using MoeSharp.Training;

namespace MoeSharp.Analysis.Study;

/// <summary>All that a study found out.</summary>
public sealed record StudyResult
{
    /// <summary>The model, as the user named it.</summary>
    public required string Model { get; init; }

    /// <summary>Its architecture.</summary>
    public required ModelConfig Config { get; init; }

    /// <summary>The text, as the user named it.</summary>
    public required string TextName { get; init; }

    /// <summary>The text.</summary>
    public required StudyText Text { get; init; }

    /// <summary>Loss of a model that knows the truth, nats per token, where it is known: no change can bring the loss below it.</summary>
    public double? Floor { get; init; }

    /// <summary>Tokens as people read them.</summary>
    public required TokenNames Tokens { get; init; }

    /// <summary>What the layers did.</summary>
    public required RoutingStatistics Statistics { get; init; }

    /// <summary>What becomes of the loss when choices are changed.</summary>
    public required SpecialisationCurves Curves { get; init; }

    /// <summary>Seconds of the pass that counted everything.</summary>
    public required double RecordingSeconds { get; init; }

    /// <summary>Seconds of all further passes.</summary>
    public double FurtherSeconds { get; init; }

    /// <summary>A set of experts that the user switched off, or null.</summary>
    public StudyPoint? SwitchedOff { get; init; }

    /// <summary>A second model under the same experiments, or null.</summary>
    public StudyRival? Rival { get; init; }

    /// <summary>The facts that the experts carry, or null where they were not asked for.</summary>
    public FactStudy? Facts { get; init; }

    /// <summary>Routing of earlier checkpoints against the last; empty without a run.</summary>
    public IReadOnlyList<SaturationPoint> Saturation { get; init; } = [];
}

/// <summary>A second model under the same experiments.</summary>
/// <param name="Model">As the user named it.</param>
/// <param name="Config">Its architecture.</param>
/// <param name="Curves">Its losses.</param>
/// <param name="Increase">Nats per token more than the first model, paired; null where the two read different tokens.</param>
public sealed record StudyRival(string Model, ModelConfig Config, SpecialisationCurves Curves, Estimate? Increase);

/// <summary>What a model knows of the facts of the embedded corpus, with all experts and without.</summary>
/// <param name="Questions">The questions.</param>
/// <param name="All">With all experts.</param>
/// <param name="WithoutShared">Without the shared experts; null where there are none.</param>
/// <param name="WithoutSet">Without the set that the user switched off, or null.</param>
/// <param name="Experts">Without one routed expert after another.</param>
public sealed record FactStudy(IReadOnlyList<FactQuestion> Questions, FactScores All, FactScores? WithoutShared, FactScores? WithoutSet, IReadOnlyList<ExpertLoss> Experts)
{
    /// <summary>Standard errors beyond which a single expert's effect is more than chance: about one false alarm in a hundred studies of 500 experts.</summary>
    public const double Clear = 4.3;

    /// <summary>Kinds of facts, in order of appearance.</summary>
    public IReadOnlyList<string> Groups { get; } = [.. Questions.Select(question => question.Group).Distinct()];

    /// <summary>Experts whose absence costs clearly more than chance, the costliest first.</summary>
    public IReadOnlyList<ExpertLoss> Carriers => [.. Experts.Where(loss => loss.Increase.Mean > Clear * loss.Increase.StandardError).OrderByDescending(loss => loss.Increase.Mean)];

    /// <summary>Nats per answer that a kind of fact costs more without an expert, paired.</summary>
    /// <param name="loss">The expert.</param>
    /// <param name="group">Kind of fact.</param>
    public Estimate IncreaseOf(ExpertLoss loss, string group)
    {
        int[] own = [.. Enumerable.Range(0, Questions.Count).Where(index => Questions[index].Group == group)];
        return FactRecall.Paired([.. own.Select(index => loss.Scores.Losses[index])], [.. own.Select(index => All.Losses[index])]);
    }

    /// <summary>Questions that the model answers with all experts and no longer without some.</summary>
    public int NumLost(FactScores scores) => Enumerable.Range(0, Questions.Count).Count(index => All.Recalled[index] && !scores.Recalled[index]);
}
