using System.Buffers;

namespace MoeSharp.Cli;

/// <summary>A command for the user to type: it begins as the user's own did, and quotes what a shell would take apart.</summary>
internal static class TypedCommand
{
    /// <summary>Environment variable in which the launcher scripts say how they were called.</summary>
    public const string ProgramVariable = "MOE_COMMAND";

    private const string Plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=:,./@%";

    private static readonly SearchValues<char> s_plain = SearchValues.Create(Plain);
    private static readonly SearchValues<char> s_plainOnWindows = SearchValues.Create(Plain.Replace("%", "\\", StringComparison.Ordinal));
    private static readonly SearchValues<char> s_specialInDoubleQuotes = SearchValues.Create("\"\\$`!");

    /// <summary>Puts the program and its arguments together for this system's shell.</summary>
    public static string Of(params string[] arguments)
    {
        string? program = Environment.GetEnvironmentVariable(ProgramVariable);
        return Of(string.IsNullOrEmpty(program) ? "moe" : program, arguments, OperatingSystem.IsWindows());
    }

    /// <summary>Puts a program and its arguments together.</summary>
    /// <param name="program">The program, as it is typed but without quotes.</param>
    /// <param name="arguments">Arguments without quotes.</param>
    /// <param name="isWindows">Whether double quotes are all that the shell knows.</param>
    public static string Of(string program, IEnumerable<string> arguments, bool isWindows) =>
        string.Join(' ', arguments.Prepend(program).Select(argument => isWindows ? QuoteOnWindows(argument) : Quote(argument)));

    // Double quotes read better; where something in the text would keep a meaning inside them, single quotes.
    private static string Quote(string argument)
    {
        if (argument.Length > 0 && !argument.AsSpan().ContainsAnyExcept(s_plain))
        {
            return argument;
        }

        return argument.AsSpan().ContainsAny(s_specialInDoubleQuotes)
            ? "'" + argument.Replace("'", "'\\''", StringComparison.Ordinal) + "'"
            : "\"" + argument + "\"";
    }

    private static string QuoteOnWindows(string argument) =>
        argument.Length > 0 && !argument.AsSpan().ContainsAnyExcept(s_plainOnWindows) ? argument : "\"" + argument.Replace("\"", "\\\"", StringComparison.Ordinal) + "\"";
}
