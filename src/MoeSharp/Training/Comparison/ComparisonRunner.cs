using System.Collections.Concurrent;
using System.Runtime.ExceptionServices;
using System.Text.Json.Nodes;
using MoeSharp.Kernels;

namespace MoeSharp.Training.Comparison;

/// <summary>Who watches a comparison. Called from several threads.</summary>
public interface IComparisonView
{
    /// <summary>A run begins, or goes on from a checkpoint.</summary>
    /// <param name="run">The run.</param>
    /// <param name="step">Steps made before.</param>
    void Started(PlannedRun run, long step);

    /// <summary>A step is done.</summary>
    void Stepped(PlannedRun run, in StepMetrics metrics);

    /// <summary>Experts of a run have collapsed, or are in use again.</summary>
    void Alarmed(PlannedRun run, RoutingAlarm alarm);

    /// <summary>A run is complete.</summary>
    void Finished(RunOutcome outcome);

    /// <summary>A run cannot go on; the others do.</summary>
    void Failed(PlannedRun run, string reason);
}

/// <summary>Makes the runs of a comparison, several at once, each on one thread; finished ones are kept, interrupted ones go on.</summary>
public sealed class ComparisonRunner
{
    private const string Command = "moe compare";

    private readonly ComparisonPlan _plan;
    private readonly ComparisonSources _sources;
    private readonly string _folder;
    private readonly IComparisonView _view;
    private readonly TimeProvider _clock;
    private readonly ConcurrentQueue<PlannedRun> _waiting = new();

    /// <summary>Prepares the runs.</summary>
    /// <param name="plan">The runs.</param>
    /// <param name="sources">Corpora; not owned.</param>
    /// <param name="folder">Folder of the comparison.</param>
    /// <param name="view">Who watches.</param>
    /// <param name="clock">Clock for rates and logs.</param>
    public ComparisonRunner(ComparisonPlan plan, ComparisonSources sources, string folder, IComparisonView view, TimeProvider clock) =>
        (_plan, _sources, _folder, _view, _clock) = (plan, sources, folder, view, clock);

    /// <summary>Folder of a run.</summary>
    /// <param name="folder">Folder of the comparison.</param>
    /// <param name="run">The run.</param>
    public static string FolderOf(string folder, PlannedRun run) => Path.Combine(folder, "runs", run.FolderName);

    /// <summary>The outcomes of all finished runs of a plan.</summary>
    /// <param name="plan">The runs.</param>
    /// <param name="folder">Folder of the comparison.</param>
    /// <exception cref="ConfigurationException">A folder holds a run of another configuration or on other data.</exception>
    public static IReadOnlyList<RunOutcome> ReadFinished(ComparisonPlan plan, string folder)
    {
        List<RunOutcome> finished = [];
        foreach (PlannedRun run in plan.Runs)
        {
            string path = FolderOf(folder, run);
            if (File.Exists(Path.Combine(path, RunFolder.DescriptionFile)))
            {
                RequireSame(RunFolder.Open(path), run, plan);
                if (RunOutcome.Read(run, path) is { } outcome)
                {
                    finished.Add(outcome);
                }
            }
        }

        return finished;
    }

    /// <summary>Makes the runs that are asked for and not finished.</summary>
    /// <param name="wanted">Which runs.</param>
    /// <param name="jobs">Runs at once; each has one thread.</param>
    /// <param name="stop">Cancelled by Ctrl-C: the steps that are running are finished and saved.</param>
    /// <returns>Whether all of them are finished; one that failed counts as such.</returns>
    public bool Run(IReadOnlyCollection<PlannedRun> wanted, int jobs, CancellationToken stop)
    {
        HashSet<PlannedRun> finished = [.. ReadFinished(_plan, _folder).Select(outcome => outcome.Run)];
        foreach (PlannedRun run in wanted.Where(run => !finished.Contains(run)))
        {
            _waiting.Enqueue(run);
        }

        using CancellationTokenSource halt = CancellationTokenSource.CreateLinkedTokenSource(stop);
        Exception? first = null;
        Thread[] threads = new Thread[Math.Min(jobs, _waiting.Count)];
        for (int index = 0; index < threads.Length; index++)
        {
            threads[index] = new Thread(() =>
            {
                try
                {
                    Work(halt.Token);
                }
                catch (Exception error)
                {
                    Interlocked.CompareExchange(ref first, error, null);
                    halt.Cancel(); // the others save and end
                }
            })
            {
                Name = $"run {index}",
            };
            threads[index].Start();
        }

        foreach (Thread thread in threads)
        {
            thread.Join();
        }

        if (first is not null)
        {
            ExceptionDispatchInfo.Throw(first);
        }

        return !stop.IsCancellationRequested;
    }

    private void Work(CancellationToken stop)
    {
        using WorkerPool workers = new(1);
        while (!stop.IsCancellationRequested && _waiting.TryDequeue(out PlannedRun? run))
        {
            try
            {
                Train(run, workers, stop);
            }
            catch (TrainingException error)
            {
                _view.Failed(run, error.Message);
            }
        }
    }

    private void Train(PlannedRun run, WorkerPool workers, CancellationToken stop)
    {
        string path = FolderOf(_folder, run);
        SessionOptions options = new() { Workers = workers, View = new RunView(run, _view), Clock = _clock };
        ITrainingSource source = _sources.Open(run.Condition.Corpus);
        using (TrainingSession session = Open(run, path, source, options))
        {
            _view.Started(run, session.Trainer.State.Step);
            if (!session.Trainer.Run(stop))
            {
                return;
            }
        }

        _view.Finished(RunOutcome.Read(run, path) ?? throw new FileFormatException($"{path}: the finished run cannot be read. Delete the folder to repeat it."));
    }

    private TrainingSession Open(PlannedRun run, string path, ITrainingSource source, SessionOptions options)
    {
        if (File.Exists(Path.Combine(path, RunFolder.DescriptionFile)))
        {
            RunFolder begun = RunFolder.Open(path);
            RequireSame(begun, run, _plan);
            return TrainingSession.Resume(begun, source, options);
        }

        RunFolder folder = RunFolder.Create(path, Command, _clock);
        folder.Description["comparison"] = new JsonObject
        {
            ["experiment"] = _plan.Config.Name,
            ["architecture"] = run.Architecture.Name,
            ["corpus"] = run.Condition.Corpus.Name,
            ["steps"] = run.Condition.Steps,
        };
        return TrainingSession.Begin(folder, run.Config, source, options);
    }

    private static void RequireSame(RunFolder begun, PlannedRun run, ComparisonPlan plan)
    {
        if (begun.ReadConfig() != run.Config) // as values, so that a key which a later version adds with its default is no difference
        {
            throw new ConfigurationException($"{begun.Path} holds a run of another configuration: the experiment has been changed since. Give a new folder with --out, or delete the run.");
        }

        if (begun.Description["text"]?["hash"]?.ToString() != plan.ContentHashOf(run))
        {
            throw new ConfigurationException($"{begun.Path} holds a run on other data: the settings of corpus {run.Condition.Corpus.Name}, or its text, have been changed since. Give a new folder with --out, or delete the run.");
        }
    }

    private sealed class RunView(PlannedRun run, IComparisonView view) : ITrainingView
    {
        public void Stepped(in StepMetrics metrics, LoadTable load) => view.Stepped(run, metrics);

        public void Validated(in ValidationResult result)
        {
        }

        public void Alarmed(RoutingAlarm alarm) => view.Alarmed(run, alarm);

        public void Saved(string path)
        {
        }
    }
}
