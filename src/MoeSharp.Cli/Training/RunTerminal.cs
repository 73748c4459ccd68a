using Spectre.Console;

namespace MoeSharp.Cli.Training;

/// <summary>How much a training verb says, and on what kind of terminal.</summary>
internal enum TerminalStyle
{
    /// <summary>A picture that redraws itself.</summary>
    Live,

    /// <summary>A line now and then: output goes to a file or a pipe.</summary>
    Plain,

    /// <summary>Results only.</summary>
    Quiet,

    /// <summary>One JSON document on standard output.</summary>
    Json,
}

/// <summary>The terminal of a training verb.</summary>
internal static class RunTerminal
{
    private const int PlainWidth = 200; // wide enough that no line of ours is broken

    /// <summary>Chooses from the flags and from whether standard output is a terminal.</summary>
    public static TerminalStyle StyleOf(bool quiet, bool json) => (quiet, json) switch
    {
        (_, true) => TerminalStyle.Json,
        (true, _) => TerminalStyle.Quiet,
        _ when Console.IsOutputRedirected => TerminalStyle.Plain,
        _ => TerminalStyle.Live,
    };

    /// <summary>The console to draw on: plain and wide when it is no terminal, without colours when NO_COLOR is set (no-color.org).</summary>
    public static IAnsiConsole Create()
    {
        bool isPlain = Console.IsOutputRedirected;
        bool hasColours = !isPlain && string.IsNullOrEmpty(Environment.GetEnvironmentVariable("NO_COLOR"));
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Ansi = isPlain ? AnsiSupport.No : AnsiSupport.Detect,
            ColorSystem = hasColours ? ColorSystemSupport.Detect : ColorSystemSupport.NoColors,
        });
        if (isPlain)
        {
            console.Profile.Width = PlainWidth;
        }

        return console;
    }

    /// <summary>A folder for a new run below <c>runs</c>, named by kind and time.</summary>
    public static string NewRunPath(string kind) =>
        Path.Combine("runs", string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{kind}-{DateTime.Now:yyyyMMdd-HHmmss}"));
}
