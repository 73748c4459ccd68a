using System.Diagnostics;

namespace MoeSharp.Tests.Cli;

/// <summary>Runs the <c>moe</c> command in a process of its own, as a user does.</summary>
internal static class MoeProcess
{
    /// <summary>Starts it; output is redirected.</summary>
    public static Process Start(string folder, params string[] arguments) => Start(folder, redirectsInput: false, arguments);

    /// <summary>Starts it; output and input are redirected.</summary>
    public static Process StartWithInput(string folder, params string[] arguments) => Start(folder, redirectsInput: true, arguments);

    private static Process Start(string folder, bool redirectsInput, string[] arguments)
    {
        ProcessStartInfo start = new("dotnet")
        {
            WorkingDirectory = folder,
            RedirectStandardInput = redirectsInput,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            StandardOutputEncoding = System.Text.Encoding.UTF8,
        };
        start.ArgumentList.Add(typeof(MoeSharp.Cli.CommandLine).Assembly.Location);
        foreach (string argument in arguments)
        {
            start.ArgumentList.Add(argument);
        }

        return Process.Start(start)!; // UseShellExecute is off, so there is a process
    }

    /// <summary>Runs it to its end.</summary>
    public static MoeOutcome Run(string folder, params string[] arguments)
    {
        using Process process = Start(folder, arguments);
        return Finish(process);
    }

    /// <summary>Waits for a started process to end.</summary>
    public static MoeOutcome Finish(Process process)
    {
        Task<string> error = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return new MoeOutcome(process.ExitCode, output, error.Result);
    }
}

/// <summary>How a command ended.</summary>
internal sealed record MoeOutcome(int ExitCode, string Output, string Error);
