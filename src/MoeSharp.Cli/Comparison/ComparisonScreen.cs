using System.Globalization;
using MoeSharp.Cli.Training;
using MoeSharp.Training.Comparison;
using MoeSharp.Training.Report;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace MoeSharp.Cli.Comparison;

/// <summary>What <c>moe compare</c> shows: sizes before, progress meanwhile, tables and findings after.</summary>
/// <param name="console">Terminal.</param>
/// <param name="style">How much is said.</param>
internal sealed class ComparisonScreen(IAnsiConsole console, TerminalStyle style)
{
    private const int MillisecondsBetweenFrames = 500;
    private const double SecondsBetweenLines = 20;
    private const int BarWidth = 40;

    /// <summary>Whether the result goes to standard output as JSON.</summary>
    public bool IsJson => style == TerminalStyle.Json;

    /// <summary>Prints the parameters of all architectures.</summary>
    public static void ShowSizes(IAnsiConsole console, ComparisonPlan plan)
    {
        Show(console, ComparisonTables.Sizes(plan, plan.Conditions[0]));
        foreach (PlannedRun run in plan.Runs.DistinctBy(run => run.Architecture.Name))
        {
            if (BalanceLine.Of(run.Config) is { } line)
            {
                console.WriteLine($"{run.Architecture.Name}: {line}");
            }
        }

        console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{plan.Runs.Count} runs: {plan.Conditions.Count} condition(s), {plan.Config.Architectures.Count} architectures, {plan.Config.Seeds.Count} seeds.\n"));
    }

    /// <summary>A finished run in a line.</summary>
    public static string Line(RunOutcome outcome) => string.Create(CultureInfo.InvariantCulture,
        $"{outcome.Run.FolderName}  {(outcome.Run.Condition.Corpus.Language is null ? "cross-entropy" : "regret")} {outcome.Score:0.0000}  {outcome.Seconds:0.0} s of steps");

    /// <summary>Runs the work on a thread of its own, and shows how it comes along.</summary>
    public bool Watch(ComparisonProgress progress, Func<bool> work)
    {
        Task<bool> task = Task.Factory.StartNew(work, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        switch (style)
        {
            case TerminalStyle.Live:
                console.Live(new Text("")).AutoClear(false).Overflow(VerticalOverflow.Crop).Start(display => Poll(task, () => display.UpdateTarget(Picture(progress))));
                break;

            case TerminalStyle.Plain:
                double last = 0;
                Poll(task, () =>
                {
                    foreach (string line in progress.TakeNews())
                    {
                        console.WriteLine($"{Clock(progress)}  {line}");
                    }

                    if (progress.Elapsed - last >= SecondsBetweenLines && !task.IsCompleted)
                    {
                        last = progress.Elapsed;
                        console.WriteLine($"{Clock(progress)}  {string.Join("; ", progress.Active.Select(Describe))}");
                    }
                });
                break;
        }

        return task.GetAwaiter().GetResult();
    }

    /// <summary>Prints the tables, what they show and where the report is.</summary>
    public void ShowResult(ComparisonResult result, string folder)
    {
        foreach (ConditionResult condition in result.Conditions)
        {
            Show(console, ComparisonTables.Scores(condition));
            if (condition.Differences.Count > 0)
            {
                Show(console, ComparisonTables.Differences(condition));
            }
        }

        foreach (string sentence in ComparisonFindings.Conclusions(result))
        {
            console.WriteLine($"* {sentence}");
        }

        console.WriteLine($"\nReport, with what may not be concluded: {Path.Combine(folder, ComparisonReport.PageName)} and {ComparisonReport.TextName}");
    }

    private static void Show(IAnsiConsole console, ReportTable table)
    {
        Table drawn = new Table().Title(new TableTitle(Markup.Escape(table.Title), new Style(decoration: Decoration.Bold))).Border(TableBorder.Simple);
        foreach (string heading in table.Headings)
        {
            TableColumn column = new(Markup.Escape(heading.TrimEnd('#')));
            drawn.AddColumn(heading.EndsWith('#') ? column.RightAligned() : column);
        }

        foreach (IReadOnlyList<string> row in table.Rows)
        {
            drawn.AddRow([.. row.Select(cell => (IRenderable)new Text(cell))]);
        }

        console.Write(drawn);
    }

    private static void Poll(Task task, Action show)
    {
        while (!task.IsCompleted)
        {
            show();
            ((IAsyncResult)task).AsyncWaitHandle.WaitOne(MillisecondsBetweenFrames);
        }

        show();
    }

    private static string Clock(ComparisonProgress progress) => string.Create(CultureInfo.InvariantCulture,
        $"[{progress.NumDone}/{progress.NumWanted}, {TrainingFigures.Time(progress.Elapsed)} gone, {(progress.SecondsLeft is { } left ? TrainingFigures.Time(left) : "?")} left]");

    private static string Describe(ActiveRun active) => string.Create(CultureInfo.InvariantCulture, $"{active.Run.FolderName} step {active.Step}/{active.Run.Condition.Steps} loss {active.Loss:0.000}");

    private static Rows Picture(ComparisonProgress progress)
    {
        double share = (double)progress.NumDone / Math.Max(1, progress.NumWanted);
        int filled = (int)(BarWidth * share);
        List<IRenderable> rows =
        [
            new Markup(string.Create(CultureInfo.InvariantCulture, $"[deepskyblue3]{new string('\u2501', filled)}[/][grey30]{new string('\u2501', BarWidth - filled)}[/] ") + Markup.Escape(Clock(progress))),
        ];
        rows.AddRange(progress.Active.Select(active => new Text("  " + Describe(active))));
        return new Rows(rows);
    }
}
