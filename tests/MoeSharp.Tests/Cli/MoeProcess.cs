using System.Diagnostics;

namespace MoeSharp.Tests.Cli;

/// <summary>Runs the <c>moe</c> command in a process of its own, as a user does.</summary>
internal static class MoeProcess
{
    /// <summary>Starts it; output is redirected.</summary>
    public static Process Start(string folder, params string[] arguments) => Start(folder, redirectsInput: false, [], arguments);

    /// <summary>Starts it with more environment variables; output is redirected.</summary>
    public static Process Start(string folder, Dictionary<string, string> environment, string[] arguments) => Start(folder, redirectsInput: false, environment, arguments);

    /// <summary>Starts it; output and input are redirected.</summary>
    public static Process StartWithInput(string folder, params string[] arguments) => Start(folder, redirectsInput: true, [], arguments);

    private static Process Start(string folder, bool redirectsInput, Dictionary<string, string> environment, string[] arguments)
    {
        ProcessStartInfo start = new("dotnet")
        {
            WorkingDirectory = folder,
            RedirectStandardInput = redirectsInput,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            StandardOutputEncoding = System.Text.Encoding.UTF8,
        };
        start.Environment.Remove("MOE_COMMAND"); // the tests may have been started through the launcher
        foreach ((string name, string value) in environment)
        {
            start.Environment[name] = value;
        }

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

    /// <summary>Sends what Ctrl-C sends, or another signal.</summary>
    public static void Interrupt(Process process, string name = "INT")
    {
        using Process signal = Process.Start("sh", ["-c", $"kill -{name} {process.Id}"]);
        signal.WaitForExit();
    }

    /// <summary>Skips a test where there is no interrupt, or where a background shell has it ignored: children inherit that.</summary>
    public static void SkipUnlessInterruptible()
    {
        const string Status = "/proc/self/status";
        const ulong InterruptBit = 1 << 1; // signal 2, counted from 1
        string? ignored = File.Exists(Status) ? File.ReadLines(Status).FirstOrDefault(line => line.StartsWith("SigIgn:", StringComparison.Ordinal)) : null;
        if (ignored is null || (Convert.ToUInt64(ignored["SigIgn:".Length..].Trim(), 16) & InterruptBit) != 0)
        {
            Assert.Skip("this system has no interrupt signal, or the tests run where it is ignored");
        }
    }
}

/// <summary>How a command ended.</summary>
internal sealed record MoeOutcome(int ExitCode, string Output, string Error);
