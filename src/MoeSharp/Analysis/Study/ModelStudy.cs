using System.Diagnostics;
using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;

namespace MoeSharp.Analysis.Study;

/// <summary>A model to be studied.</summary>
/// <param name="Name">As the user named it.</param>
/// <param name="Model">The model; not owned.</param>
public sealed record StudySubject(string Name, LanguageModel Model);

/// <summary>What a study is asked for besides its text.</summary>
public sealed record StudyRequest
{
    /// <summary>Experiments on the choice of experts.</summary>
    public StudyPlan Plan { get; init; } = new();

    /// <summary>Experts to switch off together in one more experiment; empty for none.</summary>
    public IReadOnlyList<ExpertPlace> SwitchedOff { get; init; } = [];

    /// <summary>Questions about facts; empty for none.</summary>
    public IReadOnlyList<FactQuestion> Questions { get; init; } = [];

    /// <summary>A second model for the same experiments, or null.</summary>
    public StudySubject? Rival { get; init; }

    /// <summary>Whether the rival reads the same token ids, so that losses are comparable token by token.</summary>
    public bool RivalReadsSameTokens { get; init; } = true;

    /// <summary>The text as the rival reads it; null for the same.</summary>
    public StudyText? RivalText { get; init; }

    /// <summary>Told what is being done, and the share that is done.</summary>
    public Action<string, double>? Progress { get; init; }
}

/// <summary>Studies a model: one pass that counts everything, and one more pass for each experiment.</summary>
public static class ModelStudy
{
    /// <summary>Runs the study.</summary>
    /// <param name="subject">The model.</param>
    /// <param name="text">Text in its tokens.</param>
    /// <param name="textName">The text, as the user named it.</param>
    /// <param name="tokens">Tokens as people read them.</param>
    /// <param name="request">What is asked for.</param>
    /// <param name="workers">Workers; not owned.</param>
    /// <param name="cancellation">Checked before each pass.</param>
    public static StudyResult Run(StudySubject subject, StudyText text, string textName, TokenNames tokens, StudyRequest request, WorkerPool workers, CancellationToken cancellation)
    {
        ModelConfig config = subject.Model.Config;
        using StudyPasses passes = new(subject.Model, text, workers, cancellation);
        RoutingStatistics statistics = new(text, config, workers);
        Stopwatch clock = Stopwatch.StartNew();
        StudyProgress progress = new(request.Progress, text.NumScored);
        passes.Progress = progress.Begin("counting", 1);
        StudyLosses baseline = passes.Run(null, statistics);
        double recording = clock.Elapsed.TotalSeconds;
        passes.Progress = progress.Begin("changing the choice of experts", SpecialisationCurves.NumExperiments(config, request.Plan) + (request.SwitchedOff.Count > 0 ? 1 : 0));
        SpecialisationCurves curves = SpecialisationCurves.Measure(config, passes, baseline, request.Plan);
        StudyPoint? off = request.SwitchedOff.Count == 0 ? null : SwitchOff(config, passes, baseline, request.SwitchedOff);
        return new StudyResult
        {
            Model = subject.Name,
            Config = config,
            TextName = textName,
            Text = text,
            Tokens = tokens,
            Statistics = statistics,
            Curves = curves,
            RecordingSeconds = recording,
            SwitchedOff = off,
            Facts = request.Questions.Count == 0 ? null : AskFacts(subject.Model, statistics, curves, request, workers, cancellation),
            Rival = request.Rival is null ? null : Compare(request, baseline, text, workers, cancellation),
            FurtherSeconds = clock.Elapsed.TotalSeconds - recording,
        };
    }

    private static StudyPoint SwitchOff(ModelConfig config, StudyPasses passes, StudyLosses baseline, IReadOnlyList<ExpertPlace> places)
    {
        foreach (ExpertPlace place in places)
        {
            if (config.Moe is not { } moe || place.Layer >= config.NumHiddenLayers || !config.IsMoeLayer(place.Layer) || place.Expert >= moe.NumExperts)
            {
                throw new ConfigurationException($"--off {place.Layer}:{place.Expert}: the model has no such expert. Give LAYER:EXPERT, both from 0.");
            }
        }

        StudyLosses losses;
        try
        {
            losses = passes.Run(new RoutingIntervention { SwitchedOff = [.. places] }, null);
        }
        catch (InterventionException error)
        {
            throw new ConfigurationException($"--off: {error.Message}", error);
        }

        string name = string.Join(", ", places.GroupBy(place => place.Layer).Select(layer => $"layer {layer.Key}: {string.Join(' ', layer.Select(place => place.Expert))}"));
        return new StudyPoint($"experts switched off ({name})", places.Count, null, losses.Loss, losses.Minus(baseline));
    }

    private static FactStudy AskFacts(LanguageModel model, RoutingStatistics statistics, SpecialisationCurves curves, StudyRequest request, WorkerPool workers, CancellationToken cancellation)
    {
        using FactRecall recall = new(model, request.Questions, workers, cancellation);
        FactScores all = recall.Ask(null);
        FactScores? shared = model.Config.Moe is { SharedWidth: > 0 } ? recall.Ask(new RoutingIntervention { WithoutSharedExperts = true }) : null;
        FactScores? set = request.SwitchedOff.Count == 0 ? null : recall.Ask(new RoutingIntervention { SwitchedOff = [.. request.SwitchedOff] });
        List<ExpertPlace> experts = [];
        foreach (LayerStatistics layer in curves.Refusal is null ? statistics.Layers : [])
        {
            if (layer.NumExperts > layer.TopK)
            {
                experts.AddRange(Enumerable.Range(0, layer.NumExperts).Select(expert => new ExpertPlace(layer.Layer, expert)));
            }
        }

        return new FactStudy(request.Questions, all, shared, set, recall.WithoutEach(all, experts, done => request.Progress?.Invoke("switching off one expert after another", done / (double)experts.Count)));
    }

    private static StudyRival Compare(StudyRequest request, StudyLosses baseline, StudyText text, WorkerPool workers, CancellationToken cancellation)
    {
        StudySubject rival = request.Rival!; // the caller has looked
        using StudyPasses passes = new(rival.Model, request.RivalText ?? text, workers, cancellation);
        StudyProgress progress = new(request.Progress, passes.Text.NumScored);
        passes.Progress = progress.Begin("the other model", 1 + SpecialisationCurves.NumExperiments(rival.Model.Config, request.Plan));
        StudyLosses losses = passes.Run(null, null);
        SpecialisationCurves curves = SpecialisationCurves.Measure(rival.Model.Config, passes, losses, request.Plan);
        return new StudyRival(rival.Name, rival.Model.Config, curves, request.RivalReadsSameTokens ? losses.Minus(baseline) : null);
    }

    private sealed class StudyProgress(Action<string, double>? told, long rows)
    {
        public Action<int>? Begin(string what, int passes)
        {
            long done = 0;
            return told is null ? null : more =>
            {
                done += more;
                told(what, Math.Min(1, done / (double)(rows * Math.Max(1, passes))));
            };
        }
    }
}
