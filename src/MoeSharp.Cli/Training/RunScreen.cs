using System.Globalization;
using MoeSharp.Kernels;
using MoeSharp.Training;
using Spectre.Console;

namespace MoeSharp.Cli.Training;

/// <summary>What a training verb shows besides its result: progress, warnings, and the measured limit of the machine.</summary>
internal sealed class RunScreen
{
    private readonly TerminalStyle _style;
    private readonly IAnsiConsole _console = RunTerminal.Create();

    /// <summary>Measures the machine, which takes some milliseconds.</summary>
    public RunScreen(TerminalStyle style, WorkerPool workers)
    {
        _style = style;
        Workers = workers;
        PeakGflops = MachineProbe.FmaGflops(workers);
    }

    /// <summary>Workers of the verb.</summary>
    public WorkerPool Workers { get; }

    /// <summary>Measured FMA peak of the workers.</summary>
    public double PeakGflops { get; }

    /// <summary>Whether the result goes to standard output as JSON.</summary>
    public bool IsJson => _style == TerminalStyle.Json;

    /// <summary>Whether progress is shown.</summary>
    public bool ShowsProgress => _style is TerminalStyle.Live or TerminalStyle.Plain;

    /// <summary>Says what is being done.</summary>
    public void Report(string text)
    {
        if (ShowsProgress)
        {
            _console.WriteLine(text);
        }
    }

    /// <summary>Prints a warning on standard error.</summary>
    public static void Warn(IEnumerable<string> warnings)
    {
        foreach (string warning in warnings)
        {
            Console.Error.WriteLine($"moe: warning: {warning}");
        }
    }

    /// <summary>Prints a line of the result, with Spectre markup, unless the result is JSON.</summary>
    public void Say(string markup)
    {
        if (!IsJson)
        {
            _console.MarkupLine(markup);
        }
    }

    /// <summary>Prints what was said about collapsed experts during a run, unless the result is JSON.</summary>
    public void ShowAlarms(IReadOnlyList<string> alarms)
    {
        foreach (string alarm in alarms)
        {
            Say($"[yellow]{Markup.Escape(alarm)}[/]");
        }
    }

    /// <summary>Prints a table of the result, unless the result is JSON.</summary>
    public void Say(Table table)
    {
        if (!IsJson)
        {
            _console.Write(table);
        }
    }

    /// <summary>Session options for a view.</summary>
    public SessionOptions Options(ITrainingView view) => new() { Workers = Workers, View = view, PeakGflops = PeakGflops };

    /// <summary>Runs work under a view that suits the terminal.</summary>
    /// <param name="title">Heading of the picture.</param>
    /// <param name="name">Begin of plain lines.</param>
    /// <param name="work">The work.</param>
    public T Watch<T>(string title, string name, Func<ITrainingView, T> work) => _style switch
    {
        TerminalStyle.Live => LiveTrainingView.Show(_console, title, PeakGflops, work),
        TerminalStyle.Plain => work(new PlainTrainingView(Console.Out, name, PeakGflops)),
        _ => work(new SilentTrainingView()),
    };

    /// <summary>A number with a fixed count of decimals.</summary>
    public static string Fixed(double value, int decimals) => value.ToString("F" + decimals, CultureInfo.InvariantCulture);
}
