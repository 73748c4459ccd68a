using System.Diagnostics;

namespace MoeSharp.Tests.Cli;

/// <summary>Runs the <c>moe</c> command in a process of its own, as a user does.</summary>
internal static class MoeProcess
{
    /// <summary>Starts it; output is redirected.</summary>
    public static Process Start(string folder, params string[] arguments)
    {
        ProcessStartInfo start = new("dotnet") { WorkingDirectory = folder, RedirectStandardOutput = true, RedirectStandardError = true };
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
        Task<string> error = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return new MoeOutcome(process.ExitCode, output, error.Result);
    }
}

/// <summary>How a command ended.</summary>
internal sealed record MoeOutcome(int ExitCode, string Output, string Error);
