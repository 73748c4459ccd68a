using System.Globalization;

namespace MoeSharp.Cli.Study;

/// <summary>One line on standard error that says what a study is doing; nothing when nobody looks.</summary>
internal static class StudyProgressLine
{
    private const int Width = 70;

    /// <summary>Who shows the progress, or null when standard error is no terminal.</summary>
    public static Action<string, double>? Create() => Console.IsErrorRedirected ? null : (what, share) =>
        Console.Error.Write("\r" + string.Create(CultureInfo.InvariantCulture, $"{what}: {100 * share:0} %").PadRight(Width));

    /// <summary>Removes the line.</summary>
    public static void Clear()
    {
        if (!Console.IsErrorRedirected)
        {
            Console.Error.Write("\r" + new string(' ', Width) + "\r");
        }
    }
}
