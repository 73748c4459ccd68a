using System.CommandLine;

namespace MoeSharp.Cli.Training;

/// <summary>Flags that the training verbs share.</summary>
internal static class RunOptions
{
    /// <summary>What run.json calls a run of <c>moe train</c>.</summary>
    public const string TrainCommand = "moe train";

    /// <summary>What run.json calls a run of <c>moe quickstart</c>.</summary>
    public const string QuickstartCommand = "moe quickstart";

    /// <summary>What an interrupted run says.</summary>
    public const string StopNotice = "stopping after this step, then saving. Press Ctrl-C again to quit at once.";

    /// <summary>Worker threads.</summary>
    public static Option<int> Threads() => new("--threads") { Description = "Worker threads (default: all cores).", DefaultValueFactory = _ => Environment.ProcessorCount };

    /// <summary>Results only.</summary>
    public static Option<bool> Quiet() => new("--quiet", "-q") { Description = "Shows no progress, only the result." };

    /// <summary>One JSON document.</summary>
    public static Option<bool> Json() => new("--json") { Description = "Prints one JSON document on standard output and nothing else." };

    /// <summary>Checks the number of threads.</summary>
    /// <exception cref="ConfigurationException">It is not sensible.</exception>
    public static int CheckThreads(int threads) => threads is >= 1 and <= 1024
        ? threads
        : throw new ConfigurationException($"--threads {threads} must lie between 1 and 1024. This machine has {Environment.ProcessorCount} cores.");
}
